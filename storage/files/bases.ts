/**
 * Chunks in base files, `<image>.raw` in a folder (port: storage/images/bases.ts). Which chunk lies where is what the images' manifests
 * say; it is read when somebody first asks, and anew when a base came or went. What is read is hashed before it is believed.
 *
 * Bound: ChunkPlaces of BASES_CHUNKS_MAX chunks; bases past it are no sources.
 */
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import { BASES_CHUNKS_MAX } from '../../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { asked } from '../images/asked.ts'
import type { Bases } from '../images/bases.ts'
import { chunkIdOf } from '../images/chunk-content.ts'
import { ChunkPlaces } from '../images/chunk-places.ts'
import type { ManifestStore } from '../images/chunk-store.ts'
import { chunkCount, chunkLength, HASH_BYTES, type Manifest } from '../images/manifest.ts'
import { fileFailure } from './durable.ts'
import { inWorker } from './pack-pool.ts'

const FILE = /^([0-9a-f]{64})\.raw$/
/** As chunks are packed at ingest. */
const LEVEL = 3

type Manifests = Pick<ManifestStore, 'get' | 'list' | 'walk'>
type Index = { readonly places: ChunkPlaces; readonly bases: readonly Base[] }
type Place = { readonly path: string; readonly at: number; readonly bytes: number }
/** Its chunks stand at the places from `first` on. */
type Base = { readonly manifest: Manifest; readonly first: number }

export function openBases(folder: string, manifests: Manifests): Bases {
  let index: Promise<Index> | undefined
  let of = ''

  const current = async (): Promise<Index> => {
    const known = new Set(manifests.list())
    const files = (await readdir(folder)).flatMap((name) => FILE.exec(name)?.[1] ?? [])
    const images = files.filter((image) => known.has(image)).sort()
    if (index !== undefined && of === images.join()) return index
    of = images.join()
    index = indexOf(images, manifests)
    return index
  }
  const placeOf = ({ bases, places }: Index, id: ChunkId): Place | undefined => {
    const place = places.get(id)
    const base = place === undefined ? undefined : bases.findLast(({ first }) => first <= place)
    if (place === undefined || base === undefined) return undefined
    const { manifest, first } = base
    return {
      path: join(folder, `${manifest.image}.raw`),
      at: (place - first) * manifest.chunkBytes,
      bytes: chunkLength(manifest, place - first),
    }
  }

  return {
    find: (ids, done) =>
      answer(folder, done, async () => {
        const now = await current()
        return ids.map((id) => placeOf(now, id)?.bytes ?? 0)
      }),
    read: (id, done) =>
      answer(folder, done, async () => {
        const missing = { code: 'CHUNK_MISSING', image: `with chunk ${id}`, chunks: 1 } as const
        const place = placeOf(await current(), id)
        if (place === undefined) throw new GodwitError(missing)
        const content = await contentOf(place)
        // The disk has changed it, or another name begins alike.
        if (content === undefined || chunkIdOf(content) !== id) throw new GodwitError(missing)
        return await inWorker('compress', { content, level: LEVEL })
      }),
  }
}

async function indexOf(images: readonly ImageId[], manifests: Manifests): Promise<Index> {
  const places = new ChunkPlaces()
  const bases: Base[] = []
  let first = 0
  for (const image of images) {
    const manifest = await asked<Manifest>((done) => manifests.get(image, done)).catch(() => undefined)
    if (manifest === undefined || first + chunkCount(manifest) > BASES_CHUNKS_MAX) continue
    let at = first
    const walked = asked<void>((done) =>
      manifests.walk(
        image,
        (part) => {
          places.addHashes(part, at)
          at += part.length / HASH_BYTES
        },
        done,
      ),
    )
    // What was read of one that the disk has changed is as good as before: contents are checked.
    await walked.catch(() => {})
    bases.push({ manifest, first })
    first += chunkCount(manifest)
  }
  return { places, bases }
}

/** Undefined when the file is gone, or ends before. */
async function contentOf({ path, at, bytes }: Place): Promise<Buffer | undefined> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return undefined
  try {
    const content = Buffer.alloc(bytes)
    const { bytesRead } = await file.read(content, 0, bytes, at)
    return bytesRead === bytes ? content : undefined
  } finally {
    await file.close()
  }
}

function answer<T>(folder: string, done: Done<T>, run: () => Promise<T>): void {
  const tell = async (): Promise<void> => done(await outcomeOf(folder, run))
  void tell()
}

async function outcomeOf<T>(folder: string, run: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return ok(await run())
  } catch (error) {
    return failed(fileFailure(error, folder))
  }
}

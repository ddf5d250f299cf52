/** Chunks that lie in base files, and the tables of where. */
import { hash, randomBytes } from 'node:crypto'
import { mkdir, open, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { fc, testProp } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import type { ChunkId } from '../../protocols/ids.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { openBases } from '../../storage/files/bases.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { materialise } from '../../storage/files/export.ts'
import { openManifestStore } from '../../storage/files/manifest-store.ts'
import { asked } from '../../storage/images/asked.ts'
import { type Bases, withBases } from '../../storage/images/bases.ts'
import { pack, unpackSync } from '../../storage/images/chunk-content.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import { ChunkPlaces } from '../../storage/images/chunk-places.ts'
import type { ChunkStore, Collected } from '../../storage/images/chunk-store.ts'
import { buildManifest, chunkAt, chunkLength, type Manifest } from '../../storage/images/manifest.ts'
import { folderOf } from './folder.ts'

const KIB = 1024
const CHUNK = 64 * KIB

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}

type Held = {
  readonly chunks: ChunkStore
  readonly bases: Bases
  readonly manifest: Manifest
  readonly ids: readonly ChunkId[]
  readonly path: string
}

/** An image of six chunks, the third of zeros and the last short, written out as a base; the store then loses its chunks. */
async function baseOnly(t: ExecutionContext): Promise<Held> {
  const folder = await folderOf(t)
  const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
  t.teardown(() => chunks.close())
  const manifests = valueOf(await openManifestStore(join(folder, 'manifests')))
  const contents = [CHUNK, CHUNK, 0, CHUNK, CHUNK, 20 * KIB].map((length) =>
    Buffer.concat([randomBytes(length / 4), Buffer.alloc((length * 3) / 4, 7)]),
  )
  const hashes = contents.map((content) =>
    content.length === 0 ? Buffer.alloc(32) : hash('sha256', content, 'buffer'),
  )
  const manifest = buildManifest(5 * CHUNK + 20 * KIB, CHUNK, Buffer.concat(hashes))
  await asked<void>((done) => manifests.put(manifest, done))
  for (const [at, content] of contents.entries())
    if (content.length > 0)
      await asked<void>((done) =>
        chunks.write((hashes[at] as Buffer).toString('hex'), pack(content), content.length, done),
      )
  const place = join(folder, 'bases')
  await mkdir(place)
  const path = join(place, `${manifest.image}.raw`)
  valueOf(await materialise(manifest, chunks, path))
  // As when the store lost them, or gave them away: the collector drops what nothing names.
  const collection = { liveMax: 1, bytesPerSecondMax: 1e9 }
  await asked<Collected>((done) =>
    chunks.collect({ ...collection, mark: (marked) => marked({ ok: true, value: new ChunkNames() }) }, done),
  )
  const ids = [0, 1, 3, 4, 5].map((index) => chunkAt(manifest, index) as ChunkId)
  return { chunks, bases: openBases(place, manifests), manifest, ids, path }
}

test('what only a base holds is told, weighed and read as if the store had it', async (t) => {
  const { chunks, bases, manifest, ids } = await baseOnly(t)
  const gone = 'ee'.repeat(32)
  t.deepEqual(await asked<boolean[]>((done) => chunks.has([...ids, gone], done)), [
    ...ids.map(() => false),
    false,
  ])
  const both = withBases(chunks, bases)
  t.deepEqual(await asked<boolean[]>((done) => both.has([...ids, gone], done)), [
    ...ids.map(() => true),
    false,
  ])
  const sizes = await asked<number[]>((done) => both.sizes([...ids, gone], done))
  t.is(sizes.at(-1), 0)
  for (const [at, id] of ids.entries()) {
    const frame = await asked<Uint8Array>((done) => both.read(id, done))
    const index = [0, 1, 3, 4, 5][at] as number
    t.truthy(unpackSync(id, frame, chunkLength(manifest, index)))
    t.true(Math.abs((sizes[at] ?? 0) - frame.length) < frame.length / 5, `${sizes[at]} for ${frame.length}`)
  }
  await t.throwsAsync(
    asked<Uint8Array>((done) => both.read(gone, done)),
    { message: /lacks/ },
  )
})

test('a base that the disk has changed, cut short or lost gives nothing wrong', async (t) => {
  const { chunks, bases, ids, path } = await baseOnly(t)
  const both = withBases(chunks, bases)
  const file = await open(path, 'r+')
  await file.write(Buffer.of(1, 2, 3), 0, 3, 100)
  await file.close()
  const read = (id: ChunkId | undefined): Promise<Uint8Array> =>
    asked<Uint8Array>((done) => both.read(id as ChunkId, done))
  await t.throwsAsync(read(ids[0]), { message: /lacks/ })
  t.truthy(await read(ids[1]))
  await truncate(path, 3 * CHUNK)
  await t.throwsAsync(read(ids[3]), { message: /lacks/ })
  await rm(path)
  t.deepEqual(
    await asked<boolean[]>((done) => both.has(ids, done)),
    ids.map(() => false),
  )
})

testProp(
  'places are those of a map, the first of two that are alike',
  [fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 600 }), fc.integer({ min: 0, max: 99 })],
  (t, names, first) => {
    const hashOf = (n: number): Buffer => (n === 0 ? Buffer.alloc(32) : hash('sha256', String(n), 'buffer'))
    const places = new ChunkPlaces()
    const wanted = new Map<string, number>()
    places.addHashes(Buffer.concat(names.map(hashOf)), first)
    names.forEach((n, at) => {
      const id = hashOf(n).toString('hex')
      if (n !== 0 && !wanted.has(id)) wanted.set(id, first + at)
    })
    t.is(places.size, wanted.size)
    for (let n = 1; n <= 400; n++) {
      const id = hashOf(n).toString('hex')
      t.is(places.get(id), wanted.get(id))
    }
  },
  { numRuns: 30 },
)

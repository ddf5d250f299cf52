/**
 * The gateway to the rest of the world (port: migration/torrent/gateway.ts). Each import has a thread of its own, all that is
 * published shares one: strangers' bytes never meet the event loop that Raft runs on. A thread that hangs or dies fails
 * its import; the one that publishes is begun anew with all that it served.
 */
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { CHUNK_BYTES, OUTSIDE_IMPORTS_MAX } from '../../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { writeWhole } from '../../storage/files/durable.ts'
import { asked } from '../../storage/images/asked.ts'
import type { ChunkStore, ManifestDraft, ManifestStore } from '../../storage/images/chunk-store.ts'
import type { ImageFormat } from '../../storage/images/image-reader.ts'
import { chunkAt, chunkCount, chunkLength, HASH_BYTES, type Manifest } from '../../storage/images/manifest.ts'
import type { Fetched, FetchFigures, FetchTerms, Gateway } from '../torrent/gateway.ts'
import type { Arrived } from './intake.ts'
import { type Handlers, own } from './link.ts'
import type { PieceHashes } from './piece-hashes.ts'
import { Serving } from './serving.ts'
import { GatewayThread } from './gateway-thread.ts'
import type { Fetch, Hash } from './thread.ts'

export type GatewayPorts = {
  readonly chunks: ChunkStore
  readonly manifests: ManifestStore
  /** Hashes that ordinary import made. */
  readonly pieces: Pick<PieceHashes, 'of'>
  /** Ordinary import, of what has to be converted. */
  readonly importFile: (
    path: string,
    format: ImageFormat | 'auto',
    onProgress: (doneBytes: number, totalBytes: number) => void,
    done: Done<Fetched>,
  ) => { cancel(): void }
}

/** Of imports that nobody took up again. */
const ABANDONED_MS = 7 * 24 * 3_600_000

/** `folder` is the gateway's own. */
export async function openGateway(
  folder: string,
  ports: GatewayPorts,
): Promise<Gateway & { close(): Promise<void> }> {
  const coming = join(folder, 'coming')
  const published = join(folder, 'published')
  await mkdir(coming, { recursive: true })
  await mkdir(published, { recursive: true })
  await dropAbandoned(coming)
  const threads = new Set<GatewayThread>()
  const claimed = new Set<string>()
  const serving = new Serving((image, index) => chunkOf(ports.chunks, image, index))
  const torrentOf = (infoHash: string): string => join(published, `${infoHash}.torrent`)

  const run = <T>(done: Done<T>, handlers: Handlers, work: (thread: GatewayThread) => Promise<T>) => {
    const thread = new GatewayThread(handlers)
    threads.add(thread)
    const ended = (outcome: Outcome<T>): void => {
      threads.delete(thread)
      void thread.end(new Error('it has ended'))
      done(outcome)
    }
    work(thread).then(
      (value) => ended(ok(value)),
      (error: unknown) => ended(failed(failureOf(error))),
    )
    return thread
  }

  return {
    fetch(terms, onProgress, done) {
      if (threads.size >= OUTSIDE_IMPORTS_MAX) {
        answer(done, () => Promise.reject(busy()))
        return { cancel: () => {} }
      }
      const hold = ports.chunks.hold()
      const mine = new Set<string>()
      const ended: Done<Fetched> = (outcome) => {
        hold.release()
        for (const each of mine) claimed.delete(each)
        done(outcome)
      }
      let cancelFile = (): void => {}
      const handlers = { ...fetchHandlers(ports.chunks, onProgress), ...claims(claimed, mine, terms.source) }
      const thread = run(ended, handlers, async ({ link }) => {
        const arrived = await link.ask<Arrived>('fetch', { ...terms, folder: coming } satisfies Fetch)
        const gone = (): Promise<void> => rm(dirname(arrived.path), { recursive: true, force: true })
        try {
          const fetched =
            arrived.kind === 'store'
              ? await name(arrived, ports)
              : await asked<Fetched>((then) => {
                  const figures = (doneBytes: number, totalBytes: number): void =>
                    onProgress({ phase: 'importing', doneBytes, totalBytes, wireBytes: 0, sources: 0 })
                  const importing = ports.importFile(arrived.path, terms.format, figures, then)
                  cancelFile = () => importing.cancel()
                })
          await gone()
          return fetched
        } catch (error) {
          // What is no image does not become one.
          if (failureOf(error).code === 'IMAGE_INVALID') await gone()
          throw error
        }
      })
      return {
        cancel: () => {
          cancelFile()
          void thread.end(cancelled(terms))
        },
      }
    },

    hash(manifest, pieceBytes, onProgress, done) {
      const { image, bytes, chunkBytes } = manifest
      const handlers: Handlers = {
        chunk: ({ index }: { index: number }) => chunkOf(ports.chunks, manifest, index),
        progress: ({ doneBytes, totalBytes }: FetchFigures) => {
          onProgress(doneBytes, totalBytes)
          return {}
        },
      }
      let cancel = (): void => {}
      void ports.pieces.of(manifest, pieceBytes).then((kept) => {
        if (kept !== undefined) return done(ok(kept))
        const thread = run<Uint8Array>(done, handlers, ({ link }) =>
          link.ask('hash', { image, bytes, chunkBytes, pieceBytes } satisfies Hash),
        )
        cancel = () => void thread.end(new GodwitError({ code: 'CANCELLED', what: 'hashing' }))
      })
      return { cancel: () => cancel() }
    },

    serve: (terms, done) => answer(done, () => serving.add(terms)),
    unserve: (infoHash, done) => answer(done, () => serving.remove(infoHash)),
    served: (done) => answer(done, () => serving.figures()),

    keep: (infoHash, torrent, path, done) =>
      answer(done, async () => {
        await writeWhole(torrentOf(infoHash), (file) => file.writeFile(torrent))
        if (path !== '') await writeFile(path, torrent)
      }),
    kept: (infoHash, done) => answer(done, () => readFile(torrentOf(infoHash))),
    forget: (infoHash, done) => answer(done, () => rm(torrentOf(infoHash), { force: true })),

    async close() {
      const why = new GodwitError({ code: 'CANCELLED', what: 'what the gateway did' })
      await Promise.all([...[...threads].map((thread) => thread.end(why)), serving.close()])
    },
  }
}

/** What a promise brings, as a port says it. */
function answer<T>(done: Done<T>, work: () => Promise<T>): void {
  work().then(
    (value) => done(ok(value)),
    (error: unknown) => done(failed(failureOf(error))),
  )
}

const busy = (): GodwitError =>
  new GodwitError({
    code: 'PEER_BUSY',
    peer: 'this peer',
    what: `${OUTSIDE_IMPORTS_MAX} imports from outside`,
  })
const cancelled = ({ source }: FetchTerms): GodwitError =>
  new GodwitError({ code: 'CANCELLED', what: `the import of ${source.slice(0, 100)}` })

function fetchHandlers(chunks: ChunkStore, onProgress: (figures: FetchFigures) => void): Handlers {
  return {
    has: async (ids: ChunkId[]) => ({ value: await asked<boolean[]>((done) => chunks.has(ids, done)) }),
    read: async (id: ChunkId) => {
      const { bytes, transfer } = own(await asked<Uint8Array>((done) => chunks.read(id, done)))
      return { value: bytes, transfer }
    },
    write: async ({ id, frame, bytes }: { id: ChunkId; frame: Uint8Array; bytes: number }) => {
      await asked<void>((done) => chunks.write(id, frame, bytes, done))
      return {}
    },
    progress: (figures: FetchFigures) => {
      onProgress(figures)
      return {}
    },
  }
}

/** A thread claims the folder of its image before it writes there. */
const claims = (claimed: Set<string>, mine: Set<string>, source: string): Handlers => ({
  claim: (folder: string) => {
    if (claimed.has(folder) && !mine.has(folder))
      throw new GodwitError({ code: 'BUSY', vm: source.slice(0, 100), by: 'another import of the same' })
    claimed.add(folder)
    mine.add(folder)
    return {}
  },
})

const ZEROS = Buffer.alloc(HASH_BYTES)

/** Undefined for a chunk of zeros. */
async function chunkOf(chunks: ChunkStore, manifest: Manifest, index: number) {
  const id = chunkAt(manifest, index)
  if (id === undefined) return {}
  const { bytes, transfer } = own(await asked<Uint8Array>((done) => chunks.read(id, done)))
  return { value: { id, frame: bytes }, transfer }
}

async function name(
  { bytes, hashes, newBytes }: Arrived,
  { chunks, manifests }: GatewayPorts,
): Promise<Fetched> {
  await asked<void>((done) => chunks.sync(done))
  const size = { bytes, chunkBytes: CHUNK_BYTES }
  const draft = await asked<ManifestDraft>((done) => manifests.begin(size, undefined, done))
  let dataBytes = 0
  try {
    for (let index = 0; index < chunkCount(size); index++) {
      const hash = hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
      if (ZEROS.equals(hash)) continue
      draft.set(index, hash)
      dataBytes += chunkLength(size, index)
    }
  } catch (error) {
    draft.drop()
    throw error
  }
  return { manifest: await asked<Manifest>((done) => draft.finish(done)), dataBytes, newBytes }
}

async function dropAbandoned(coming: string): Promise<void> {
  for (const each of await readdir(coming)) {
    const path = join(coming, each)
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(path, { recursive: true, force: true })
  }
}

/**
 * Images into the chunk store: a whole file, or what has changed on a disk since an image of it. Chunks of zeros cost
 * nothing, chunks that are held are hashed only, the rest is compressed on worker threads; memory stays bounded.
 */
import assert from 'node:assert/strict'
import { open, type FileHandle } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import { GodwitError } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { CHUNK_BYTES, IMAGE_BYTES_MAX } from '../../protocols/limits.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { asked } from '../images/asked.ts'
import { LEVEL } from '../images/chunk-content.ts'
import type { ChunkStore, ManifestDraft, ManifestStore } from '../images/chunk-store.ts'
import { ChunkSet } from '../images/chunk-set.ts'
import type { Content, Extents, ImageFormat, ImageReader, Read } from '../images/image-reader.ts'
import { chunkLength, dataBytesOf, groupOf, HASH_BYTES, type Manifest } from '../images/manifest.ts'
import { type DiskSize, GROUP_CHUNKS, groupChunks, groupCount } from '../images/merkle.ts'
import { fileFailure } from './durable.ts'
import { claim } from './image-source.ts'
import { withWorker, WORKERS } from './pack-pool.ts'

export type Stores = {
  readonly chunks: ChunkStore
  readonly manifests: ManifestStore
  /** Of zstd, for chunks that are not held yet. */
  readonly level?: number
}

export type Ingested = {
  readonly manifest: Manifest
  /** Content of chunks that are not zeros. */
  readonly dataBytes: number
  /** Of these, what the store did not hold. */
  readonly newBytes: number
}

export type Watching = {
  /** Bytes read, of those that have to be. */
  readonly onProgress?: (doneBytes: number, bytes: number) => void
  /** Aborting ends it with the signal's reason. Chunks that are stored by then stay. */
  readonly signal?: AbortSignal
  /** Told, in any order, of each chunk that is read and not of zeros: the list of its blocks (images/fingerprint.ts). */
  readonly onFingerprints?: (index: number, fingerprints: Uint8Array) => void
  /**
   * Pieces of a torrent of the disk: one chunk or a power of two of them, at most PIECE_BYTES_MAX. `onPiece` is told, in any
   * order, the SHA-1 of each piece that holds something; what it is not told of is zeros. Of a whole import only.
   */
  readonly pieces?: {
    readonly bytes: number
    readonly onPiece: (index: number, sha1: Uint8Array) => void
  }
}

/** Content of one job of a worker: 2 MiB, with two jobs for each worker in hand. */
const JOB_BYTES = 2 * 1024 * 1024
/** A job has whole pieces: each worker reads one at once. */
const PIECE_BYTES_MAX = 16 * 1024 * 1024

/** IMAGE_INVALID before anything is stored when what `path` names is not what it says, or is in use. */
export async function importImage(
  image: { readonly path: string; readonly format: ImageFormat | 'auto'; readonly chunkBytes?: number },
  reader: ImageReader,
  stores: Stores,
  watching: Watching = {},
): Promise<Outcome<Ingested>> {
  const { path, chunkBytes = CHUNK_BYTES } = image
  try {
    const claimed = await claim(path, image.format)
    try {
      const opened = valueOf(await reader.open(claimed.source))
      try {
        const { bytes } = opened
        if (bytes < 1 || bytes > IMAGE_BYTES_MAX)
          throw invalid(path, `its disk has ${bytes} bytes, not 1..${IMAGE_BYTES_MAX}`)
        const disk = { bytes, chunkBytes }
        const touched = await touchedBy(opened.extents, disk, watching)
        return ok(await ingest({ disk, touched, source: opened.content }, stores, watching))
      } finally {
        await opened.close()
      }
    } finally {
      await claimed.release()
    }
  } catch (error) {
    return failed(fileFailure(error, path))
  }
}

/**
 * The image of a disk of which `base` is an older one: only chunks that `changed` touches are read, through `read`, as the
 * disk is now. The disk may have grown or shrunk since.
 */
export async function ingestRanges(
  disk: { readonly base: Manifest; readonly bytes: number; readonly changed: Extents },
  read: Read,
  stores: Stores,
  watching: Omit<Watching, 'pieces'> = {},
): Promise<Outcome<Ingested>> {
  const { base, bytes, changed } = disk
  try {
    const { chunkBytes } = base
    const next = { bytes, chunkBytes }
    const touched = await touchedBy(changed, next, watching)
    // Where one of the two ends inside a chunk, that chunk has another content in the other.
    for (const end of base.bytes === bytes ? [] : [base.bytes, bytes])
      if (end % chunkBytes !== 0) touched.touch({ start: end - 1, length: 1 })
    return ok(await ingest({ disk: next, touched, source: { read }, base }, stores, watching))
  } catch (error) {
    return failed(fileFailure(error, base.image))
  }
}

async function touchedBy(extents: Extents, disk: DiskSize, { signal }: Watching): Promise<ChunkSet> {
  const touched = new ChunkSet(disk)
  await extents((extent) => {
    signal?.throwIfAborted()
    touched.touch(extent)
  })
  return touched
}

type Task = {
  readonly disk: DiskSize
  readonly touched: ChunkSet
  readonly source: Content
  /** What the other chunks are. */
  readonly base?: Manifest
}
type Disk = DiskSize & { readonly draft: ManifestDraft }

async function ingest(
  { disk, touched, source, base }: Task,
  stores: Stores,
  watching: Watching,
): Promise<Ingested> {
  // A chunk that is found held is not stored again, and no manifest names it before the last one is.
  const hold = stores.chunks.hold()
  try {
    const draft = await asked<ManifestDraft>((done) => stores.manifests.begin(disk, undefined, done))
    try {
      if (base !== undefined) await copyHashes(base, disk, draft)
      return await ingestHeld({ ...disk, draft }, touched, source, stores, watching)
    } catch (error) {
      draft.drop()
      throw error
    }
  } finally {
    hold.release()
  }
}

/** As far as the new disk goes. */
async function copyHashes(base: Manifest, disk: DiskSize, draft: ManifestDraft): Promise<void> {
  for (let group = 0; group < Math.min(groupCount(base), groupCount(disk)); group++) {
    const chunks = groupChunks(disk, group)
    draft.set(group * GROUP_CHUNKS, groupOf(base, group).subarray(0, chunks * HASH_BYTES))
    await setImmediate()
  }
}

async function ingestHeld(
  disk: Disk,
  touched: ChunkSet,
  source: Content,
  stores: Stores,
  watching: Watching,
): Promise<Ingested> {
  const { onProgress, signal, pieces } = watching
  const pieceChunks = (pieces?.bytes ?? disk.chunkBytes) / disk.chunkBytes
  assert(pieceChunks * disk.chunkBytes <= PIECE_BYTES_MAX && Number.isInteger(Math.log2(pieceChunks)))
  const jobs = touched.batches(Math.max(1, Math.floor(JOB_BYTES / disk.chunkBytes)), pieceChunks)
  const total = touched.bytes
  let doneBytes = 0
  let newBytes = 0
  const inHand = new Set<ChunkId>()

  const work = async (from: Read | number): Promise<void> => {
    const hand = { room: new ArrayBuffer(0) }
    for (const job of jobs) {
      signal?.throwIfAborted()
      const fresh = await runJob({ disk, job, from, watching, hand }, stores, inHand)
      newBytes += fresh
      doneBytes += job.reduce((sum, index) => sum + chunkLength(disk, index), 0)
      onProgress?.(doneBytes, total)
    }
  }
  let file: FileHandle | undefined
  try {
    if ('path' in source) file = await open(source.path)
    const from = 'path' in source ? (file as FileHandle).fd : source.read
    // Two hands for each worker: while one stores its frames the other's job is on the worker. One that fails leaves its
    // loop, which ends the batches for all.
    const hands = Array.from({ length: WORKERS * 2 }, () => work(from))
    const fault = (await Promise.allSettled(hands)).find((each) => each.status === 'rejected')
    if (fault !== undefined) throw fault.reason
  } finally {
    await file?.close()
  }
  signal?.throwIfAborted()
  await asked<void>((done) => stores.chunks.sync(done))
  const manifest = await asked<Manifest>((done) => disk.draft.finish(done))
  return { manifest, dataBytes: dataBytesOf(manifest), newBytes }
}

type JobOf = {
  readonly disk: Disk
  readonly job: readonly number[]
  readonly from: Read | number
  readonly watching: Watching
  readonly hand: Hand
}

/** Frames of its jobs lie in the same room, which goes to the worker and comes back with them. */
type Hand = { room: ArrayBuffer }

/**
 * Hashes the chunks of one job, stores those that are new, and returns how many bytes these have. What another job is
 * storing, `inHand`, is not new.
 */
async function runJob(
  { disk, job, from, watching, hand }: JobOf,
  { chunks: store, level = LEVEL }: Stores,
  inHand: Set<ChunkId>,
): Promise<number> {
  const { onFingerprints, pieces } = watching
  const chunks = job.map((index) => ({ position: index * disk.chunkBytes, length: chunkLength(disk, index) }))
  const content = typeof from === 'number' ? from : await readAll(chunks, from)
  const scan = {
    chunks,
    from: content,
    fingerprints: onFingerprints !== undefined,
    ...(pieces !== undefined && { pieces: { bytes: pieces.bytes, diskBytes: disk.bytes } }),
  }
  let fresh: Fresh[] = []
  const frames = await withWorker(async (ask) => {
    const scanned = await ask('scan', scan, typeof content === 'number' ? [] : [content.buffer])
    for (const [i, index] of job.entries()) {
      const list = scanned.fingerprints?.[i]
      if (list !== undefined) onFingerprints?.(index, list)
    }
    for (const [index, sha1] of scanned.pieces ?? []) pieces?.onPiece(index, sha1)
    fresh = await freshOf({ disk, job }, scanned.hashes, store, inHand)
    if (fresh.length === 0) return []
    const wanted = fresh.map(({ at }) => at)
    const packed = await ask('pack', { wanted, level, room: hand.room }, [hand.room])
    hand.room = packed.room
    return packed.frames
  })
  const packed = fresh.map(({ id, length }, i) => ({
    id,
    frame: frames[i] as Uint8Array,
    chunkBytes: length,
  }))
  await asked<void>((done) => store.put(packed, done))
  for (const { id } of fresh) inHand.delete(id)
  return fresh.reduce((sum, { length }) => sum + length, 0)
}

/** Notes the hashes of a job; returns the chunks that are neither held nor being stored, which are `inHand` from then on. */
async function freshOf(
  { disk, job }: Pick<JobOf, 'disk' | 'job'>,
  hashes: Uint8Array,
  store: ChunkStore,
  inHand: Set<ChunkId>,
): Promise<Fresh[]> {
  const some = new Map<ChunkId, Fresh>()
  for (const [i, index] of job.entries()) {
    const hash = Buffer.from(hashes.buffer, hashes.byteOffset + i * HASH_BYTES, HASH_BYTES)
    disk.draft.set(index, hash)
    const id = hash.toString('hex')
    if (hash.compare(ZERO_HASH) !== 0 && !inHand.has(id))
      some.set(id, { id, length: chunkLength(disk, index), at: i })
  }
  const asking = [...some.values()]
  const ids = asking.map(({ id }) => id)
  const held = await asked<boolean[]>((done) => store.has(ids, done))
  const fresh = asking.filter(({ id }, i) => held[i] !== true && !inHand.has(id))
  for (const { id } of fresh) inHand.add(id)
  return fresh
}

/** A chunk to be stored: the `at`-th of its job. */
type Fresh = { readonly id: ChunkId; readonly length: number; readonly at: number }

const ZERO_HASH = Buffer.alloc(HASH_BYTES)

/** In a buffer of its own, which goes to the worker without a copy. Neighbours are read at once. */
async function readAll(
  chunks: readonly { position: number; length: number }[],
  read: Read,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0)
  const content = new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)
  const parts: { position: number; at: number; length: number }[] = []
  let at = 0
  for (const { position, length } of chunks) {
    const last = parts.at(-1)
    if (last !== undefined && last.position + last.length === position) last.length += length
    else parts.push({ position, at, length })
    at += length
  }
  await Promise.all(
    parts.map((part) => read(part.position, content.subarray(part.at, part.at + part.length))),
  )
  return content
}

const invalid = (path: string, why: string): GodwitError =>
  new GodwitError({ code: 'IMAGE_INVALID', path, why })

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new GodwitError(outcome.failure)
  return outcome.value
}

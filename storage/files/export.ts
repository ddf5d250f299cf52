/** Images out of the chunk store: as a raw file, or only read to see that every chunk is what it should be. */
import type { FileHandle } from 'node:fs/promises'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import { free, giveBack } from '../../protocols/buffers.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { asked } from '../images/asked.ts'
import { unpack } from '../images/chunk-content.ts'
import type { ChunkStore } from '../images/chunk-store.ts'
import { chunkAt, chunkCount, chunkLength, type Manifest } from '../images/manifest.ts'
import { fileFailure, writeWhole } from './durable.ts'

export type Watching = {
  /** Bytes of the disk done and in all; chunks of zeros count as done. */
  readonly onProgress?: (doneBytes: number, bytes: number) => void
  readonly signal?: AbortSignal
}

/** Chunks read, unpacked and written at once: enough to keep two cores and a disk busy, 8 MiB of memory. */
const IN_HAND_MAX = 8
/** Chunk names of one question to the store. */
const ASK_MAX = 4_096
/** Chunks that an answer names; it counts them all. */
const NAMED_MAX = 1_000

/**
 * Writes a sparse raw file with the disk's bytes: whole under its name, or not there. CHUNK_MISSING when chunks are not
 * held, CHUNK_CORRUPT when one is not what the manifest says.
 */
export async function materialise(
  manifest: Manifest,
  chunks: ChunkStore,
  path: string,
  { onProgress, signal }: Watching = {},
): Promise<Outcome<void>> {
  const hold = chunks.hold()
  try {
    const missing = await countMissing(manifest, chunks)
    if (missing > 0) return failed({ code: 'CHUNK_MISSING', image: manifest.image, chunks: missing })
    await writeWhole(path, async (file) => {
      await file.truncate(manifest.bytes)
      await eachChunk(manifest, { signal, onProgress }, async (id, index) => {
        const content = await contentOf(manifest, chunks, id, index)
        await writeAt(file, content, index * manifest.chunkBytes)
        free(content)
      })
    })
    return ok(undefined)
  } catch (error) {
    return failed(fileFailure(error, path))
  } finally {
    hold.release()
  }
}

export type Verified = {
  readonly chunks: number
  readonly missing: number
  readonly corrupt: number
  /** The first NAMED_MAX of those that are missing or corrupt. */
  readonly bad: readonly ChunkId[]
}

/** Reads and hashes every chunk of an image. */
export async function verifyImage(
  manifest: Manifest,
  chunks: ChunkStore,
  watching: Watching = {},
): Promise<Outcome<Verified>> {
  const verified = { chunks: 0, missing: 0, corrupt: 0, bad: [] as ChunkId[] }
  try {
    await eachChunk(manifest, watching, async (id, index) => {
      verified.chunks++
      try {
        free(await contentOf(manifest, chunks, id, index))
      } catch (error) {
        const { code } = failureOf(error)
        if (code === 'CHUNK_MISSING') verified.missing++
        else if (code === 'CHUNK_CORRUPT') verified.corrupt++
        else throw error
        if (verified.bad.length < NAMED_MAX) verified.bad.push(id)
      }
    })
    return ok(verified)
  } catch (error) {
    return failed(failureOf(error))
  }
}

async function countMissing(manifest: Manifest, chunks: ChunkStore): Promise<number> {
  let missing = 0
  let ids: ChunkId[] = []
  const ask = async (): Promise<void> => {
    const held = await asked<boolean[]>((done) => chunks.has(ids, done))
    missing += held.filter((each) => !each).length
    ids = []
  }
  for (let index = 0; index < chunkCount(manifest); index++) {
    const id = chunkAt(manifest, index)
    if (id !== undefined) ids.push(id)
    if (ids.length === ASK_MAX) await ask()
  }
  await ask()
  return missing
}

async function contentOf(
  manifest: Manifest,
  chunks: ChunkStore,
  id: ChunkId,
  index: number,
): Promise<Uint8Array> {
  const frame = await asked<Uint8Array>((done) => chunks.read(id, done))
  const content = await unpack(id, frame, chunkLength(manifest, index))
  giveBack(frame)
  if (content === undefined) throw new GodwitError({ code: 'CHUNK_CORRUPT', chunk: id, from: 'the disk' })
  return content
}

/** Runs `run` for every chunk that is not zeros, IN_HAND_MAX at a time, until the first that fails. */
async function eachChunk(
  manifest: Manifest,
  {
    onProgress,
    signal,
  }: { onProgress?: Watching['onProgress'] | undefined; signal?: AbortSignal | undefined },
  run: (id: ChunkId, index: number) => Promise<void>,
): Promise<void> {
  const count = chunkCount(manifest)
  let next = 0
  let doneBytes = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      signal?.throwIfAborted()
      const index = next++
      const id = chunkAt(manifest, index)
      if (id !== undefined) await run(id, index)
      doneBytes += chunkLength(manifest, index)
      if (id !== undefined || next === count) onProgress?.(doneBytes, manifest.bytes)
    }
  }
  const workers = Array.from({ length: IN_HAND_MAX }, () =>
    work().catch((error: unknown) => {
      next = count
      throw error
    }),
  )
  const ended = await Promise.allSettled(workers)
  const fault = ended.find((each) => each.status === 'rejected')
  if (fault !== undefined) throw fault.reason
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}

/**
 * A chunk and its frame: one zstd frame of its bytes, at a level that whoever makes it chooses.
 * Whoever takes a frame checks here that its content is what its id says, in bounded memory, whatever the frame is.
 */
import { createHash, hash } from 'node:crypto'
import { constants, zstdCompressSync, zstdDecompress, zstdDecompressSync, type ZstdOptions } from 'node:zlib'
import type { ChunkId } from '../../protocols/ids.ts'
import { GodwitError } from '../../protocols/errors.ts'
import { CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_FRAME_SLACK } from '../../protocols/limits.ts'
import { rawBlocks } from './raw-frame.ts'

export const chunkIdOf = (content: Uint8Array): ChunkId => hash('sha256', content)

/** Level 1 makes 3 % more of it in three quarters of the time, 9 makes 4 % less in four times of it (docs/decisions/0014-ingest.md). */
export const LEVEL = 3

/** On the calling thread: 0.7 ms for 256 KiB. */
export function pack(content: Uint8Array, level: number = LEVEL): Uint8Array {
  const options: ZstdOptions & { readonly pledgedSrcSize: number } = {
    params: { [constants.ZSTD_c_compressionLevel]: level },
    // One call of zlib a frame, not one for each 16 KiB.
    chunkSize: content.length + CHUNK_FRAME_SLACK,
    // zstd fits its tables to the size: a fifth faster. Node passes it on, its types do not know it yet.
    pledgedSrcSize: content.length,
  }
  return zstdCompressSync(content, options)
}

/**
 * The content of a frame of which only the id is known. On the calling thread.
 *
 * @throws GodwitError CHUNK_CORRUPT when it is not what `id` says.
 */
export function contentOf({ id, frame }: { readonly id: ChunkId; readonly frame: Uint8Array }): Uint8Array {
  let content: Uint8Array | undefined
  try {
    content = zstdDecompressSync(frame, { maxOutputLength: CHUNK_BYTES_MAX, chunkSize: CHUNK_BYTES + 64 })
  } catch {
    content = undefined
  }
  if (content !== undefined && chunkIdOf(content) === id) return content
  throw new GodwitError({ code: 'CHUNK_CORRUPT', chunk: id, from: 'the disk' })
}

/** The content, or undefined when it is not what `id` says. On the calling thread: 0.5 ms for 256 KiB. */
export function unpackSync(id: ChunkId, frame: Uint8Array, chunkBytes: number): Uint8Array | undefined {
  if (!fits(frame, chunkBytes)) return undefined
  try {
    return checked(id, zstdDecompressSync(frame, bounded(chunkBytes)), chunkBytes)
  } catch {
    return undefined
  }
}

/** The same in libuv's thread pool, but for the hash (0.15 ms for 256 KiB). */
export function unpack(id: ChunkId, frame: Uint8Array, chunkBytes: number): Promise<Uint8Array | undefined> {
  if (!fits(frame, chunkBytes)) return Promise.resolve(undefined)
  return new Promise((resolve) => {
    zstdDecompress(frame, bounded(chunkBytes), (error, content) =>
      resolve(error === null ? checked(id, content, chunkBytes) : undefined),
    )
  })
}

/**
 * Whether a frame's content is what `id` says, where that can be told without unpacking: bytes that do not compress lie
 * in it as they are. Undefined for other frames. On the calling thread: 0.2 ms for 256 KiB.
 */
export function isRawChunk(id: ChunkId, frame: Uint8Array, chunkBytes: number): boolean | undefined {
  if (!fits(frame, chunkBytes)) return false
  const blocks = rawBlocks(frame, chunkBytes)
  if (blocks === undefined) return undefined
  const sum = createHash('sha256')
  for (const block of blocks) sum.update(block)
  return sum.digest('hex') === id
}

const fits = (frame: Uint8Array, chunkBytes: number): boolean =>
  chunkBytes >= 1 && chunkBytes <= CHUNK_BYTES_MAX && frame.length <= chunkBytes + CHUNK_FRAME_SLACK

/** zlib stops at the first byte past the chunk; the room for a few more spares it a second call. */
const bounded = (chunkBytes: number): ZstdOptions => ({
  maxOutputLength: chunkBytes,
  chunkSize: chunkBytes + 64,
})

const checked = (id: ChunkId, content: Uint8Array, chunkBytes: number): Uint8Array | undefined =>
  content.length === chunkBytes && chunkIdOf(content) === id ? content : undefined

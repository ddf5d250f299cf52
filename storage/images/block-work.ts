/**
 * Port: what blocks cost CPU for, off the main thread where there is one. Real: storage/files/block-work.ts.
 *
 * Chunks come as their stored frames; one whose content is not what its id says fails with CHUNK_CORRUPT. Contents and
 * literals that are handed over are the port's from then on.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import type { Done } from '../../protocols/outcome.ts'

export type StoredChunk = { readonly id: ChunkId; readonly frame: Uint8Array }

export type BlockWork = {
  unpack(chunk: StoredChunk, done: Done<Uint8Array>): void
  /** Of its blocks, in order (fingerprint.ts). */
  fingerprints(chunk: StoredChunk, done: Done<Uint8Array>): void
  /** The frame to store; undefined when the content is not what `id` says. */
  seal(id: ChunkId, content: Uint8Array, done: Done<Uint8Array | undefined>): void
  /** A delta of the literals (delta.ts), BATCH_BYTES_MAX of them at most. */
  press(pressed: Pressed, done: Done<Uint8Array>): void
  /** Reads a delta of `bytes` as it comes; BATCH_BYTES_MAX at most. */
  unpress(bytes: number, dictionary: readonly StoredChunk[]): Unpress
}

export type Pressed = {
  readonly literals: Uint8Array
  readonly level: number
  readonly dictionary: readonly StoredChunk[]
}

export type Unpress = {
  /**
   * The next part of the frame, the whole of it `last`; one at a time. Answers with what could be read so far.
   * FRAME_INVALID when it is no delta, unpacks to more than `bytes`, or ends with less.
   */
  feed(part: Uint8Array, last: boolean, done: Done<Uint8Array>): void
  /** Nothing is answered after this. */
  close(): void
}

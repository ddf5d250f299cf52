/**
 * Ports: chunks and manifests that this peer holds. Every implementation passes test/contracts/chunk-store.ts.
 *
 * A chunk is stored and sent as a zstd frame of its bytes. A frame enters only if its content is what its id says;
 * chunks of zeros are never stored, asked for or sent.
 */
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { Manifest } from './manifest.ts'

export type ChunkStore = {
  /** Whether each of `ids` is held, in their order. */
  has(ids: readonly ChunkId[], done: Done<boolean[]>): void
  /** The stored frame; CHUNK_MISSING when it is not held, CHUNK_CORRUPT when the disk has changed it. */
  read(id: ChunkId, done: Done<Uint8Array>): void
  /**
   * Stores a frame whose content has `chunkBytes` bytes. `done` comes when a crash of this process can no longer lose it
   * (a power cut still may; see `sync`). CHUNK_CORRUPT when the content is not what `id` says: nothing is stored then.
   */
  write(id: ChunkId, frame: Uint8Array, chunkBytes: number, done: Done<void>): void
  /** Once all that was written before is on disk for good. */
  sync(done: Done<void>): void
}

export type ManifestStore = {
  /** Names of the manifests held, whole or in part, in order. */
  list(): ImageId[]
  get(image: ImageId, done: Done<Manifest>): void
  /** Durable when done. Refused with IMAGE_INVALID when its root is not what it says. */
  put(manifest: Manifest, done: Done<void>): void
  remove(image: ImageId, done: Done<void>): void
}

/**
 * Ports: chunks and manifests that this peer holds. Every implementation passes test/contracts/chunk-store.ts.
 *
 * A chunk is stored and sent as a zstd frame of its bytes. A frame enters only if its content is what its id says;
 * chunks of zeros are never stored, asked for or sent.
 */
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { ChunkNames } from './chunk-names.ts'
import type { Hold } from './holds.ts'
import type { Manifest } from './manifest.ts'
import type { DiskSize, Tree } from './merkle.ts'

export type ChunkStore = {
  /** Whether each of `ids` is held, in their order. */
  has(ids: readonly ChunkId[], done: Done<boolean[]>): void
  /** Bytes of the frame of each of `ids` as `read` would give it, in their order; 0 for what is not held. */
  sizes(ids: readonly ChunkId[], done: Done<number[]>): void
  /** What the store takes of the disk, garbage that is not collected yet included; its index is not. */
  bytes(): number
  /** The stored frame; CHUNK_MISSING when it is not held, CHUNK_CORRUPT when the disk has changed it. */
  read(id: ChunkId, done: Done<Uint8Array>): void
  /**
   * Stores a frame whose content has `chunkBytes` bytes; one that was lent (protocols/buffers.ts) is free again when done.
   * `done` comes when a crash of this process can no longer lose it
   * (a power cut still may; see `sync`). CHUNK_CORRUPT when the content is not what `id` says: nothing is stored then.
   */
  write(id: ChunkId, frame: Uint8Array, chunkBytes: number, done: Done<void>): void
  /**
   * Stores frames that this process has packed itself, from content that it has hashed itself: they are not unpacked and
   * hashed again, which is half the price of an import. A frame that anyone else has touched goes through `write`.
   */
  put(packed: readonly Packed[], done: Done<void>): void
  /** Once all that was written before is on disk for good. */
  sync(done: Done<void>): void
  /** What is asked for or written from now on, by anyone, is not collected before `release`. It does not outlive a crash. */
  hold(): Hold
  /** Drops chunks that nothing refers to; one collection at a time. A crash at any point loses nothing that is kept. */
  collect(collection: Collection, done: Done<Collected>): void
  /**
   * Reads on from where the last call ended, in an earlier life too, until it has read `bytesMax` bytes or the last chunk. What
   * the disk has changed is no longer held. One call at a time.
   */
  scrub(scrub: Scrub, done: Done<Scrubbed>): void
}

export type Packed = { readonly id: ChunkId; readonly frame: Uint8Array; readonly chunkBytes: number }

export type Collection = {
  /** Asked once, when all that is seen is noted already (holds.ts): what is to be kept. When it fails nothing is dropped. */
  mark(done: Done<ChunkNames>): void
  /**
   * Room comes back by copying what is kept out of files of which less than this part is kept. At 1 every chunk that
   * nothing refers to goes, at any cost.
   */
  readonly liveMax: number
  /** Bytes read and written again per second, at most. */
  readonly bytesPerSecondMax: number
  /** What is under another key than frames are written under now, or under none, is copied too, however much of it is kept. */
  readonly renew?: boolean
  /** Once it says so the collection ends with CANCELLED, soon; what it has done is done. */
  readonly isCancelled?: () => boolean
  /** Nothing is dropped: what would go is counted. */
  readonly dryRun?: boolean
}

export type Collected = {
  readonly chunks: number
  /** Room that came back on the disk; with `dryRun` what the chunks take, all of which comes back at a `liveMax` of 1. */
  readonly bytes: number
}

export type Scrub = { readonly bytesMax: number; readonly bytesPerSecondMax: number }

export type Scrubbed = {
  readonly chunks: number
  readonly bytes: number
  /** No longer held. */
  readonly damaged: readonly ChunkId[]
  /** The next call begins anew with the first chunk. */
  readonly wrapped: boolean
}

export type ManifestStore = {
  /** Names of the manifests held, whole or in part, in order. */
  list(): ImageId[]
  /** Those that were found changed by the disk: as good as not here, until they are put or received again. */
  damaged(): ImageId[]
  /** DATA_CORRUPT when the disk has changed it. What is read of it later is checked then (manifest.ts). */
  get(image: ImageId, done: Done<Manifest>): void
  /** Durable when done. Refused with IMAGE_INVALID when its root is not what it says. */
  put(manifest: Manifest, done: Done<void>): void
  remove(image: ImageId, done: Done<void>): void
  /** Hands over the hashes of an image, a part at a time, and leaves room for other work in between. Ends with what `take` throws. */
  walk(image: ImageId, take: (part: Uint8Array) => void, done: Done<void>): void
  /** A manifest whose hashes come one by one. It must become that of `image` where that is given: else IMAGE_INVALID. */
  begin(size: DiskSize, image: ImageId | undefined, done: Done<ManifestDraft>): void
  /** The manifest of a tree, whose groups the caller checks; what an earlier try received of it is there, in this life or before. */
  receive(tree: Tree, done: Done<Receiving>): void
  /** The tree of a manifest that was received in part. */
  pending(image: ImageId, done: Done<Tree | undefined>): void
}

/** `missing`: groups that are not here. To drop it leaves what came for the next try. */
export type Receiving = { readonly draft: ManifestDraft; readonly missing: readonly number[] }

/** A manifest in the making, of which nothing is held in memory. Who has one finishes or drops it. */
export type ManifestDraft = {
  /** Hashes of chunks from `index` on, in any order; what is not set is zeros. Throws GodwitError DISK_FULL or IO. */
  set(index: number, hashes: Uint8Array): void
  /** Names it, and puts it; it is gone when that fails. */
  finish(done: Done<Manifest>): void
  drop(): void
}

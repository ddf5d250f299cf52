/**
 * Port: block lists of images that are held here (block-list.ts), each with its sketch. Every implementation passes
 * test/contracts/block-lists.ts.
 *
 * Nothing rests on them: one that is lost or damaged costs bytes on a link until it is made again.
 */
import type { ImageId } from '../../protocols/ids.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { Manifest } from './manifest.ts'
import type { Sketch } from './sketch.ts'

export type BlockLists = {
  /** Images whose list is here, in order. */
  list(): ImageId[]
  /** NOT_FOUND; DATA_CORRUPT when the disk has changed it, and then it is here no more. */
  sketch(image: ImageId, done: Done<Sketch>): void
  /** Fingerprints of blocks [first, first + count) of the disk, fewer at its end. Fails as `sketch` does. */
  read(image: ImageId, first: number, count: number, done: Done<Uint8Array>): void
  /** A list in the making, of an image of such chunks. */
  draft(chunkBytes: number): ListDraft
  remove(image: ImageId, done: Done<void>): void
}

/** Either `finish` or `drop` ends it; a crash does too. */
export type ListDraft = {
  /** Fingerprints of all blocks of chunk `index`; in any order. What is never told is of zeros. */
  set(index: number, fingerprints: Uint8Array): void
  /** The list is durable when done. What was there of this image before goes. */
  finish(of: Pick<Manifest, 'image' | 'bytes'>, done: Done<void>): void
  drop(): void
}

/**
 * Makes the block lists that are missing of images that are held whole, and removes those of images that are held no more.
 *
 *   resting ──LISTING_MS, or told of an image──▶ looking ──▶ reading chunk after chunk ──▶ the list is durable ──▶ looking
 *
 * An import makes its list in its one pass; what is listed here came from other peers, was made by a move, or lost its list. One
 * image at a time, LISTING_AT_ONCE chunks in hand, LISTING_BYTES_PER_SECOND of frames unless a download waits. An image of which chunks are missing is
 * looked at again when somebody says that it has come, or after LISTING_AGAIN_MS.
 */
import type { Clock, Timer } from '../../protocols/clock.ts'
import type { ImageId } from '../../protocols/ids.ts'
import {
  BLOCK_LIST_BLOCKS_MAX,
  LISTING_AGAIN_MS,
  LISTING_BYTES_PER_SECOND,
  LISTING_MS,
} from '../../protocols/limits.ts'
import type { BlockLists } from '../../storage/images/block-lists.ts'
import type { BlockWork } from '../../storage/images/block-work.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import { BLOCK_BYTES } from '../../storage/images/fingerprint.ts'
import { readableChunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'

/** Both cores have something to do while frames are read. */
const LISTING_AT_ONCE = 4

export type ListingPorts = {
  readonly clock: Clock
  readonly chunks: Pick<ChunkStore, 'read'>
  readonly manifests: Pick<ManifestStore, 'list' | 'get'>
  readonly lists: BlockLists
  readonly work: BlockWork
}

export class Listing {
  readonly #ports: ListingPorts
  /** Images that could not be listed, and when they are tried again: no more than there are manifests. */
  readonly #later = new Map<ImageId, number>()
  #timer: Timer | undefined
  /** Who waits for what is being made: it is made without a rest. */
  #hurried: (() => void)[] = []
  #busy = false
  #stopped = false

  constructor(ports: ListingPorts) {
    this.#ports = ports
  }

  start(): void {
    this.#timer = this.#ports.clock.after(LISTING_MS, () => this.#look())
  }

  /** The image is here whole now. */
  came(image: ImageId): void {
    this.#later.delete(image)
    this.#look()
  }

  /** A download is about to look for what is near: `done` once the lists that are being made are there, or will not be. */
  hurry(done: () => void): void {
    this.#look()
    if (this.#busy) this.#hurried.push(done)
    else this.#ports.clock.after(0, done)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  #look(): void {
    if (this.#busy || this.#stopped) return
    this.#timer?.cancel()
    const { clock, lists, manifests } = this.#ports
    const listed = new Set(lists.list())
    const held = new Set(manifests.list())
    for (const image of listed) if (!held.has(image)) lists.remove(image, () => {})
    for (const image of this.#later.keys()) if (!held.has(image)) this.#later.delete(image)
    const nowMs = clock.nowMs()
    const next = [...held].find((image) => !listed.has(image) && (this.#later.get(image) ?? 0) <= nowMs)
    if (next === undefined) {
      for (const done of this.#hurried.splice(0)) done()
      this.#timer = clock.after(LISTING_MS, () => this.#look())
      return
    }
    this.#busy = true
    this.#later.set(next, nowMs + LISTING_AGAIN_MS)
    const over = (listed: boolean): void => {
      if (listed) this.#later.delete(next)
      this.#busy = false
      this.#look()
    }
    manifests.get(next, (outcome) => {
      if (!outcome.ok || outcome.value.bytes > BLOCK_LIST_BLOCKS_MAX * BLOCK_BYTES) over(false)
      else this.#list(outcome.value, over)
    })
  }

  #list(manifest: Manifest, over: (listed: boolean) => void): void {
    const { chunks, clock, lists, work } = this.#ports
    const draft = lists.draft(manifest.chunkBytes)
    const count = chunkCount(manifest)
    const at = { index: 0, inHand: 1, failed: false }
    const next = (): void => {
      at.inHand--
      while (!at.failed && !this.#stopped && at.inHand < LISTING_AT_ONCE && at.index < count) take(at.index++)
      if (at.inHand > 0) return
      if (!at.failed && !this.#stopped) return draft.finish(manifest, (finished) => over(finished.ok))
      draft.drop()
      over(false)
    }
    const take = (index: number): void => {
      const id = readableChunkAt(manifest, index)
      if (id === undefined) return
      at.inHand++
      const fail = (): void => {
        at.failed = true
        next()
      }
      chunks.read(id, (read) => {
        if (!read.ok) return fail()
        const frame = read.value
        work.fingerprints({ id, frame }, (made) => {
          if (!made.ok) return fail()
          draft.set(index, made.value)
          const restMs = (LISTING_AT_ONCE * frame.length * 1000) / LISTING_BYTES_PER_SECOND
          clock.after(this.#hurried.length > 0 ? 0 : restMs, next)
        })
      })
    }
    next()
  }
}

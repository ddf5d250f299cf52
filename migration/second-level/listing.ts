/**
 * Makes the block lists that are missing of images that are held whole, and removes those of images that are held no more.
 *
 *   resting ──LISTING_MS, or told of an image──▶ looking ──▶ reading chunk after chunk ──▶ the list is durable ──▶ looking
 *
 * An import makes its list in its one pass; what is listed here came from other peers, was made by a move, or lost its list. One
 * image at a time, LISTING_BYTES_PER_SECOND of frames, a few chunks in hand. An image of which chunks are missing is
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
    const fail = (): void => {
      draft.drop()
      over(false)
    }
    const next = (from: number): void => {
      if (this.#stopped) return fail()
      let index = from
      while (index < count && readableChunkAt(manifest, index) === undefined) index++
      const id = index < count ? readableChunkAt(manifest, index) : undefined
      if (id === undefined) return draft.finish(manifest, (finished) => over(finished.ok))
      chunks.read(id, (read) => {
        if (!read.ok) return fail()
        const frame = read.value
        work.fingerprints({ id, frame }, (made) => {
          if (!made.ok) return fail()
          draft.set(index, made.value)
          clock.after((frame.length * 1000) / LISTING_BYTES_PER_SECOND, () => next(index + 1))
        })
      })
    }
    next(0)
  }
}

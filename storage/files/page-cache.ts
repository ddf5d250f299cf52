/**
 * Pages of manifests in memory, and the files they come from: one bounded cache for all manifests of a peer, so that an image
 * of any size, or any number of them, costs the same. Reading is synchronous: a page that is not here is 8 KiB from the
 * kernel's cache or one read of the disk, less than a turn of the event loop.
 */
import { closeSync, openSync } from 'node:fs'
import { PART_BYTES } from '../images/merkle.ts'

/** 8 MiB: the parts in use of a few dozen transfers, and a sixteenth of a terabyte's hashes. */
const PAGES_MAX = 1_024
/** Of the 1,024 files that a process may open by default. */
const FILES_MAX = 32

type Slot = { key: number; readonly bytes: Buffer; page: Buffer; used: boolean }

export class PageCache {
  readonly #slots: Slot[] = []
  readonly #byKey = new Map<number, Slot>()
  /** CLOCK's hand: the next slot to be taken, unless it was used since the hand came by. */
  #hand = 0
  readonly #files = new Map<string, number>()
  #keys = 0

  /** Keys of `count` pages of one manifest, from the number returned on. */
  keys(count: number): number {
    const first = this.#keys
    this.#keys += count
    return first
  }

  get(key: number): Buffer | undefined {
    const slot = this.#byKey.get(key)
    if (slot === undefined) return undefined
    slot.used = true
    return slot.page
  }

  /** Takes a page in, in the place of one that was not used for long. What `load` throws leaves the cache without it. */
  fill(key: number, bytes: number, load: (into: Buffer) => void): Buffer {
    const slot = this.#free()
    slot.page = slot.bytes.subarray(0, bytes)
    load(slot.page)
    slot.key = key
    slot.used = true
    this.#byKey.set(key, slot)
    return slot.page
  }

  /** Of the file at `path`, opened if it is not. Throws what opening throws. */
  descriptor(path: string): number {
    const fd = this.#files.get(path) ?? openSync(path, 'r')
    // The newest use goes to the end.
    this.#files.delete(path)
    this.#files.set(path, fd)
    for (const [other, oldest] of this.#files) {
      if (this.#files.size <= FILES_MAX) break
      this.#files.delete(other)
      closeSync(oldest)
    }
    return fd
  }

  /** The file is another now, or none: the next read opens it anew. */
  close(path: string): void {
    const fd = this.#files.get(path)
    if (fd === undefined) return
    this.#files.delete(path)
    closeSync(fd)
  }

  #free(): Slot {
    if (this.#slots.length < PAGES_MAX) {
      const bytes = Buffer.allocUnsafeSlow(PART_BYTES)
      const slot = { key: -1, bytes, page: bytes, used: false }
      this.#slots.push(slot)
      return slot
    }
    for (;;) {
      const slot = this.#slots[this.#hand] as Slot
      this.#hand = (this.#hand + 1) % PAGES_MAX
      if (!slot.used) {
        this.#byKey.delete(slot.key)
        slot.key = -1
        return slot
      }
      slot.used = false
    }
  }
}

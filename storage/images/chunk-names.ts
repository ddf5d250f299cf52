/**
 * Names of chunks, packed: the first 8 bytes of each in an open-addressed table, 12-23 bytes a chunk. So all chunks of 100 GiB
 * of images are marked in 8 MiB, those of a terabyte in 64. Names that begin alike stand for each other: of a terabyte's
 * garbage one chunk is kept too long with a chance of 1 in 10^6, and none is ever lost.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import { HASH_BYTES } from './manifest.ts'

const SLOTS_MIN = 64
/** Fuller than this, a look-up walks far. */
const LOAD_MAX = 0.7

export class ChunkNames {
  /** Two words a slot; both are 0 where it is free. A name that begins with 8 bytes of 0 is in every set. */
  #table = new Uint32Array(SLOTS_MIN * 2)
  #size = 0

  get size(): number {
    return this.#size
  }

  add(id: ChunkId): void {
    this.#add(wordOf(id, 0), wordOf(id, 8))
  }

  /** Those of a manifest: 32 bytes each; zeros are no chunk. */
  addHashes(hashes: Uint8Array): void {
    const words = new DataView(hashes.buffer, hashes.byteOffset, hashes.length)
    for (let at = 0; at < hashes.length; at += HASH_BYTES)
      this.#add(words.getUint32(at), words.getUint32(at + 4))
  }

  has(id: ChunkId): boolean {
    const first = wordOf(id, 0)
    const second = wordOf(id, 8)
    return (first === 0 && second === 0) || this.#has(first, second)
  }

  /** Whether a manifest names one of them. */
  hasAny(hashes: Uint8Array): boolean {
    const words = new DataView(hashes.buffer, hashes.byteOffset, hashes.length)
    for (let at = 0; at < hashes.length; at += HASH_BYTES) {
      const first = words.getUint32(at)
      const second = words.getUint32(at + 4)
      if ((first !== 0 || second !== 0) && this.#has(first, second)) return true
    }
    return false
  }

  #has(first: number, second: number): boolean {
    const slot = this.#slotOf(first, second)
    return this.#table[slot] === first && this.#table[slot + 1] === second
  }

  #add(first: number, second: number): void {
    if (first === 0 && second === 0) return
    const slot = this.#slotOf(first, second)
    if (this.#table[slot] === first && this.#table[slot + 1] === second) return
    this.#table[slot] = first
    this.#table[slot + 1] = second
    if (++this.#size * 2 > this.#table.length * LOAD_MAX) this.#grow()
  }

  /** Where the name stands, or the free slot where it would. Names are hashes: their own bits spread them. */
  #slotOf(first: number, second: number): number {
    const table = this.#table
    const mask = table.length - 1
    let slot = (first * 2) & mask
    while (
      (table[slot] !== first || table[slot + 1] !== second) &&
      (table[slot] !== 0 || table[slot + 1] !== 0)
    )
      slot = (slot + 2) & mask
    return slot
  }

  #grow(): void {
    const old = this.#table
    this.#table = new Uint32Array(old.length * 2)
    this.#size = 0
    for (let slot = 0; slot < old.length; slot += 2) this.#add(old[slot] as number, old[slot + 1] as number)
  }
}

const wordOf = (id: ChunkId, digit: number): number => Number.parseInt(id.slice(digit, digit + 8), 16)

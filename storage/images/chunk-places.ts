/**
 * Where chunks lie: numbers by the first 8 bytes of their names, in an open-addressed table of 12 bytes a slot, 17 to 34 bytes a
 * chunk. Names that begin alike stand for each other: who reads a place checks what is there.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import { HASH_BYTES } from './manifest.ts'

const SLOTS_MIN = 64
/** Fuller than this, a look-up walks far. */
const LOAD_MAX = 0.7
const WORDS = 3

export class ChunkPlaces {
  /** Three words a slot: eight bytes of the name, and the place with one added; 0 where it is free. */
  #table = new Uint32Array(SLOTS_MIN * WORDS)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Hashes of chunks in order, 32 bytes each, at the places from `first` on; zeros are no chunk. Who was first stays. */
  addHashes(hashes: Uint8Array, first: number): void {
    const words = new DataView(hashes.buffer, hashes.byteOffset, hashes.length)
    for (let at = 0; at < hashes.length; at += HASH_BYTES) {
      const [one, two] = [words.getUint32(at), words.getUint32(at + 4)]
      if (one !== 0 || two !== 0) this.#add(one, two, first + at / HASH_BYTES + 1)
    }
  }

  get(id: ChunkId): number | undefined {
    const word = (digit: number): number => Number.parseInt(id.slice(digit, digit + 8), 16)
    const place = this.#table[this.#slotOf(word(0), word(8)) + 2] as number
    return place === 0 ? undefined : place - 1
  }

  #add(one: number, two: number, place: number): void {
    const slot = this.#slotOf(one, two)
    if (this.#table[slot + 2] !== 0) return
    this.#table.set([one, two, place], slot)
    if (++this.#size * WORDS <= this.#table.length * LOAD_MAX) return
    const old = this.#table
    this.#table = new Uint32Array(old.length * 2)
    this.#size = 0
    for (let at = 0; at < old.length; at += WORDS)
      if (old[at + 2] !== 0) this.#add(old[at] as number, old[at + 1] as number, old[at + 2] as number)
  }

  /** Where the name stands, or the free slot where it would. Names are hashes: their own bits spread them. */
  #slotOf(one: number, two: number): number {
    const table = this.#table
    const mask = table.length / WORDS - 1
    let slot = one & mask
    for (; table[slot * WORDS + 2] !== 0; slot = (slot + 1) & mask)
      if (table[slot * WORDS] === one && table[slot * WORDS + 1] === two) break
    return slot * WORDS
  }
}

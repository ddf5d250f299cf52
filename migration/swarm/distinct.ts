/**
 * Which of an image's chunks have the same content, 12 to 24 bytes a chunk: an open-addressed table of their indexes, each with
 * 32 bits of its name beside it. What is alike in those is compared by its whole name, read from the manifest again, so
 * nothing is taken for something else.
 */
import type { ChunkId } from '../../protocols/ids.ts'

const SLOTS_MIN = 1_024
/** Fuller than this, a look-up walks far. */
const LOAD_MAX = 0.7

export class Distinct {
  readonly #idAt: (index: number) => ChunkId | undefined
  /** Two words a slot: an index and one more, 0 where it is free; 32 bits of the name. */
  #table = new Uint32Array(SLOTS_MIN * 2)
  #size = 0

  /** `idAt`: the name of a chunk that was added. */
  constructor(idAt: (index: number) => ChunkId | undefined) {
    this.#idAt = idAt
  }

  /** False when another index with this content was added before. Throws what `idAt` throws. */
  add(index: number, id: ChunkId): boolean {
    const word = wordOf(id)
    const slot = this.#slotOf(word, (other) => this.#idAt(other) === id)
    if (this.#table[slot] !== 0) return false
    this.#table[slot] = index + 1
    this.#table[slot + 1] = word
    if (++this.#size * 2 > this.#table.length * LOAD_MAX) this.#grow()
    return true
  }

  #slotOf(word: number, isSame: (index: number) => boolean): number {
    const table = this.#table
    const mask = table.length - 1
    let slot = (word * 2) & mask
    for (let held = table[slot] as number; held !== 0; held = table[slot] as number) {
      if (table[slot + 1] === word && isSame(held - 1)) return slot
      slot = (slot + 2) & mask
    }
    return slot
  }

  #grow(): void {
    const before = this.#table
    this.#table = new Uint32Array(before.length * 2)
    for (let at = 0; at < before.length; at += 2) {
      if (before[at] === 0) continue
      const slot = this.#slotOf(before[at + 1] as number, () => false)
      this.#table[slot] = before[at] as number
      this.#table[slot + 1] = before[at + 1] as number
    }
  }
}

/** Names are hashes: any of their bits spread them. */
const wordOf = (id: ChunkId): number => Number.parseInt(id.slice(16, 24), 16)

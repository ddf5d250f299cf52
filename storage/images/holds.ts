/**
 * What must not be collected although no manifest names it: chunks that something in hand has seen. An ingest hears that a
 * chunk is held and does not store it again; its manifest comes minutes later. An upload has said that it holds a chunk.
 *
 * Epoch-based reclamation (Fraser 2004, section 5.2.3): a collection begins a new epoch; what is asked for or written is
 * noted in the epoch's set while anyone holds, or a collection runs; a set goes once all holds that were open in its epoch
 * or before are released, and no collection runs. So nothing that was seen under an open hold is ever dropped, and no hold keeps for good what
 * was seen before it.
 *
 * Bound: one packed name (chunk-names.ts) for each chunk that is seen, in as many sets as collections ran under the oldest hold.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import { ChunkNames } from './chunk-names.ts'

export type Hold = { release(): void }

export class Holds {
  #epoch = 0
  #collecting = false
  /** Open holds by the epoch in which they began; oldest first. */
  readonly #open = new Map<number, number>()
  readonly #seen = new Map<number, ChunkNames>()

  hold(): Hold {
    const epoch = this.#epoch
    this.#open.set(epoch, (this.#open.get(epoch) ?? 0) + 1)
    let released = false
    return {
      release: () => {
        if (released) return
        released = true
        const left = (this.#open.get(epoch) ?? 1) - 1
        if (left > 0) this.#open.set(epoch, left)
        else this.#open.delete(epoch)
        this.#forget()
      },
    }
  }

  /** A chunk is asked for or written: before it is looked up, so that a collection cannot pass in between. */
  saw(id: ChunkId): void {
    if (this.#open.size === 0 && !this.#collecting) return
    const seen = this.#seen.get(this.#epoch) ?? new ChunkNames()
    seen.add(id)
    this.#seen.set(this.#epoch, seen)
  }

  keeps(id: ChunkId): boolean {
    for (const seen of this.#seen.values()) if (seen.has(id)) return true
    return false
  }

  /** A collection begins: before anything is marked. One at a time. */
  begin(): void {
    this.#epoch++
    this.#collecting = true
  }

  end(): void {
    this.#collecting = false
    this.#forget()
  }

  #forget(): void {
    // What is released now may be named by a manifest that came after the collection had marked.
    if (this.#collecting) return
    const [oldest = Infinity] = this.#open.keys()
    for (const epoch of this.#seen.keys()) if (epoch < oldest) this.#seen.delete(epoch)
  }
}

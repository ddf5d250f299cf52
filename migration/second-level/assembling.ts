/**
 * Puts chunks together from blocks of bases and from literals, and has each checked against its id.
 *
 *   take(chunk, its literals) ──▶ queued ──▶ reading its copies ──▶ sealing ──▶ made | spoiled
 *
 * ASSEMBLING_MAX at once; whoever takes in more than `full` says waits for `room`.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import type { BlockWork } from '../../storage/images/block-work.ts'
import type { Bases } from './bases.ts'
import type { Planned } from './batch.ts'
import { assemble } from './delta.ts'
import type { Copy } from './wanted.ts'

/** Each holds its content twice: 2 MiB at the usual size. */
const ASSEMBLING_MAX = 4

type Around = {
  readonly bases: Bases
  readonly work: BlockWork
  idAt(index: number): ChunkId | undefined
  made(chunk: Planned, frame: Uint8Array): void
  /** It did not come about; `wrong`: it is not what its id says, though every base could be read. */
  spoiled(chunk: Planned, wrong: boolean): void
  room(): void
}

export class Assembling {
  readonly #around: Around
  readonly #queue: { readonly chunk: Planned; readonly literals: Uint8Array }[] = []
  #busy = 0

  constructor(around: Around) {
    this.#around = around
  }

  get full(): boolean {
    return this.#queue.length > ASSEMBLING_MAX
  }

  take(chunk: Planned, literals: Uint8Array): void {
    this.#queue.push({ chunk, literals })
    this.#turn()
  }

  #turn(): void {
    while (this.#busy < ASSEMBLING_MAX) {
      const next = this.#queue.shift()
      if (next === undefined) return
      this.#busy++
      this.#assemble(next.chunk, next.literals)
    }
  }

  #assemble(chunk: Planned, literals: Uint8Array): void {
    const { bases, work } = this.#around
    const { copies } = chunk.plan
    const blocks = new Map<Copy, Uint8Array>()
    const over = (frame: Uint8Array | 'wrong' | 'failed'): void => {
      this.#busy--
      if (typeof frame === 'string') this.#around.spoiled(chunk, frame === 'wrong')
      else this.#around.made(chunk, frame)
      this.#turn()
      if (!this.full) this.#around.room()
    }
    const next = (at: number): void => {
      const copy = copies[at]
      if (copy !== undefined)
        return bases.read(copy, (read) => {
          if (!read.ok) return over('failed')
          blocks.set(copy, read.value)
          next(at + 1)
        })
      const id = this.#around.idAt(chunk.index)
      const content = assemble(
        chunk.chunkBytes,
        chunk.plan,
        (each) => blocks.get(each) ?? new Uint8Array(),
        literals,
      )
      if (id === undefined || content === undefined) return over('wrong')
      work.seal(id, content, (sealed) => over(sealed.ok ? (sealed.value ?? 'wrong') : 'failed'))
    }
    next(0)
  }
}

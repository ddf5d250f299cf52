/**
 * One batch on its way here: parts of its delta go in as they come, chunks come out as their literals are there. So a cut costs the
 * chunks that were not whole yet, although one frame stands for many.
 */
import { CHUNK_FRAME_SLACK } from '../../protocols/limits.ts'
import type { BlockWork, StoredChunk, Unpress } from '../../storage/images/block-work.ts'
import type { Assembling } from './assembling.ts'
import type { Batch } from './batch.ts'
import { literalBytes } from './delta.ts'

type Part = { readonly data: Uint8Array; readonly last: boolean }

export class Delivery {
  readonly batch: Batch
  /** Of the frame: what has come, and all of it; 0 until the first part. */
  cameBytes = 0
  totalBytes = 0
  readonly #work: BlockWork
  readonly #assembling: Assembling
  readonly #dictionary: readonly StoredChunk[]
  readonly #read: () => void
  readonly #failed: (code: string) => void
  readonly #parts: Part[] = []
  #unpress: Unpress | undefined
  #feeding = false
  /** Literals of the next chunk, as far as they are here, and those behind it. */
  #literals: Uint8Array[] = []
  #literalBytes = 0
  #next = 0
  #closed = false

  /** `read`: all of it is with the assembling. `failed`: with FRAME_INVALID when it is not what was asked for. */
  constructor(
    batch: Batch,
    dictionary: readonly StoredChunk[],
    around: {
      readonly work: BlockWork
      readonly assembling: Assembling
      readonly read: () => void
      readonly failed: (code: string) => void
    },
  ) {
    this.batch = batch
    this.#dictionary = dictionary
    this.#work = around.work
    this.#assembling = around.assembling
    this.#read = around.read
    this.#failed = around.failed
  }

  /** All of the frame has come. */
  get whole(): boolean {
    return this.totalBytes > 0 && this.cameBytes === this.totalBytes
  }

  /** False when it does not follow the part before. */
  part(at: number, total: number, withDictionary: boolean, data: Uint8Array): boolean {
    if (at !== this.cameBytes || at + data.length > total) return false
    const { literalBytes: bytes } = this.batch
    if (total > bytes + bytes / 256 + CHUNK_FRAME_SLACK) return false
    if (at === 0) {
      this.totalBytes = total
      this.#unpress = this.#work.unpress(this.batch.literalBytes, withDictionary ? this.#dictionary : [])
    } else if (total !== this.totalBytes) return false
    this.cameBytes += data.length
    this.#parts.push({ data, last: this.whole })
    this.pump()
    return true
  }

  /** Goes on when there is room again. */
  pump(): void {
    if (this.#feeding || this.#closed || this.#assembling.full) return
    const part = this.#parts.shift()
    if (part === undefined) return
    this.#feeding = true
    this.#unpress?.feed(part.data, part.last, (read) => {
      this.#feeding = false
      if (this.#closed) return
      if (!read.ok) return this.#failed(read.failure.code)
      this.#cut(read.value)
      if (!part.last) return this.pump()
      this.close()
      this.#read()
    })
  }

  close(): void {
    this.#closed = true
    this.#unpress?.close()
  }

  #cut(literals: Uint8Array): void {
    this.#literals.push(literals)
    this.#literalBytes += literals.length
    const { chunks } = this.batch
    let all: Uint8Array | undefined
    let at = 0
    for (let chunk = chunks[this.#next]; chunk !== undefined; chunk = chunks[this.#next]) {
      const bytes = literalBytes(chunk.plan.lacking, chunk.chunkBytes)
      if (this.#literalBytes < bytes) break
      all ??= Buffer.concat(this.#literals)
      this.#assembling.take(chunk, Uint8Array.from(all.subarray(at, at + bytes)))
      at += bytes
      this.#literalBytes -= bytes
      this.#next++
    }
    if (all !== undefined) this.#literals = [Uint8Array.from(all.subarray(at))]
  }
}

/** Chunks of zeros and chunks with content, told apart by their hashes: 32 zero bytes stand for a chunk of zeros. */
import { HASH_BYTES } from './merkle.ts'

/** A run is chunks of zeros and the chunks with content after them. */
export type Runs = {
  readonly runs: number
  /** Chunks with content. */
  readonly content: number
}

/** Whether the hash that begins at `at` stands for a chunk of zeros. */
export function isZeros(hashes: Buffer, at: number): boolean {
  // All but one chunk in 2^32 are told apart here.
  if (hashes.readUInt32LE(at) !== 0) return false
  return hashes.compare(ZEROS, 0, HASH_BYTES, at, at + HASH_BYTES) === 0
}

const ZEROS = Buffer.alloc(HASH_BYTES)

/** Counts runs as hashes come, in order. */
export class RunCount implements Runs {
  runs = 0
  content = 0
  #zeros = true
  #chunks = 0

  add(hashes: Buffer): void {
    for (let at = 0; at < hashes.length; at += HASH_BYTES) {
      const zeros = isZeros(hashes, at)
      // A run begins with zeros, but for the first.
      if (this.#chunks === 0 || (zeros && !this.#zeros)) this.runs++
      if (!zeros) this.content++
      this.#zeros = zeros
      this.#chunks++
    }
  }
}

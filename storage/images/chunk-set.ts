/** Which chunks of a disk are to be read: a bit for each, so 8 MiB for the largest image however its extents lie. */
import type { Extent } from './image-reader.ts'
import { chunkCount, chunkLength, type Manifest } from './manifest.ts'

export class ChunkSet {
  readonly #disk: Pick<Manifest, 'bytes' | 'chunkBytes'>
  readonly #bits: Uint8Array
  #count = 0
  #bytes = 0

  constructor(disk: Pick<Manifest, 'bytes' | 'chunkBytes'>) {
    this.#disk = disk
    this.#bits = new Uint8Array(Math.ceil(chunkCount(disk) / 8))
  }

  get count(): number {
    return this.#count
  }

  /** Of the disk, in these chunks. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds the chunks that the extent lies in; what is beyond the disk's end is nothing. */
  touch({ start, length }: Extent): void {
    const end = Math.min(start + length, this.#disk.bytes)
    if (start >= end) return
    for (
      let index = Math.floor(start / this.#disk.chunkBytes);
      index * this.#disk.chunkBytes < end;
      index++
    ) {
      const [byte, bit] = [index >> 3, 1 << (index & 7)]
      const bits = this.#bits[byte] ?? 0
      if ((bits & bit) !== 0) continue
      this.#bits[byte] = bits | bit
      this.#count++
      this.#bytes += chunkLength(this.#disk, index)
    }
  }

  /**
   * All of them in order, `each` at a time; of each `together` chunks of the disk those that are here go in one batch, which
   * may make it larger.
   */
  *batches(each: number, together = 1): Generator<number[], void> {
    let batch: number[] = []
    for (const [byte, bits] of this.#bits.entries()) {
      for (let left = bits; left !== 0; left &= left - 1) {
        const index = byte * 8 + (31 - Math.clz32(left & -left))
        const last = batch.at(-1) ?? index
        if (batch.length >= each && Math.floor(last / together) !== Math.floor(index / together)) {
          yield batch
          batch = []
        }
        batch.push(index)
      }
    }
    if (batch.length > 0) yield batch
  }
}

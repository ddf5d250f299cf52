/**
 * What of an image from outside is here already, on disk: the SHA-256 of each of its chunks, so that an import that was killed
 * goes on where it was. Written after its chunk is stored; what it says is looked up before it is believed.
 *
 *   'GWOUTSD1', u64 bytes of the image, 16 zeros; then 32 bytes for each chunk: zeros while it is not here, ff for a chunk of zeros
 */
import { type FileHandle, open } from 'node:fs/promises'
import { CHUNK_BYTES } from '../../protocols/limits.ts'
import { chunkCount, HASH_BYTES } from '../../storage/images/manifest.ts'

const MAGIC = 'GWOUTSD1'
const HEAD_BYTES = 32
const ABSENT = Buffer.alloc(HASH_BYTES)
const ZEROS = Buffer.alloc(HASH_BYTES, 0xff)

export type Entry = 'absent' | 'zeros' | Uint8Array

export class Ledger {
  readonly bytes: number
  readonly chunks: number
  readonly #file: FileHandle
  readonly #hashes: Buffer

  private constructor(file: FileHandle, bytes: number, hashes: Buffer) {
    this.#file = file
    this.bytes = bytes
    this.chunks = hashes.length / HASH_BYTES
    this.#hashes = hashes
  }

  /** As it was left, or an empty one when there is none of an image of this size. */
  static async open(path: string, bytes: number): Promise<Ledger> {
    const hashes = Buffer.alloc(chunkCount({ bytes, chunkBytes: CHUNK_BYTES }) * HASH_BYTES)
    const file = await open(path, 'a+').then(async (made) => {
      await made.close()
      return open(path, 'r+')
    })
    const head = Buffer.alloc(HEAD_BYTES)
    head.write(MAGIC, 'latin1')
    head.writeBigUInt64BE(BigInt(bytes), 8)
    const found = Buffer.alloc(HEAD_BYTES)
    await file.read(found, 0, HEAD_BYTES, 0)
    if (found.equals(head)) await file.read(hashes, 0, hashes.length, HEAD_BYTES)
    else {
      await file.truncate(0)
      await file.write(head, 0, HEAD_BYTES, 0)
    }
    return new Ledger(file, bytes, hashes)
  }

  at(index: number): Entry {
    const entry = this.#hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
    if (entry.equals(ABSENT)) return 'absent'
    return entry.equals(ZEROS) ? 'zeros' : entry
  }

  isHere(index: number): boolean {
    return this.at(index) !== 'absent'
  }

  async set(index: number, entry: Entry): Promise<void> {
    const bytes = entry === 'absent' ? ABSENT : entry === 'zeros' ? ZEROS : entry
    this.#hashes.set(bytes, index * HASH_BYTES)
    await this.#file.write(bytes, 0, HASH_BYTES, HEAD_BYTES + index * HASH_BYTES)
  }

  /** One hash for each chunk, zeros for a chunk of zeros: what a manifest is made of. All chunks have to be here. */
  hashes(): Uint8Array<ArrayBuffer> {
    const hashes = new Uint8Array(this.#hashes)
    for (let index = 0; index < this.chunks; index++)
      if (this.at(index) === 'zeros') hashes.fill(0, index * HASH_BYTES, (index + 1) * HASH_BYTES)
    return hashes
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

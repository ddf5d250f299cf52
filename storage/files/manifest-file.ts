/**
 * A manifest in a file, version 2: every hash has its place, so a part is read alone, and checked alone against the name.
 *
 *   0     'GWMF', u8 version, u8 log2 chunkBytes, u16 zero, u64 bytes, 32 bytes image, u32 runs, u32 chunks with content,
 *         u32 CRC-32 of all that
 *   4096  the top of each group, 32 bytes                                         (merkle.ts)
 *   then  the leaf of each part, 32 bytes
 *   then, at a multiple of 4096, the hash of each chunk, 32 bytes; a chunk of zeros has zeros, which a file need not store
 *
 * The tops are in memory, 2 KiB for a terabyte, and were checked against the name when the file was opened. The leaves of a group
 * come in as a page that is checked against its top, a part as a page that is checked against its leaf: a page in the cache
 * is what the name says, whatever the disk does later.
 */
import { readSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { type Hashes, sizeFault } from '../images/manifest.ts'
import {
  chunkCount,
  type DiskSize,
  groupCount,
  HASH_BYTES,
  imageOf,
  leafOf,
  nodeOver,
  PART_BYTES,
  PART_CHUNKS,
  partCount,
} from '../images/merkle.ts'
import type { Runs } from '../images/runs.ts'
import { fileFailure } from './durable.ts'
import type { PageCache } from './page-cache.ts'

const MAGIC = 0x47574d46
const VERSION = 2
const BLOCK = 4096
const CRC_AT = 56
const HEAD_BYTES = 60

export type ManifestHead = {
  readonly size: DiskSize
  readonly image: ImageId
  readonly runs: Runs
  readonly tops: Uint8Array
}

/** Where things lie. */
export function placesOf(size: DiskSize): { tops: number; leaves: number; hashes: number; end: number } {
  const leaves = BLOCK + groupCount(size) * HASH_BYTES
  const hashes = Math.ceil((leaves + partCount(size) * HASH_BYTES) / BLOCK) * BLOCK
  return { tops: BLOCK, leaves, hashes, end: hashes + chunkCount(size) * HASH_BYTES }
}

export function encodeHead({ size, image, runs }: ManifestHead): Uint8Array {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(MAGIC)
  head.writeUInt8(VERSION, 4)
  head.writeUInt8(Math.log2(size.chunkBytes), 5)
  head.writeBigUInt64BE(BigInt(size.bytes), 8)
  head.write(image, 16, 'hex')
  head.writeUInt32BE(runs.runs, 48)
  head.writeUInt32BE(runs.content, 52)
  head.writeUInt32BE(crc32(head.subarray(0, CRC_AT)), CRC_AT)
  return head
}

/** The head and the tops of a file, checked against each other; or why they are none. */
export async function readHead(
  file: FileHandle,
): Promise<ManifestHead | { version: number } | { why: string }> {
  const head = await readAt(file, HEAD_BYTES, 0)
  if (head.length < 5 || head.readUInt32BE() !== MAGIC) return { why: 'it is no manifest' }
  const version = head.readUInt8(4)
  if (version !== VERSION) return { version }
  if (head.length < HEAD_BYTES || crc32(head.subarray(0, CRC_AT)) !== head.readUInt32BE(CRC_AT))
    return { why: 'its head is damaged' }
  const size = { bytes: Number(head.readBigUInt64BE(8)), chunkBytes: 2 ** head.readUInt8(5) }
  const fault = sizeFault(size)
  if (fault !== undefined) return { why: fault }
  const image = head.toString('hex', 16, 48)
  const tops = await readAt(file, groupCount(size) * HASH_BYTES, placesOf(size).tops)
  if (tops.length < groupCount(size) * HASH_BYTES || imageOf(size, tops) !== image)
    return { why: 'it is not what its name says' }
  const runs = { runs: head.readUInt32BE(48), content: head.readUInt32BE(52) }
  return { size, image, tops, runs }
}

/** What is there of `length` bytes from `position` on; in `buffer`, when there is one to be used again. */
export async function readAt(
  file: FileHandle,
  length: number,
  position: number,
  buffer: Buffer = Buffer.alloc(length),
): Promise<Buffer> {
  let at = 0
  while (at < length) {
    const { bytesRead } = await file.read(buffer, at, length - at, position + at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return buffer.subarray(0, at)
}

const GROUP_PARTS = PART_BYTES / HASH_BYTES

export class FileHashes implements Hashes {
  readonly tops: Uint8Array
  readonly runs: Runs
  readonly #path: string
  readonly #size: DiskSize
  readonly #pages: PageCache
  readonly #damaged: () => void
  /** Of the first part; the leaves of the groups have those after the parts'. */
  readonly #key: number

  /** `damaged`: a page is not what it was. */
  constructor(path: string, head: ManifestHead, pages: PageCache, damaged: () => void) {
    this.tops = head.tops
    this.runs = head.runs
    this.#path = path
    this.#size = head.size
    this.#pages = pages
    this.#damaged = damaged
    this.#key = pages.keys(partCount(head.size) + groupCount(head.size))
  }

  part(part: number): Buffer {
    return this.#pages.get(this.#key + part) ?? this.#load(part)
  }

  #load(part: number): Buffer {
    // A copy: the page it is in may be the one to give way.
    const leaf = Uint8Array.from(this.#leaf(part))
    const chunks = Math.min(PART_CHUNKS, chunkCount(this.#size) - part * PART_CHUNKS)
    const position = placesOf(this.#size).hashes + part * PART_BYTES
    return this.#pages.fill(this.#key + part, chunks * HASH_BYTES, (into) => {
      this.#read(into, position)
      if (Buffer.compare(leafOf(into), leaf) === 0) return
      this.#refuse(`the hashes of chunks ${part * PART_CHUNKS} and after are not what they were`)
    })
  }

  #leaf(part: number): Uint8Array {
    const group = Math.floor(part / GROUP_PARTS)
    const key = this.#key + partCount(this.#size) + group
    const leaves = this.#pages.get(key) ?? this.#loadLeaves(key, group)
    const at = (part % GROUP_PARTS) * HASH_BYTES
    return leaves.subarray(at, at + HASH_BYTES)
  }

  #loadLeaves(key: number, group: number): Buffer {
    const first = group * GROUP_PARTS
    const count = Math.min(GROUP_PARTS, partCount(this.#size) - first)
    return this.#pages.fill(key, count * HASH_BYTES, (into) => {
      this.#read(into, placesOf(this.#size).leaves + first * HASH_BYTES)
      const top = this.tops.subarray(group * HASH_BYTES, (group + 1) * HASH_BYTES)
      if (Buffer.compare(top, nodeOver(into)) !== 0)
        this.#refuse(`the tree of group ${group} is not what it was`)
    })
  }

  #read(into: Buffer, position: number): void {
    let at = 0
    try {
      const fd = this.#pages.descriptor(this.#path)
      while (at < into.length) {
        const bytes = readSync(fd, into, at, into.length - at, position + at)
        if (bytes === 0) break
        at += bytes
      }
    } catch (error) {
      this.#damaged()
      throw new GodwitError(fileFailure(error, this.#path), { cause: error })
    }
    if (at < into.length) this.#refuse('it ends early')
  }

  #refuse(why: string): never {
    this.#damaged()
    throw new GodwitError({ code: 'DATA_CORRUPT', what: this.#path, why })
  }
}

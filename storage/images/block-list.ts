/**
 * The block list of an image, on disk: a fingerprint for each block of its disk, in order, zeros for blocks of zeros. It lies
 * beside the manifest, without which it says nothing, and can be made again from the chunks. What the image has in chunks
 * of zeros are holes in the file.
 *
 *   'GWBL', u8 version, u8 fingerprint bytes, u16 zero, 32 bytes image, u32 blocks, u32 CRC-32 of the fingerprints,
 *   u32 CRC-32 of all that | 6 bytes for each block | u32 CRC-32 of what follows | the sketch (sketch.ts)
 */
import { crc32 } from 'node:zlib'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { BLOCK_LIST_BLOCKS_MAX } from '../../protocols/limits.ts'
import { FINGERPRINT_BYTES } from './fingerprint.ts'
import { decodeSketch, encodeSketch, type Sketch } from './sketch.ts'

export type ListHead = {
  readonly image: ImageId
  readonly blocks: number
  /** CRC-32 of all fingerprints. */
  readonly sum: number
}

const MAGIC = 0x4757424c
const VERSION = 1
const IMAGE_AT = 8
const BLOCKS_AT = 40
const LIST_SUM_AT = 44
const HEAD_SUM_AT = 48
export const LIST_HEAD_BYTES = 52

/** Where the fingerprint of a block lies; of the one past the last, where the sketch begins. */
export const placeOf = (block: number): number => LIST_HEAD_BYTES + block * FINGERPRINT_BYTES

export function encodeListHead({ image, blocks, sum }: ListHead): Uint8Array {
  const head = Buffer.alloc(LIST_HEAD_BYTES)
  head.writeUInt32BE(MAGIC)
  head.writeUInt8(VERSION, 4)
  head.writeUInt8(FINGERPRINT_BYTES, 5)
  head.write(image, IMAGE_AT, 'hex')
  head.writeUInt32BE(blocks, BLOCKS_AT)
  head.writeUInt32BE(sum, LIST_SUM_AT)
  head.writeUInt32BE(crc32(head.subarray(0, HEAD_SUM_AT)), HEAD_SUM_AT)
  return head
}

/** @throws GodwitError DATA_CORRUPT, and nothing else, whatever the bytes are. */
export function decodeListHead(encoded: Uint8Array): ListHead {
  const head = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length)
  if (head.length !== LIST_HEAD_BYTES || head.readUInt32BE(0) !== MAGIC) return refuse('it is none')
  const [version, width] = [head.readUInt8(4), head.readUInt8(5)]
  if (version !== VERSION || width !== FINGERPRINT_BYTES) return refuse(`its version is ${version}`)
  if (crc32(head.subarray(0, HEAD_SUM_AT)) !== head.readUInt32BE(HEAD_SUM_AT))
    return refuse('its head is damaged')
  const blocks = head.readUInt32BE(BLOCKS_AT)
  if (blocks > BLOCK_LIST_BLOCKS_MAX) return refuse('it is longer than any')
  return { image: head.toString('hex', IMAGE_AT, BLOCKS_AT), blocks, sum: head.readUInt32BE(LIST_SUM_AT) }
}

export function encodeListTail(sketch: Sketch): Uint8Array {
  const encoded = encodeSketch(sketch)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(encoded))
  return Buffer.concat([sum, encoded])
}

/** @throws GodwitError DATA_CORRUPT, and nothing else, whatever the bytes are. */
export function decodeListTail(encoded: Uint8Array): Sketch {
  const tail = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length)
  if (tail.length < 5 || crc32(tail.subarray(4)) !== tail.readUInt32BE(0))
    return refuse('its sketch is damaged')
  try {
    return decodeSketch(tail.subarray(4))
  } catch {
    return refuse('its sketch is none')
  }
}

const refuse = (why: string): never => {
  throw new GodwitError({ code: 'DATA_CORRUPT', what: 'a block list', why })
}

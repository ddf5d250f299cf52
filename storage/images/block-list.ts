/**
 * The block list of an image: the fingerprints of all blocks of its chunks that are not of zeros, in order. It lies beside
 * the manifest, without which it says nothing, and can be made again from the chunks.
 *
 *   'GWBL', u8 version, u8 fingerprint bytes, u16 zero, 32 bytes image, u32 blocks, u32 CRC-32 of all that and the rest,
 *   6 bytes for each block
 *
 * The `n`-th block of a list lies in the chunk that is the (n / blocks of a chunk)-th of those that are not of zeros.
 */
import { crc32 } from 'node:zlib'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { BLOCK_LIST_BLOCKS_MAX } from '../../protocols/limits.ts'
import { FINGERPRINT_BYTES } from './fingerprint.ts'

type BlockList = {
  readonly image: ImageId
  /** FINGERPRINT_BYTES for each block. */
  readonly fingerprints: Uint8Array
}

const MAGIC = 0x4757424c
const VERSION = 1
const IMAGE_AT = 8
const BLOCKS_AT = 40
const CRC_AT = 44
const HEAD_BYTES = 48

export function encodeBlockList({ image, fingerprints }: BlockList): Uint8Array {
  const encoded = Buffer.alloc(HEAD_BYTES + fingerprints.length)
  encoded.writeUInt32BE(MAGIC)
  encoded.writeUInt8(VERSION, 4)
  encoded.writeUInt8(FINGERPRINT_BYTES, 5)
  encoded.write(image, IMAGE_AT, 'hex')
  encoded.writeUInt32BE(fingerprints.length / FINGERPRINT_BYTES, BLOCKS_AT)
  encoded.set(fingerprints, HEAD_BYTES)
  encoded.writeUInt32BE(sumOf(encoded), CRC_AT)
  return encoded
}

/**
 * The list is a view into `encoded`.
 *
 * @throws GodwitError DATA_CORRUPT, and nothing else, whatever the bytes are.
 */
export function decodeBlockList(encoded: Uint8Array): BlockList {
  const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length)
  if (bytes.length < HEAD_BYTES || bytes.readUInt32BE(0) !== MAGIC) return refuse('it is none')
  const [version, width] = [bytes.readUInt8(4), bytes.readUInt8(5)]
  if (version !== VERSION || width !== FINGERPRINT_BYTES) return refuse(`its version is ${version}`)
  const blocks = bytes.readUInt32BE(BLOCKS_AT)
  if (blocks > BLOCK_LIST_BLOCKS_MAX || bytes.length !== HEAD_BYTES + blocks * FINGERPRINT_BYTES)
    return refuse('its length is not what it says')
  if (sumOf(bytes) !== bytes.readUInt32BE(CRC_AT)) return refuse('its checksum is another')
  const image = bytes.toString('hex', IMAGE_AT, BLOCKS_AT)
  return { image, fingerprints: encoded.subarray(HEAD_BYTES) }
}

const sumOf = (bytes: Buffer): number => crc32(bytes.subarray(HEAD_BYTES), crc32(bytes.subarray(0, CRC_AT)))

const refuse = (why: string): never => {
  throw new GodwitError({ code: 'DATA_CORRUPT', what: 'a block list', why })
}

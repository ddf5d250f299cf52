/**
 * A segment's form: records one after the other, with nothing between them,
 *
 *   'GWCF', u8 version, u24 key, u32 chunkBytes, u32 frameBytes, 32 bytes chunk id, u32 CRC-32, frameBytes of payload
 *
 * Numbers are big-endian. The CRC is of the 48 bytes before it and of the payload, so a segment is scanned without keys.
 * In version 1 the payload is the frame, and the key 0. In version 2 the frame is encrypted under that key
 * (frame-keys.ts), and the first 48 bytes are authenticated with it. A segment holds records of one version and key.
 */
import { crc32 } from 'node:zlib'
import type { ChunkId } from '../../protocols/ids.ts'
import { CHUNK_BYTES_MAX, CHUNK_FRAME_SLACK } from '../../protocols/limits.ts'
import { type FrameKey, type FrameKeys, openFrame, SEALED_BYTES, sealFrame } from './frame-keys.ts'

export const HEADER_BYTES = 52
/** What tells a record's version and key. */
export const HEAD_BYTES = 8
const MAGIC = 0x47574346
const PLAIN = 1
const ENCRYPTED = 2
/** Of the header: what the CRC follows. */
const ABOUT_BYTES = HEADER_BYTES - 4

/** Where a frame lies: `offset` is its header's, `frameBytes` its payload's. */
export type Place = {
  readonly segment: number
  readonly offset: number
  readonly frameBytes: number
  readonly chunkBytes: number
}

/** A byte of a segment. */
export type Position = { readonly segment: number; readonly offset: number }

export type Header = {
  readonly id: ChunkId
  /** 0: not encrypted. */
  readonly key: number
  readonly frameBytes: number
  readonly chunkBytes: number
  readonly crc: number
}

/** A record in parts, in order. What was encrypted is in a buffer of its own. */
export function encodeRecord(
  id: ChunkId,
  frame: Uint8Array,
  chunkBytes: number,
  key: FrameKey | undefined,
): Uint8Array[] {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt32BE(MAGIC)
  header.writeUInt8(key === undefined ? PLAIN : ENCRYPTED, 4)
  header.writeUIntBE(key?.id ?? 0, 5, 3)
  header.writeUInt32BE(chunkBytes, 8)
  header.writeUInt32BE(frame.length + (key === undefined ? 0 : SEALED_BYTES), 12)
  header.write(id, 16, 'hex')
  const payload = key === undefined ? [frame] : sealFrame(key, header.subarray(0, ABOUT_BYTES), frame)
  header.writeUInt32BE(checksum(header, ...payload), ABOUT_BYTES)
  return [header, ...payload]
}

/** Under which key the records of a segment are, by its first bytes: 0 when not encrypted, undefined when they tell nothing. */
export function keyIn(head: Buffer): number | undefined {
  if (head.length < HEAD_BYTES || head.readUInt32BE(0) !== MAGIC) return undefined
  const [version, key] = [head.readUInt8(4), head.readUIntBE(5, 3)]
  return (version === PLAIN && key === 0) || (version === ENCRYPTED && key > 0) ? key : undefined
}

/** Undefined for bytes that cannot be a header. The CRC is not checked yet. */
export function decodeHeader(bytes: Buffer): Header | undefined {
  const key = keyIn(bytes)
  if (key === undefined || bytes.length < HEADER_BYTES) return undefined
  const chunkBytes = bytes.readUInt32BE(8)
  const frameBytes = bytes.readUInt32BE(12)
  const sealed = key === 0 ? 0 : SEALED_BYTES
  if (chunkBytes < 1 || chunkBytes > CHUNK_BYTES_MAX || frameBytes < sealed) return undefined
  if (frameBytes > chunkBytes + CHUNK_FRAME_SLACK + sealed) return undefined
  return {
    id: bytes.toString('hex', 16, ABOUT_BYTES),
    key,
    chunkBytes,
    frameBytes,
    crc: bytes.readUInt32BE(ABOUT_BYTES),
  }
}

/** The frame of one whole record, or undefined when the record is damaged, another chunk's, or under no key of these. */
export function frameIn(record: Buffer, id: ChunkId, keys: FrameKeys): Uint8Array | undefined {
  const header = decodeHeader(record)
  if (header === undefined || header.id !== id) return undefined
  const payload = record.subarray(HEADER_BYTES, HEADER_BYTES + header.frameBytes)
  if (payload.length !== header.frameBytes || checksum(record, payload) !== header.crc) return undefined
  if (header.key === 0) return payload
  const key = keys.byId.get(header.key)
  return key && openFrame(key, record.subarray(0, ABOUT_BYTES), payload)
}

export const checksum = (header: Uint8Array, ...payload: readonly Uint8Array[]): number =>
  payload.reduce((sum, part) => crc32(part, sum), crc32(header.subarray(0, ABOUT_BYTES)))

/**
 * A segment's form, version 1: one after the other, with nothing between them,
 *
 *   'GWCF', u8 version, u24 zero, u32 chunkBytes, u32 frameBytes, 32 bytes chunk id, u32 CRC-32, frameBytes of frame
 *
 * Numbers are big-endian. The CRC is of the 48 bytes before it and of the frame.
 */
import { crc32 } from 'node:zlib'
import type { ChunkId } from '../../protocols/ids.ts'
import { CHUNK_BYTES_MAX, CHUNK_FRAME_SLACK } from '../../protocols/limits.ts'

export const HEADER_BYTES = 52
const MAGIC = 0x47574346
const VERSION = 1

/** Where a frame lies: `offset` is its header's. */
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
  readonly frameBytes: number
  readonly chunkBytes: number
  readonly crc: number
}

export function encodeHeader(id: ChunkId, frame: Uint8Array, chunkBytes: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt32BE(MAGIC)
  header.writeUInt8(VERSION, 4)
  header.writeUInt32BE(chunkBytes, 8)
  header.writeUInt32BE(frame.length, 12)
  header.write(id, 16, 'hex')
  header.writeUInt32BE(checksum(header, frame), 48)
  return header
}

/** Undefined for bytes that cannot be a header. The CRC is not checked yet. */
export function decodeHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(0) !== MAGIC) return undefined
  if (bytes.readUInt32BE(4) !== VERSION << 24) return undefined
  const chunkBytes = bytes.readUInt32BE(8)
  const frameBytes = bytes.readUInt32BE(12)
  if (chunkBytes < 1 || chunkBytes > CHUNK_BYTES_MAX || frameBytes > chunkBytes + CHUNK_FRAME_SLACK)
    return undefined
  return { id: bytes.toString('hex', 16, 48), chunkBytes, frameBytes, crc: bytes.readUInt32BE(48) }
}

/** The frame of one whole record, or undefined when the record is damaged or another chunk's. */
export function frameIn(record: Buffer, id: ChunkId): Uint8Array | undefined {
  const header = decodeHeader(record)
  if (header === undefined || header.id !== id) return undefined
  const frame = record.subarray(HEADER_BYTES, HEADER_BYTES + header.frameBytes)
  return frame.length === header.frameBytes && checksum(record, frame) === header.crc ? frame : undefined
}

export const checksum = (header: Uint8Array, frame: Uint8Array): number =>
  crc32(frame, crc32(header.subarray(0, HEADER_BYTES - 4)))

/** Reads a segment from a position on: what a crash, a lost index or a bad sector has left of it. */
import type { FileHandle } from 'node:fs/promises'
import type { ChunkId } from '../../protocols/ids.ts'
import { checksum, decodeHeader, HEADER_BYTES, type Place } from './segment-frame.ts'

/**
 * Tells every whole frame to `found`, and returns where the last of them ends: what follows is a torn tail, to be cut
 * from the last segment. A damaged frame with whole ones behind it is stepped over.
 */
export async function scanSegment(
  file: FileHandle,
  segment: number,
  from: number,
  found: (id: ChunkId, place: Place) => void,
): Promise<number> {
  const { size } = await file.stat()
  const head = Buffer.alloc(HEADER_BYTES)
  // A file shorter than the index says has lost its end: nothing can be scanned there.
  let end = Math.min(from, size)
  for (let offset = end; offset + HEADER_BYTES <= size;) {
    await file.read(head, 0, HEADER_BYTES, offset)
    const header = decodeHeader(head)
    if (header === undefined || offset + HEADER_BYTES + header.frameBytes > size) break
    const { id, frameBytes, chunkBytes, crc } = header
    const frame = Buffer.allocUnsafe(frameBytes)
    await file.read(frame, 0, frameBytes, offset + HEADER_BYTES)
    const next = offset + HEADER_BYTES + frameBytes
    if (checksum(head, frame) === crc) {
      found(id, { segment, offset, frameBytes, chunkBytes })
      end = next
    }
    offset = next
  }
  return end
}

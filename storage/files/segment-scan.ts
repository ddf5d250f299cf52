/** Reads a segment from a position on: what a crash, a lost index or a bad sector has left of it. */
import { type FileHandle, open } from 'node:fs/promises'
import type { ChunkId } from '../../protocols/ids.ts'
import type { FrameKeys } from './frame-keys.ts'
import { checksum, decodeHeader, HEAD_BYTES, HEADER_BYTES, keyIn, type Place } from './segment-frame.ts'

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

/** Under which key a segment's records are; 0 for none, undefined when it is empty, or its beginning damaged. */
export async function keyOfSegment(path: string, { byId }: FrameKeys): Promise<number | undefined> {
  const file = await open(path, 'r')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0)
    const key = keyIn(head.subarray(0, bytesRead))
    if (key === undefined || key === 0 || byId.has(key)) return key
    // A key that nobody has would keep the peer from starting: the disk must not be what says so.
    let isSound = false
    await scanFirst(file, () => (isSound = true))
    return isSound ? key : undefined
  } finally {
    await file.close()
  }
}

async function scanFirst(file: FileHandle, found: () => void): Promise<void> {
  const head = Buffer.alloc(HEADER_BYTES)
  await file.read(head, 0, HEADER_BYTES, 0)
  const header = decodeHeader(head)
  if (header === undefined) return
  const payload = Buffer.alloc(header.frameBytes)
  const { bytesRead } = await file.read(payload, 0, header.frameBytes, HEADER_BYTES)
  if (bytesRead === payload.length && checksum(head, payload) === header.crc) found()
}

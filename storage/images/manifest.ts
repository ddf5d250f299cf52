/**
 * An image is a manifest: its size, and the SHA-256 of each of its chunks in order, or zeros for a chunk of zeros. Its
 * Merkle root is its name (merkle.ts), so who holds a name can check a manifest, and who holds a manifest can check a chunk.
 *
 * A terabyte has 128 MiB of hashes. They stay where they are and come a part at a time: from a file through a cache that all
 * manifests of a peer share (storage/files/manifest-file.ts), or, of small images, from memory.
 */
import { GodwitError } from '../../protocols/errors.ts'
import {
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  IMAGE_BYTES_MAX,
  IMAGE_CHUNKS_MAX,
} from '../../protocols/limits.ts'
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import {
  chunkCount,
  type DiskSize,
  GROUP_CHUNKS,
  groupCount,
  HASH_BYTES,
  imageOf,
  leavesOf,
  nodeOver,
  PART_BYTES,
  PART_CHUNKS,
  partCount,
} from './merkle.ts'

import { isZeros, RunCount, type Runs } from './runs.ts'

export { chunkCount, HASH_BYTES }

export type Hashes = {
  /** Of the groups, 32 bytes each (merkle.ts). */
  readonly tops: Uint8Array
  readonly runs: Runs
  /**
   * Hashes of the chunks of part `part`: 32 bytes each; 32 zero bytes stand for a chunk of zeros. Good until the next call for
   * any image.
   *
   * @throws GodwitError DATA_CORRUPT when the disk has changed them, IO or NOT_FOUND when they cannot be read
   */
  part(part: number): Buffer
}

export type Manifest = DiskSize & {
  readonly image: ImageId
  readonly hashes: Hashes
}

/** Bytes of chunk `index`: `chunkBytes`, or what is left for the last one. */
export const chunkLength = ({ bytes, chunkBytes }: DiskSize, index: number): number =>
  Math.min(chunkBytes, bytes - index * chunkBytes)

/** The id of chunk `index`, or undefined for a chunk of zeros. Throws as `Hashes.part` does. */
export function chunkAt({ hashes }: Manifest, index: number): ChunkId | undefined {
  const part = hashes.part(Math.floor(index / PART_CHUNKS))
  const at = (index % PART_CHUNKS) * HASH_BYTES
  return isZeros(part, at) ? undefined : part.toString('hex', at, at + HASH_BYTES)
}

/** As `chunkAt`, and undefined where it would throw: of a chunk that cannot be named nothing is held. */
export function readableChunkAt(manifest: Manifest, index: number): ChunkId | undefined {
  try {
    return chunkAt(manifest, index)
  } catch {
    return undefined
  }
}

/** Content of the chunks that are not of zeros, in bytes. Throws as `Hashes.part` does. */
export function dataBytesOf(manifest: Manifest): number {
  const last = chunkCount(manifest) - 1
  const short = manifest.chunkBytes - chunkLength(manifest, last)
  const { content } = manifest.hashes.runs
  return content * manifest.chunkBytes - (chunkAt(manifest, last) === undefined ? 0 : short)
}

/** The hashes of an image, a part at a time. Throws as `Hashes.part` does. */
export function* partsOf(manifest: Manifest): Generator<Buffer> {
  for (let part = 0; part < partCount(manifest); part++) yield manifest.hashes.part(part)
}

/** A copy of the hashes of one group. Throws as `Hashes.part` does. */
export function groupOf(manifest: Manifest, group: number): Buffer {
  const first = (group * GROUP_CHUNKS) / PART_CHUNKS
  const end = Math.min(partCount(manifest), first + GROUP_CHUNKS / PART_CHUNKS)
  const parts: Buffer[] = []
  for (let part = first; part < end; part++) parts.push(Buffer.from(manifest.hashes.part(part)))
  return Buffer.concat(parts)
}

/**
 * Names an image whose hashes are in memory by its content.
 *
 * @throws GodwitError IMAGE_INVALID when sizes are out of bounds or do not fit the hashes.
 */
export function buildManifest(bytes: number, chunkBytes: number, hashes: Uint8Array): Manifest {
  const size = { bytes, chunkBytes }
  const fault =
    sizeFault(size) ??
    (hashes.length === chunkCount(size) * HASH_BYTES ? undefined : 'it has not one hash a chunk')
  if (fault !== undefined) throw invalidImage('a new image', fault)
  const held = new MemoryHashes(hashes)
  return { image: imageOf(size, held.tops), ...size, hashes: held }
}

/** Why a manifest is not what it says, or undefined when it is. Throws as `Hashes.part` does. */
export function verifyManifest({ image, bytes, chunkBytes, hashes }: Manifest): string | undefined {
  const size = { bytes, chunkBytes }
  const fault = sizeFault(size)
  if (fault !== undefined) return fault
  const last = partCount(size) - 1
  if (hashes.part(last).length !== (chunkCount(size) - last * PART_CHUNKS) * HASH_BYTES)
    return 'it has not one hash a chunk'
  const tops = Array.from({ length: groupCount(size) }, (_, group) =>
    nodeOver(leavesOf(groupOf({ image, bytes, chunkBytes, hashes }, group))),
  )
  return imageOf(size, Buffer.concat(tops)) === image ? undefined : 'its Merkle root is another'
}

/** Why no image can have this size, or undefined when one can. */
export function sizeFault({ bytes, chunkBytes }: DiskSize): string | undefined {
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > IMAGE_BYTES_MAX)
    return `its size is not in 1..${IMAGE_BYTES_MAX} bytes`
  if (
    chunkBytes < CHUNK_BYTES_MIN ||
    chunkBytes > CHUNK_BYTES_MAX ||
    !Number.isInteger(Math.log2(chunkBytes))
  )
    return `its chunk size is not a power of two in ${CHUNK_BYTES_MIN}..${CHUNK_BYTES_MAX}`
  if (chunkCount({ bytes, chunkBytes }) > IMAGE_CHUNKS_MAX)
    return `it has more than ${IMAGE_CHUNKS_MAX} chunks`
  return undefined
}

export const invalidImage = (path: string, why: string): GodwitError =>
  new GodwitError({ code: 'IMAGE_INVALID', path, why })

/** Hashes in memory. */
class MemoryHashes implements Hashes {
  readonly bytes: Buffer
  readonly tops: Uint8Array
  #runs: Runs | undefined

  constructor(hashes: Uint8Array) {
    this.bytes = Buffer.from(hashes.buffer, hashes.byteOffset, hashes.length)
    const tops: Uint8Array[] = []
    for (let at = 0; at < hashes.length; at += GROUP_BYTES)
      tops.push(nodeOver(leavesOf(this.bytes.subarray(at, at + GROUP_BYTES))))
    this.tops = Buffer.concat(tops)
  }

  get runs(): Runs {
    if (this.#runs !== undefined) return this.#runs
    const count = new RunCount()
    count.add(this.bytes)
    return (this.#runs = count)
  }

  part(part: number): Buffer {
    return this.bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES)
  }
}

const GROUP_BYTES = GROUP_CHUNKS * HASH_BYTES

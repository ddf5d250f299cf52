/**
 * An image is a manifest: its size, and the SHA-256 of each of its chunks in order, or zeros for a chunk of zeros. Its
 * Merkle root is its name, so who holds a name can check a manifest, and who holds a manifest can check a chunk.
 */
import type { ChunkId, ImageId } from '../../protocols/ids.ts'

export type Manifest = {
  readonly image: ImageId
  /** Size of the disk in bytes; the last chunk may be short. */
  readonly bytes: number
  /** A power of two in CHUNK_BYTES_MIN..CHUNK_BYTES_MAX. */
  readonly chunkBytes: number
  /** 32 bytes for each chunk; 32 zero bytes stand for a chunk of zeros. */
  readonly hashes: Uint8Array
}

export const HASH_BYTES = 32

export const chunkCount = ({ bytes, chunkBytes }: Manifest): number => Math.ceil(bytes / chunkBytes)

/** Bytes of chunk `index`: `chunkBytes`, or what is left for the last one. */
export const chunkLength = (manifest: Manifest, index: number): number =>
  Math.min(manifest.chunkBytes, manifest.bytes - index * manifest.chunkBytes)

/** The id of chunk `index`, or undefined for a chunk of zeros. */
export function chunkAt({ hashes }: Manifest, index: number): ChunkId | undefined {
  const hash = hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
  return hash.every((byte) => byte === 0) ? undefined : Buffer.from(hash).toString('hex')
}

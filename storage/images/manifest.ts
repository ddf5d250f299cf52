/**
 * An image is a manifest: its size, and the SHA-256 of each of its chunks in order, or zeros for a chunk of zeros. Its
 * Merkle root is its name, so who holds a name can check a manifest, and who holds a manifest can check a chunk.
 *
 *   part  = hashes of PART_CHUNKS chunks in order, the last part of what is left (at least one chunk)
 *   leaf  = SHA-256(0x00, part)
 *   node  = SHA-256(0x01, left, right); an odd last one is passed up as it is
 *   image = SHA-256(0x02, 'godwit image 1', u32 chunkBytes, u64 bytes, top of the tree)
 *
 * Numbers are big-endian. Size and chunk size fix the shape of the tree, so no other tree has the same name.
 */
import { hash } from 'node:crypto'
import { GodwitError } from '../../protocols/errors.ts'
import {
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  IMAGE_BYTES_MAX,
  IMAGE_CHUNKS_MAX,
} from '../../protocols/limits.ts'
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
/**
 * Chunk hashes under one leaf: 8 KiB, the least that can be proven alone. One leaf for each chunk would cost a hundred
 * times the hashing (a terabyte: seconds of the main thread instead of 0.3 s), to prove parts that nobody sends alone.
 */
const PART_CHUNKS = 256

export const chunkCount = ({ bytes, chunkBytes }: Pick<Manifest, 'bytes' | 'chunkBytes'>): number =>
  Math.ceil(bytes / chunkBytes)

/** Bytes of chunk `index`: `chunkBytes`, or what is left for the last one. */
export const chunkLength = (manifest: Pick<Manifest, 'bytes' | 'chunkBytes'>, index: number): number =>
  Math.min(manifest.chunkBytes, manifest.bytes - index * manifest.chunkBytes)

/** The id of chunk `index`, or undefined for a chunk of zeros. */
export function chunkAt({ hashes }: Manifest, index: number): ChunkId | undefined {
  const hash = hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
  return hash.every((byte) => byte === 0) ? undefined : Buffer.from(hash).toString('hex')
}

/**
 * Names an image by its content.
 *
 * @throws GodwitError IMAGE_INVALID when sizes are out of bounds or do not fit the hashes.
 */
export function buildManifest(bytes: number, chunkBytes: number, hashes: Uint8Array): Manifest {
  const fault = faultOf(bytes, chunkBytes, hashes.length)
  if (fault !== undefined) throw invalid('a new image', fault)
  return { image: rootOf(bytes, chunkBytes, hashes), bytes, chunkBytes, hashes }
}

/** Why a manifest is not what it says, or undefined when it is. */
export function verifyManifest({ image, bytes, chunkBytes, hashes }: Manifest): string | undefined {
  const fault = faultOf(bytes, chunkBytes, hashes.length)
  if (fault !== undefined) return fault
  return rootOf(bytes, chunkBytes, hashes) === image ? undefined : 'its Merkle root is another'
}

/** `hashesBytes` is left out where the hashes are not known yet. */
function faultOf(bytes: number, chunkBytes: number, hashesBytes?: number): string | undefined {
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > IMAGE_BYTES_MAX)
    return `its size is not in 1..${IMAGE_BYTES_MAX} bytes`
  if (
    chunkBytes < CHUNK_BYTES_MIN ||
    chunkBytes > CHUNK_BYTES_MAX ||
    !Number.isInteger(Math.log2(chunkBytes))
  )
    return `its chunk size is not a power of two in ${CHUNK_BYTES_MIN}..${CHUNK_BYTES_MAX}`
  const chunks = chunkCount({ bytes, chunkBytes })
  if (chunks > IMAGE_CHUNKS_MAX) return `it has more than ${IMAGE_CHUNKS_MAX} chunks`
  if (hashesBytes !== undefined && hashesBytes !== chunks * HASH_BYTES) return 'it has not one hash a chunk'
  return undefined
}

const invalid = (path: string, why: string): GodwitError =>
  new GodwitError({ code: 'IMAGE_INVALID', path, why })

function rootOf(bytes: number, chunkBytes: number, hashes: Uint8Array): ImageId {
  const partBytes = PART_CHUNKS * HASH_BYTES
  let level: Uint8Array[] = []
  for (let at = 0; at < hashes.length; at += partBytes)
    level.push(digest(0, hashes.subarray(at, at + partBytes)))
  while (level.length > 1) {
    const above: Uint8Array[] = []
    for (let at = 0; at < level.length; at += 2) {
      const left = level[at] as Uint8Array
      const right = level[at + 1]
      above.push(right === undefined ? left : digest(1, left, right))
    }
    level = above
  }
  const head = Buffer.alloc(14 + 4 + 8)
  head.write('godwit image 1')
  head.writeUInt32BE(chunkBytes, 14)
  head.writeBigUInt64BE(BigInt(bytes), 18)
  return Buffer.from(digest(2, head, level[0] as Uint8Array)).toString('hex')
}

const digest = (domain: number, ...parts: Uint8Array[]): Uint8Array =>
  hash('sha256', Buffer.concat([Uint8Array.of(domain), ...parts]), 'buffer')

// Form on disk and on the wire, version 1 --------------------------------------------------------------------------
//
//   'GWMF', u8 version, u8 log2 chunkBytes, u16 zero, u64 bytes, then runs until every chunk is named:
//   u32 chunks of zeros, u32 chunks with content, 32 bytes for each of the latter
//
// Runs are as long as they can be, so an image has one form.

const MAGIC = 0x47574d46
const VERSION = 1
const HEAD_BYTES = 16
const RUN_BYTES = 8
const ZEROS = Buffer.alloc(HASH_BYTES)

export function encodeManifest(manifest: Manifest): Uint8Array {
  const hashes = Buffer.from(manifest.hashes.buffer, manifest.hashes.byteOffset, manifest.hashes.length)
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(MAGIC)
  head.writeUInt8(VERSION, 4)
  head.writeUInt8(Math.log2(manifest.chunkBytes), 5)
  head.writeBigUInt64BE(BigInt(manifest.bytes), 8)
  const parts: Buffer[] = [head]
  const chunks = chunkCount(manifest)
  for (let at = 0; at < chunks;) {
    const content = endOfRun(hashes, at, chunks, true)
    const end = endOfRun(hashes, content, chunks, false)
    const run = Buffer.alloc(RUN_BYTES)
    run.writeUInt32BE(content - at)
    run.writeUInt32BE(end - content, 4)
    parts.push(run, hashes.subarray(content * HASH_BYTES, end * HASH_BYTES))
    at = end
  }
  return Buffer.concat(parts)
}

/** The first chunk from `from` on that is not of zeros (`zeros`), or that is. */
function endOfRun(hashes: Buffer, from: number, chunks: number, zeros: boolean): number {
  let at = from
  while (at < chunks && isZeros(hashes, at) === zeros) at++
  return at
}

const isZeros = (hashes: Buffer, index: number): boolean =>
  hashes.compare(ZEROS, 0, HASH_BYTES, index * HASH_BYTES, (index + 1) * HASH_BYTES) === 0

/**
 * Reads a manifest and names it by its content: compare `image` with the name that was asked for.
 *
 * @throws GodwitError IMAGE_INVALID, and nothing else, whatever the bytes are.
 */
export function decodeManifest(encoded: Uint8Array): Manifest {
  const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length)
  const refuse = (why: string): never => {
    throw invalid('a manifest', why)
  }
  if (bytes.length < HEAD_BYTES || bytes.readUInt32BE(0) !== MAGIC) return refuse('it is no manifest')
  if (bytes.readUInt8(4) !== VERSION) return refuse(`it has version ${bytes.readUInt8(4)}, not ${VERSION}`)
  if (bytes.readUInt16BE(6) !== 0) return refuse('its head is damaged')
  const chunkBytes = 2 ** bytes.readUInt8(5)
  const size = Number(bytes.readBigUInt64BE(8))
  const fault = faultOf(size, chunkBytes)
  if (fault !== undefined) return refuse(fault)
  const chunks = chunkCount({ bytes: size, chunkBytes })
  const hashes = Buffer.alloc(chunks * HASH_BYTES)

  let at = HEAD_BYTES
  let chunk = 0
  while (chunk < chunks) {
    if (at + RUN_BYTES > bytes.length) return refuse('it ends early')
    const zeros = bytes.readUInt32BE(at)
    const content = bytes.readUInt32BE(at + 4)
    at += RUN_BYTES
    chunk += zeros
    // Only the last run may end in zeros, and only the first may begin without.
    if (chunk + content > chunks || (content === 0 && chunk !== chunks) || (zeros === 0 && chunk > 0))
      return refuse('its runs do not fit')
    const length = content * HASH_BYTES
    if (at + length > bytes.length) return refuse('it ends early')
    bytes.copy(hashes, chunk * HASH_BYTES, at, at + length)
    for (let i = 0; i < content; i++) if (isZeros(hashes, chunk + i)) return refuse('its runs do not fit')
    at += length
    chunk += content
  }
  if (at !== bytes.length) return refuse('it goes on past its end')
  return buildManifest(size, chunkBytes, hashes)
}

/**
 * The tree that names an image, in the steps in which large manifests are read, sent and checked: nothing here needs the
 * hashes of more than one part.
 *
 *   part  = hashes of PART_CHUNKS chunks in order, the last part of what is left (at least one chunk)
 *   leaf  = SHA-256(0x00, part)
 *   node  = SHA-256(0x01, left, right); an odd last one is passed up as it is
 *   group = 256 leaves in order; its top is the node over them, eight levels up
 *   image = SHA-256(0x02, 'godwit image 1', u32 chunkBytes, u64 bytes, the node over all tops)
 *
 * Numbers are big-endian. Size and chunk size fix the shape of the tree, so no other tree has the same name. 256 is a power of
 * two: folding groups first makes the same nodes as folding level by level.
 */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import type { ImageId } from '../../protocols/ids.ts'
import { MANIFEST_GROUP_CHUNKS } from '../../protocols/limits.ts'

export const HASH_BYTES = 32
/**
 * Chunk hashes under one leaf: 8 KiB, the least that can be proven alone. One leaf for each chunk would cost a hundred
 * times the hashing (a terabyte: seconds of the main thread instead of 0.3 s), to prove parts that nobody sends alone.
 */
export const PART_CHUNKS = 256
export const PART_BYTES = PART_CHUNKS * HASH_BYTES
const GROUP_PARTS = 256
/** Chunks under one top: 2 MiB of hashes, 16 GiB of an image; the tops of a terabyte are 2 KiB. */
export const GROUP_CHUNKS = MANIFEST_GROUP_CHUNKS
assert(GROUP_CHUNKS === GROUP_PARTS * PART_CHUNKS)

/** What fixes the shape of a tree. */
export type DiskSize = {
  /** Size of the disk in bytes; the last chunk may be short. */
  readonly bytes: number
  /** A power of two in CHUNK_BYTES_MIN..CHUNK_BYTES_MAX. */
  readonly chunkBytes: number
}

/** Who holds the tops of an image can check a group of its hashes. */
export type Tree = DiskSize & {
  readonly image: ImageId
  /** Of all groups, 32 bytes each. */
  readonly tops: Uint8Array
}

export const chunkCount = ({ bytes, chunkBytes }: DiskSize): number => Math.ceil(bytes / chunkBytes)
export const partCount = (size: DiskSize): number => Math.ceil(chunkCount(size) / PART_CHUNKS)
export const groupCount = (size: DiskSize): number => Math.ceil(chunkCount(size) / GROUP_CHUNKS)
/** Chunks of group `group`. */
export const groupChunks = (size: DiskSize, group: number): number =>
  Math.min(GROUP_CHUNKS, chunkCount(size) - group * GROUP_CHUNKS)

export function leafOf(part: Uint8Array): Uint8Array {
  LEAF.set(part, 1)
  return hash('sha256', LEAF.subarray(0, 1 + part.length), 'buffer')
}

/** A leaf's input, used again: a terabyte has 16,384 of them, and each is 8 KiB outside of the heap. */
const LEAF = Buffer.alloc(1 + PART_BYTES)

/** The leaves of the hashes of a group, one after the other. */
export function leavesOf(hashes: Uint8Array): Buffer {
  const leaves: Uint8Array[] = []
  for (let at = 0; at < hashes.length; at += PART_BYTES)
    leaves.push(leafOf(hashes.subarray(at, at + PART_BYTES)))
  return Buffer.concat(leaves)
}

/** The node over digests of 32 bytes, one after the other: the leaves of a group, or the tops of an image. */
export function nodeOver(digests: Uint8Array): Uint8Array {
  let level: Uint8Array[] = []
  for (let at = 0; at < digests.length; at += HASH_BYTES) level.push(digests.subarray(at, at + HASH_BYTES))
  while (level.length > 1) {
    const above: Uint8Array[] = []
    for (let at = 0; at < level.length; at += 2) {
      const left = level[at] as Uint8Array
      const right = level[at + 1]
      above.push(right === undefined ? left : digest(1, left, right))
    }
    level = above
  }
  return level[0] as Uint8Array
}

export function imageOf({ bytes, chunkBytes }: DiskSize, tops: Uint8Array): ImageId {
  const head = Buffer.alloc(14 + 4 + 8)
  head.write('godwit image 1')
  head.writeUInt32BE(chunkBytes, 14)
  head.writeBigUInt64BE(BigInt(bytes), 18)
  return Buffer.from(digest(2, head, nodeOver(tops))).toString('hex')
}

/** Whether a tree is that of its image. Its size is taken for sound. */
export const isTree = (tree: Tree): boolean =>
  tree.tops.length === groupCount(tree) * HASH_BYTES && imageOf(tree, tree.tops) === tree.image

/** Whether these are the hashes of a group. */
export function isGroup({ tops }: Tree, group: number, hashes: Uint8Array): boolean {
  const top = tops.subarray(group * HASH_BYTES, (group + 1) * HASH_BYTES)
  return Buffer.compare(top, nodeOver(leavesOf(hashes))) === 0
}

const digest = (domain: number, ...parts: Uint8Array[]): Uint8Array =>
  hash('sha256', Buffer.concat([Uint8Array.of(domain), ...parts]), 'buffer')

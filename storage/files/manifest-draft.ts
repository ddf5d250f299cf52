/**
 * A manifest in the making: a file in its last form (manifest-file.ts) whose hashes come in any order and whose tree comes at
 * the end, read back a group at a time. It gets its name once all of it is on disk.
 */
import { writeSync } from 'node:fs'
import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { invalidImage } from '../images/manifest.ts'
import {
  type DiskSize,
  groupChunks,
  groupCount,
  GROUP_CHUNKS,
  HASH_BYTES,
  imageOf,
  leavesOf,
  nodeOver,
  PART_BYTES,
  type Tree,
} from '../images/merkle.ts'
import { RunCount } from '../images/runs.ts'
import { fileFailure, syncFolder } from './durable.ts'
import { encodeHead, type ManifestHead, placesOf, readAt } from './manifest-file.ts'

const ZERO_PART = Buffer.alloc(PART_BYTES)

export class DraftFile {
  readonly path: string
  readonly size: DiskSize
  readonly #file: FileHandle
  /** Past this nothing was ever written: zeros need not be. */
  #writtenTo: number

  constructor(path: string, size: DiskSize, file: FileHandle, isNew: boolean) {
    this.path = path
    this.size = size
    this.#file = file
    this.#writtenTo = isNew ? 0 : Infinity
  }

  /** Hashes of chunks from `index` on; what is not set is zeros. Throws GodwitError DISK_FULL or IO. */
  set(index: number, hashes: Uint8Array): void {
    const first = placesOf(this.size).hashes + index * HASH_BYTES
    for (let at = 0; at < hashes.length; at += PART_BYTES) {
      const part = hashes.subarray(at, at + PART_BYTES)
      const isZero = ZERO_PART.compare(part, 0, part.length, 0, part.length) === 0
      if (isZero && first + at >= this.#writtenTo) continue
      this.#write(part, first + at)
      this.#writtenTo = Math.max(this.#writtenTo, first + at + part.length)
    }
  }

  /**
   * Makes the tree, and puts the file at `pathOf(image)`.
   *
   * @throws GodwitError IMAGE_INVALID when it is another image than `image`
   */
  async finish(image: ImageId | undefined, pathOf: (image: ImageId) => string): Promise<ManifestHead> {
    const places = placesOf(this.size)
    const runs = new RunCount()
    const tops: Uint8Array[] = []
    const room = this.room()
    for (let group = 0; group < groupCount(this.size); group++) {
      const hashes = await this.group(group, room)
      runs.add(hashes)
      const leaves = leavesOf(hashes)
      tops.push(nodeOver(leaves))
      this.#write(leaves, places.leaves + group * PART_BYTES)
    }
    const top = Buffer.concat(tops)
    const named = imageOf(this.size, top)
    if (image !== undefined && named !== image) throw invalidImage(image, 'its Merkle root is another')
    const { content } = runs
    const head = { size: this.size, image: named, runs: { runs: runs.runs, content }, tops: top }
    this.#write(top, places.tops)
    this.#write(encodeHead(head), 0)
    await this.#file.sync()
    await this.#file.close()
    await rename(this.path, pathOf(named))
    await syncFolder(dirname(this.path))
    return head
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async remove(): Promise<void> {
    await this.#file.close()
    await unlink(this.path)
  }

  /** Notes what is known before the hashes are: an unfinished file says what it will be. */
  root({ image, tops }: Tree): void {
    this.#write(tops, placesOf(this.size).tops)
    this.#write(encodeHead({ size: this.size, image, tops, runs: { runs: 0, content: 0 } }), 0)
  }

  /** The hashes of a group, as far as they are here, in `room`. */
  group(group: number, room: Buffer): Promise<Buffer> {
    const bytes = groupChunks(this.size, group) * HASH_BYTES
    return readAt(this.#file, bytes, placesOf(this.size).hashes + group * GROUP_CHUNKS * HASH_BYTES, room)
  }

  /** For `group`, one after the other: 2 MiB that need not be found again. */
  room(): Buffer {
    return Buffer.alloc(groupChunks(this.size, 0) * HASH_BYTES)
  }

  #write(bytes: Uint8Array, position: number): void {
    try {
      for (let at = 0; at < bytes.length;)
        at += writeSync(this.#file.fd, bytes, at, bytes.length - at, position + at)
    } catch (error) {
      throw new GodwitError(fileFailure(error, this.path), { cause: error })
    }
  }
}

/** A new file, or what is there of one. */
export async function openDraft(path: string, size: DiskSize, isNew: boolean): Promise<DraftFile> {
  const file = await open(path, isNew ? 'wx+' : 'r+')
  try {
    await file.truncate(placesOf(size).end)
  } catch (error) {
    await file.close()
    throw error
  }
  return new DraftFile(path, size, file, isNew)
}

/**
 * Block lists in files, one each, beside the manifests (storage/images/block-list.ts).
 *
 *   draft ──set──▶ NAME.partial, with holes ──finish: sum, sketch, fsync──▶ IMAGE.blocks
 *
 * A list is read through against its checksum once in a life of the process, before it is first used; from then on it is
 * read in pieces. One that is not what it says is removed, to be made again. What a crash left of a draft is removed at
 * the next opening.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { BLOCK_LIST_BLOCKS_MAX, SKETCH_FINGERPRINTS_MAX } from '../../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import {
  decodeListHead,
  decodeListTail,
  encodeListHead,
  encodeListTail,
  LIST_HEAD_BYTES,
  placeOf,
} from '../images/block-list.ts'
import type { BlockLists, ListDraft } from '../images/block-lists.ts'
import { BLOCK_BYTES, blockCount, FINGERPRINT_BYTES } from '../images/fingerprint.ts'
import { Sketching, type Sketch } from '../images/sketch.ts'
import { fileFailure, namesIn, PARTIAL, syncFolder } from './durable.ts'

const FILE = /^([0-9a-f]{64})\.blocks$/
const DRAFT = /\.blocks\.[0-9-]+\.partial$/
/** Fingerprints read at once when a list is read through. */
const PIECE_BLOCKS = 128 * 1024
const TAIL_BYTES_MAX = 4 + 1 + SKETCH_FINGERPRINTS_MAX * FINGERPRINT_BYTES

export async function openBlockLists(folder: string): Promise<Outcome<BlockLists>> {
  try {
    return ok(new FileBlockLists(folder, await namesIn(folder, FILE, (file) => DRAFT.test(file))))
  } catch (error) {
    return failed(fileFailure(error, folder))
  }
}

class FileBlockLists implements BlockLists {
  readonly #folder: string
  readonly #images: Set<ImageId>
  /** Lists that were read through in this life. */
  readonly #sound = new Map<ImageId, Promise<void>>()

  constructor(folder: string, images: Set<ImageId>) {
    this.#folder = folder
    this.#images = images
  }

  list(): ImageId[] {
    return [...this.#images].sort()
  }

  sketch(image: ImageId, done: Done<Sketch>): void {
    this.#answer(done, () =>
      this.#with(image, async (file, blocks) => {
        const tail = Buffer.alloc(TAIL_BYTES_MAX)
        const { bytesRead } = await file.read(tail, 0, tail.length, placeOf(blocks))
        return decodeListTail(tail.subarray(0, bytesRead))
      }),
    )
  }

  read(image: ImageId, first: number, count: number, done: Done<Uint8Array>): void {
    this.#answer(done, () =>
      this.#with(image, async (file, blocks) => {
        await this.#verified(image)
        return readWhole(file, first, Math.max(0, Math.min(count, blocks - first)))
      }),
    )
  }

  draft(chunkBytes: number): ListDraft {
    const path = join(this.#folder, `draft.blocks.${process.pid}-${++drafts}${PARTIAL}`)
    let file: number | undefined
    let fault: unknown
    const attempt = (run: () => void): void => {
      try {
        if (fault === undefined) run()
      } catch (error) {
        fault = error
      }
    }
    const opened = (): number => (file ??= openSync(path, 'wx+'))
    const close = (): void => {
      if (file !== undefined) closeSync(file)
      file = undefined
    }
    return {
      set: (index, fingerprints) =>
        attempt(() => {
          const block = (index * chunkBytes) / BLOCK_BYTES
          if (block < BLOCK_LIST_BLOCKS_MAX)
            writeSync(opened(), fingerprints, 0, fingerprints.length, placeOf(block))
        }),
      finish: ({ image, bytes }, done) =>
        this.#answer(done, async () => {
          const blocks = blockCount(bytes)
          attempt(() => ftruncateSync(opened(), placeOf(blocks)))
          close()
          try {
            if (fault !== undefined) throw fault
            // A larger one goes without.
            if (blocks > BLOCK_LIST_BLOCKS_MAX) return
            await seal(path, image, blocks)
            await rename(path, this.#pathOf(image))
            await syncFolder(this.#folder)
            this.#sound.set(image, Promise.resolve())
            this.#images.add(image)
          } finally {
            await unlink(path).catch(() => {})
          }
        }),
      drop: () => {
        if (file === undefined) return
        close()
        unlink(path).catch(() => {})
      },
    }
  }

  remove(image: ImageId, done: Done<void>): void {
    this.#answer(done, () => this.#remove(image))
  }

  async #remove(image: ImageId): Promise<void> {
    this.#sound.delete(image)
    if (!this.#images.delete(image)) return
    await unlink(this.#pathOf(image))
    await syncFolder(this.#folder)
  }

  #pathOf(image: ImageId): string {
    return join(this.#folder, `${image}.blocks`)
  }

  /** Runs `use` on the file of an image; one that is damaged is gone afterwards. */
  async #with<T>(image: ImageId, use: (file: FileHandle, blocks: number) => Promise<T>): Promise<T> {
    if (!this.#images.has(image))
      throw new GodwitError({ code: 'NOT_FOUND', what: 'block list', name: image })
    try {
      const file = await open(this.#pathOf(image))
      try {
        return await use(file, (await headOf(file, image)).blocks)
      } finally {
        await file.close()
      }
    } catch (error) {
      if (error instanceof GodwitError && error.failure.code === 'DATA_CORRUPT')
        await this.#remove(image).catch(() => {})
      throw error
    }
  }

  #verified(image: ImageId): Promise<void> {
    let reading = this.#sound.get(image)
    if (reading === undefined) {
      reading = verify(this.#pathOf(image), image)
      this.#sound.set(image, reading)
    }
    return reading
  }

  #answer<T>(done: Done<T>, run: () => Promise<T>): void {
    const tell = async (): Promise<void> => {
      let outcome: Outcome<T>
      try {
        outcome = ok(await run())
      } catch (error) {
        outcome = failed(fileFailure(error, this.#folder))
      }
      done(outcome)
    }
    void tell()
  }
}

let drafts = 0

async function headOf(file: FileHandle, image: ImageId): Promise<{ blocks: number; sum: number }> {
  const encoded = Buffer.alloc(LIST_HEAD_BYTES)
  const { bytesRead } = await file.read(encoded, 0, encoded.length, 0)
  const head = decodeListHead(encoded.subarray(0, bytesRead))
  if (head.image !== image) throw damaged('it is that of another image')
  return head
}

async function verify(path: string, image: ImageId): Promise<void> {
  const file = await open(path)
  try {
    const { blocks, sum } = await headOf(file, image)
    let read = 0
    await eachPiece(file, blocks, (piece) => (read = crc32(piece, read)))
    if (read !== sum) throw damaged('its checksum is another')
  } finally {
    await file.close()
  }
}

/** Head and sketch of a file that has its fingerprints, and all of it on disk. */
async function seal(path: string, image: ImageId, blocks: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    let sum = 0
    const sketching = new Sketching()
    await eachPiece(file, blocks, (piece) => {
      sum = crc32(piece, sum)
      sketching.add(piece)
    })
    const tail = encodeListTail(sketching.sketch())
    await file.write(tail, 0, tail.length, placeOf(blocks))
    const head = encodeListHead({ image, blocks, sum })
    await file.write(head, 0, head.length, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function eachPiece(file: FileHandle, blocks: number, use: (piece: Uint8Array) => void): Promise<void> {
  for (let first = 0; first < blocks; first += PIECE_BLOCKS)
    use(await readWhole(file, first, Math.min(PIECE_BLOCKS, blocks - first)))
}

async function readWhole(file: FileHandle, first: number, count: number): Promise<Uint8Array> {
  const piece = new Uint8Array(count * FINGERPRINT_BYTES)
  for (let at = 0; at < piece.length;) {
    const { bytesRead } = await file.read(piece, at, piece.length - at, placeOf(first) + at)
    if (bytesRead === 0) throw damaged('it ends early')
    at += bytesRead
  }
  return piece
}

const damaged = (why: string): GodwitError =>
  new GodwitError({ code: 'DATA_CORRUPT', what: 'a block list', why })

/**
 * Piece hashes that were made while an image was imported (storage/files/ingest.ts), so that it can be published without reading
 * it again: a file of 20 bytes for each piece, beside what is published. Of images of which a piece is a chunk; those
 * of larger ones are made when they are published.
 */
import { hash } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageId } from '../../protocols/ids.ts'
import { CHUNK_BYTES, TORRENT_PIECES_WANTED } from '../../protocols/limits.ts'
import { chunkCount, chunkLength, type Manifest } from '../../storage/images/manifest.ts'
import { pieceBytesFor, SHA1_BYTES } from '../torrent/metainfo.ts'

export type PieceDraft = {
  readonly bytes: number
  readonly onPiece: (index: number, sha1: Uint8Array) => void
  finish(manifest: Manifest): Promise<void>
}

const SUFFIX = '.pieces'
const NONE = Buffer.alloc(SHA1_BYTES)

export class PieceHashes {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Those of images that are not `held` any more go. */
  static async open(folder: string, held: readonly ImageId[]): Promise<PieceHashes> {
    await mkdir(folder, { recursive: true })
    const known = new Set(held.map((image) => image + SUFFIX))
    for (const each of await readdir(folder))
      if (each.endsWith(SUFFIX) && !known.has(each)) await rm(join(folder, each), { force: true })
    return new PieceHashes(folder)
  }

  /** What is not told to it is zeros. */
  draft(): PieceDraft {
    let pieces = Buffer.alloc(0)
    return {
      bytes: CHUNK_BYTES,
      onPiece(index, sha1) {
        if (index >= TORRENT_PIECES_WANTED) return
        const end = (index + 1) * SHA1_BYTES
        if (pieces.length < end) pieces = Buffer.concat([pieces], Math.max(end, pieces.length * 2))
        pieces.set(sha1, end - SHA1_BYTES)
      },
      finish: async (manifest) => {
        if (!isKept(manifest, pieceBytesFor(manifest.bytes))) return
        const whole = Buffer.concat([pieces], chunkCount(manifest) * SHA1_BYTES)
        for (let index = 0; index < chunkCount(manifest); index++)
          if (NONE.compare(whole, index * SHA1_BYTES, (index + 1) * SHA1_BYTES) === 0)
            whole.set(zeros(chunkLength(manifest, index)), index * SHA1_BYTES)
        await writeFile(this.#pathOf(manifest), whole)
      },
    }
  }

  /** Undefined when there are none for such pieces. */
  async of(manifest: Manifest, pieceBytes: number): Promise<Uint8Array | undefined> {
    if (!isKept(manifest, pieceBytes)) return undefined
    const found = await readFile(this.#pathOf(manifest)).catch(() => undefined)
    return found?.length === chunkCount(manifest) * SHA1_BYTES ? found : undefined
  }

  #pathOf({ image }: Manifest): string {
    return join(this.#folder, image + SUFFIX)
  }
}

const isKept = ({ chunkBytes }: Manifest, pieceBytes: number): boolean =>
  pieceBytes === CHUNK_BYTES && chunkBytes === CHUNK_BYTES

const ZERO_PIECE = hash('sha1', Buffer.alloc(CHUNK_BYTES), 'buffer')
const zeros = (length: number): Uint8Array =>
  length === CHUNK_BYTES ? ZERO_PIECE : hash('sha1', Buffer.alloc(length), 'buffer')

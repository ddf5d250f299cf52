/**
 * Chunks of a file put together from pieces of the torrent that it is in. A file may begin and end inside a piece, and a piece may
 * be smaller than a chunk, larger, or no power of two.
 *
 * State: for each chunk begun, its bytes and how many of them are here. Invariant: each piece is taken once, so a chunk is
 * whole when it has as many bytes as it is long. Bound: the chunks begun are those of the pieces that were asked for
 * (window.ts), and two more at each of their ends.
 */
import { CHUNK_BYTES } from '../../protocols/limits.ts'
import { chunkCount, chunkLength } from '../../storage/images/manifest.ts'

/** Where a file lies in its torrent. */
export type Placed = {
  /** Of the file's first byte. */
  readonly offset: number
  /** Of the file. */
  readonly bytes: number
  readonly pieceBytes: number
  /** Of the torrent. */
  readonly torrentBytes: number
}

export type Span = { readonly from: number; readonly to: number }
export type Whole = { readonly index: number; readonly content: Uint8Array }

/** The pieces that hold bytes of chunk `index`, from the first to the last. */
export function piecesOf(placed: Placed, index: number): Span {
  const start = placed.offset + index * CHUNK_BYTES
  const end = start + chunkLength(diskOf(placed), index)
  return {
    from: Math.floor(start / placed.pieceBytes),
    to: Math.floor((end - 1) / placed.pieceBytes),
  }
}

/** The chunks of which piece `piece` holds bytes; `to` is below `from` when the file has none in it. */
export function chunksOf(placed: Placed, piece: number): Span {
  const { start, end } = insideOf(placed, piece)
  if (start >= end) return { from: 0, to: -1 }
  return { from: Math.floor(start / CHUNK_BYTES), to: Math.floor((end - 1) / CHUNK_BYTES) }
}

/** What of the file lies in a piece, from the file's start. */
function insideOf(
  { offset, bytes, pieceBytes, torrentBytes }: Placed,
  piece: number,
): { start: number; end: number } {
  const start = piece * pieceBytes
  const end = Math.min(start + pieceBytes, torrentBytes)
  return { start: Math.max(0, start - offset), end: Math.min(bytes, end - offset) }
}

const diskOf = ({ bytes }: Pick<Placed, 'bytes'>): { bytes: number; chunkBytes: number } => ({
  bytes,
  chunkBytes: CHUNK_BYTES,
})
export const chunksIn = (placed: Placed): number => chunkCount(diskOf(placed))

export class Assembly {
  readonly #placed: Placed
  readonly #begun = new Map<number, { readonly content: Uint8Array; filled: number }>()

  constructor(placed: Placed) {
    this.#placed = placed
  }

  /** Bytes kept for chunks that are not whole yet. */
  get heldBytes(): number {
    return this.#begun.size * CHUNK_BYTES
  }

  /** Takes a piece whose hash was right; chunks that it makes whole come back, and are no longer kept. */
  add(piece: number, content: Uint8Array): Whole[] {
    const { offset, pieceBytes } = this.#placed
    const { start, end } = insideOf(this.#placed, piece)
    const { from, to } = chunksOf(this.#placed, piece)
    const whole: Whole[] = []
    for (let index = from; index <= to; index++) {
      const length = chunkLength(diskOf(this.#placed), index)
      const first = Math.max(start, index * CHUNK_BYTES)
      const last = Math.min(end, index * CHUNK_BYTES + length)
      const part = content.subarray(first + offset - piece * pieceBytes, last + offset - piece * pieceBytes)
      if (part.length === length) {
        whole.push({ index, content: part })
        continue
      }
      const begun = this.#begun.get(index) ?? { content: new Uint8Array(length), filled: 0 }
      begun.content.set(part, first - index * CHUNK_BYTES)
      begun.filled += part.length
      if (begun.filled === length) {
        this.#begun.delete(index)
        whole.push({ index, content: begun.content })
      } else this.#begun.set(index, begun)
    }
    return whole
  }
}

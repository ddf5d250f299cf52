/** A store as webtorrent asks for it (abstract-chunk-store), over bytes of the torrent that lie elsewhere. */
import type { Store } from '../webtorrent/client.ts'

type Pieces = {
  readonly pieceBytes: () => number
  /** A piece whose hash was right. */
  readonly put: (piece: number, content: Uint8Array) => Promise<void>
  /** Undefined when they are not here. */
  readonly read: (start: number, length: number) => Promise<Uint8Array | undefined>
}

export function openPieceStore({ pieceBytes, put, read }: Pieces): Store {
  return {
    get chunkLength() {
      return pieceBytes()
    },
    get(piece, options, done) {
      const { offset = 0, length = pieceBytes() - offset } = options ?? {}
      read(piece * pieceBytes() + offset, length).then(
        (content) => (content === undefined ? done(new Error('not here')) : done(null, content)),
        (error: unknown) => done(asError(error)),
      )
    },
    put: (piece, content, done) =>
      void put(piece, content).then(
        () => done(null),
        (error: unknown) => done(asError(error)),
      ),
    close: (done) => done(null),
    destroy: (done) => done(null),
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

/** Bytes of a file, from its chunks; undefined when one of them is not here. */
export async function readChunks(
  {
    from,
    length,
    chunkBytes,
  }: { readonly from: number; readonly length: number; readonly chunkBytes: number },
  chunk: (index: number) => Promise<Uint8Array | undefined>,
): Promise<Uint8Array | undefined> {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let at = 0; at < length;) {
    const index = Math.floor((from + at) / chunkBytes)
    const content = await chunk(index)
    const start = from + at - index * chunkBytes
    const part = content?.subarray(start, start + length - at)
    if (part === undefined || part.length === 0) return undefined
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

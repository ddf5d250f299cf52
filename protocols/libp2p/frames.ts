/**
 * Frames on a stream: four bytes of length, big-endian, then the frame. The reader copies each byte once, into the
 * frame it hands over, which is the receiver's to keep, or to give back (buffers.ts).
 */
import { lend } from '../buffers.ts'
import { FRAME_BYTES_MAX } from '../limits.ts'

export const LENGTH_BYTES = 4
/** Ids and states that requests put in front of a frame. */
const ENVELOPE_BYTES_MAX = 16
/** yamux adds this to each piece it sends; a piece is as long as the window has room. */
const MUXER_HEADER_BYTES = 12

/** One buffer for head and frame; `restBytes` of the frame follow by themselves. */
export function packFrame(frame: Uint8Array, head: Uint8Array = EMPTY, restBytes = 0): Uint8Array {
  const packed = Buffer.allocUnsafe(LENGTH_BYTES + head.length + frame.length)
  packed.writeUInt32BE(head.length + frame.length + restBytes, 0)
  packed.set(head, LENGTH_BYTES)
  packed.set(frame, LENGTH_BYTES + head.length)
  return packed
}

const EMPTY = new Uint8Array(0)

/** What a frame takes on the wire, encryption and TCP left out. */
export const wireBytes = (frameBytes: number): number => LENGTH_BYTES + MUXER_HEADER_BYTES + frameBytes

export class FrameReader {
  readonly #onFrame: (frame: Uint8Array) => void
  readonly #length = Buffer.alloc(LENGTH_BYTES)
  #lengthHave = 0
  #frame: Uint8Array | undefined
  #frameHave = 0

  constructor(onFrame: (frame: Uint8Array) => void) {
    this.#onFrame = onFrame
  }

  /** True in the middle of a frame: a stream that ends here was cut. */
  get partial(): boolean {
    return this.#lengthHave > 0
  }

  /** False when a frame says that it is longer than any may be; nothing of it is kept, and the stream is of no more use. */
  push(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#frame === undefined) {
        const piece = chunk.subarray(at, at + LENGTH_BYTES - this.#lengthHave)
        this.#length.set(piece, this.#lengthHave)
        this.#lengthHave += piece.length
        at += piece.length
        if (this.#lengthHave < LENGTH_BYTES) return true
        const length = this.#length.readUInt32BE(0)
        if (length > FRAME_BYTES_MAX + ENVELOPE_BYTES_MAX) return false
        // Not zeroed first: every byte is written before the frame is handed over.
        this.#frame = lend(length)
        this.#frameHave = 0
      }
      const piece = chunk.subarray(at, at + this.#frame.length - this.#frameHave)
      this.#frame.set(piece, this.#frameHave)
      this.#frameHave += piece.length
      at += piece.length
      if (this.#frameHave < this.#frame.length) return true
      const frame = this.#frame
      this.#frame = undefined
      this.#lengthHave = 0
      this.#onFrame(frame)
    }
    return true
  }
}

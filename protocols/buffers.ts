/**
 * Buffers for chunks on their way, used again. V8 counts their bytes, and marks its whole heap for every few dozen MiB of
 * them: without this that is a third of a downloader's CPU. Who is handed a frame may give it back, once, when
 * nothing refers to its bytes any more; who does not leaves it to the garbage collector.
 */
import { CHUNK_BYTES, CHUNK_FRAME_SLACK } from './limits.ts'

/** A frame of a chunk that does not compress, and what messages put before it. */
const BUFFER_BYTES = CHUNK_BYTES + CHUNK_FRAME_SLACK + 64
/** 8 MiB kept: what a source on a fast link is asked for at once. */
const SPARE_MAX = 32

const spare: ArrayBuffer[] = []
const lent = new WeakSet<ArrayBufferLike>()

/** Not zeroed. A buffer of its own for what would leave half of one of ours unused. */
export function lend(bytes: number): Uint8Array {
  if (bytes > BUFFER_BYTES || bytes < BUFFER_BYTES / 2)
    return new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)
  const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES).buffer
  lent.add(buffer)
  return new Uint8Array(buffer, 0, bytes)
}

/** Takes a frame, or any view into one, that was lent; takes no notice of others, nor of one given twice. */
export function giveBack({ buffer }: Uint8Array): void {
  if (!lent.delete(buffer) || spare.length >= SPARE_MAX) return
  spare.push(buffer as ArrayBuffer)
}

/**
 * Gives memory back at once that nothing refers to any more, of whatever size: as above, but for buffers that a library has
 * made. What is no larger than Node's pool may be the pool.
 */
export function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0)
}

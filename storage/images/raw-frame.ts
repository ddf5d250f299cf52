/**
 * Frames of what does not compress: zstd keeps such bytes in raw blocks (RFC 8878, 3.1.1), so the content lies in the
 * frame as it is and needs no decoder, no second buffer and no thread.
 */
const MAGIC = 0x28b52ffd
const BLOCK_BYTES_MAX = 128 * 1024
/** Of a frame's first byte: how the content's size is written, one segment, the reserved bit, checksum, dictionary. */
const SIZE_FORM_SHIFT = 6
const SINGLE_SEGMENT = 0x20
const NOT_OURS = 0x0f
/** 128 MiB: what zstd takes unless it is told to take more. */
const WINDOW_LOG_MAX = 27

/**
 * The content, in parts that are views into `frame`, when all its blocks are raw and make `chunkBytes`. Undefined for every
 * other frame: zstd says what it is. Never more than zstd would take.
 */
export function rawBlocks(frame: Uint8Array, chunkBytes: number): Uint8Array[] | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
  const head = headOf(bytes)
  if (head?.contentBytes !== chunkBytes) return undefined
  const blockMax = Math.min(BLOCK_BYTES_MAX, head.windowBytes)
  const blocks: Uint8Array[] = []
  let content = 0
  for (let at = head.length; at + 3 <= bytes.length;) {
    const block = bytes.readUIntLE(at, 3)
    const [isLast, type, length] = [(block & 1) === 1, (block >> 1) & 3, block >> 3]
    at += 3
    if (type !== 0 || length > blockMax || at + length > bytes.length) return undefined
    blocks.push(frame.subarray(at, at + length))
    at += length
    content += length
    if (isLast) return at === bytes.length && content === chunkBytes ? blocks : undefined
  }
  return undefined
}

type Head = { readonly length: number; readonly windowBytes: number; readonly contentBytes: number }

/** The forms that say the content's size in one, two or four bytes. */
function headOf(bytes: Buffer): Head | undefined {
  if (bytes.length < 10 || bytes.readUInt32BE(0) !== MAGIC) return undefined
  const form = bytes.readUInt8(4)
  if ((form & NOT_OURS) !== 0) return undefined
  const isSingle = (form & SINGLE_SEGMENT) !== 0
  const sizeAt = isSingle ? 5 : 6
  const [sizeBytes, add] = sizeForm(form >> SIZE_FORM_SHIFT, isSingle)
  if (sizeBytes === 0) return undefined
  const contentBytes = bytes.readUIntLE(sizeAt, sizeBytes) + add
  const length = sizeAt + sizeBytes
  if (isSingle) return { length, windowBytes: contentBytes, contentBytes }
  const window = bytes.readUInt8(5)
  const log = 10 + (window >> 3)
  if (log >= WINDOW_LOG_MAX) return undefined
  return { length, windowBytes: 2 ** log * (1 + (window & 7) / 8), contentBytes }
}

/** Bytes of the content's size, and what is added to it. */
function sizeForm(form: number, isSingle: boolean): readonly [bytes: number, add: number] {
  if (form === 0) return [isSingle ? 1 : 0, 0]
  if (form === 1) return [2, 256]
  return form === 2 ? [4, 0] : [0, 0]
}

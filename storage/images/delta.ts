/**
 * What crosses for a batch of chunks that are held in part: the blocks that are lacking, one after the other, as one zstd
 * frame with a checksum, against a dictionary that both ends hold. A batch is larger than a chunk, because zstd finds more
 * in a window of megabytes, and the files of one package lie in many chunks.
 *
 * decode(encode(x)) = x with the same dictionary. A frame that was cut or changed, or that unpacks to another size, is
 * refused; with another dictionary, too. What gets past all that is stopped by the chunk's id.
 */
import assert from 'node:assert/strict'
import { constants, zstdCompressSync, zstdDecompressSync, type ZstdOptions } from 'node:zlib'
import { GodwitError } from '../../protocols/errors.ts'
import { BATCH_BYTES_MAX, DELTA_WINDOW_LOG_MAX, DICTIONARY_BYTES_MAX } from '../../protocols/limits.ts'

/**
 * On the calling thread: 10 ms a MiB at level 3, 30 to 40 at level 9.
 *
 * @param dictionary Contents of chunks; none for no dictionary.
 */
export function encodeDelta(
  literals: readonly Uint8Array[],
  level: number,
  dictionary: readonly Uint8Array[],
): Uint8Array {
  const content = Buffer.concat(literals)
  const before = joined(dictionary)
  const windowLog = Math.ceil(Math.log2(Math.max(1024, content.length + before.length)))
  const options: ZstdOptions & { readonly pledgedSrcSize: number } = {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_windowLog]: Math.min(DELTA_WINDOW_LOG_MAX, windowLog),
      [constants.ZSTD_c_checksumFlag]: 1,
    },
    pledgedSrcSize: content.length,
    ...(dictionary.length === 0 ? {} : { dictionary: before }),
  }
  return zstdCompressSync(content, options)
}

/** @throws GodwitError FRAME_INVALID, and nothing else, whatever the frame is */
export function decodeDelta(frame: Uint8Array, bytes: number, dictionary: readonly Uint8Array[]): Uint8Array {
  if (bytes > BATCH_BYTES_MAX) return refuseDelta()
  let content: Uint8Array
  try {
    content = zstdDecompressSync(frame, decoding(bytes, dictionary))
  } catch {
    return refuseDelta()
  }
  return content.length === bytes ? content : refuseDelta()
}

/** How zlib is to read a delta of `bytes`, at once or as it comes: one byte more shows that it is none of ours. */
export const decoding = (bytes: number, dictionary: readonly Uint8Array[]): ZstdOptions => ({
  // A length of zero is no bound to zlib.
  maxOutputLength: bytes + 1,
  params: { [constants.ZSTD_d_windowLogMax]: DELTA_WINDOW_LOG_MAX },
  ...(dictionary.length === 0 ? {} : { dictionary: joined(dictionary) }),
})

/** Begins with a zero: what began with the magic number of zstd's own dictionaries would be read as one. */
function joined(dictionary: readonly Uint8Array[]): Uint8Array {
  const all = Buffer.concat([Buffer.of(0), ...dictionary])
  assert(all.length <= DICTIONARY_BYTES_MAX + 1)
  return all
}

export const refuseDelta = (): never => {
  throw new GodwitError({
    code: 'FRAME_INVALID',
    at: 'swarm.delta',
    expected: 'the blocks that were asked for',
  })
}

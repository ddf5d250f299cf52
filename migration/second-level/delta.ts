/**
 * What crosses for a batch of chunks that are held in part: the blocks that are lacking, one after the other, as one zstd
 * frame with a checksum, against a dictionary that both ends hold. A batch is larger than a chunk, because zstd finds more
 * in a window of megabytes, and the files of one package lie in many chunks.
 *
 *   source      literalsOf(each chunk) -> encodeDelta
 *   downloader  decodeDelta -> assemble(each chunk) -> is its SHA-256 the chunk's id? if not: by the first level
 *
 * decode(encode(x)) = x with the same dictionary. A frame that was cut or changed, or that unpacks to another size, is
 * refused; with another dictionary, too. What gets past all that is stopped by the chunk's id.
 */
import assert from 'node:assert/strict'
import { constants, zstdCompressSync, zstdDecompressSync, type ZstdOptions } from 'node:zlib'
import { GodwitError } from '../../protocols/errors.ts'
import { BATCH_BYTES_MAX, DELTA_WINDOW_LOG_MAX, DICTIONARY_BYTES_MAX } from '../../protocols/limits.ts'
import { isSet } from '../../protocols/swarm/have-map.ts'
import { BLOCK_BYTES, blockCount } from '../../storage/images/fingerprint.ts'
import type { Copy, Plan } from './wanted.ts'

/** The blocks of a chunk that are lacking, as views, runs in one. */
export function literalsOf(content: Uint8Array, lacking: Uint8Array): Uint8Array[] {
  return runsOf(lacking, blockCount(content.length)).map(({ from, until }) =>
    content.subarray(from * BLOCK_BYTES, until * BLOCK_BYTES),
  )
}

/** Bytes of the blocks that are lacking of a chunk of `chunkBytes`. */
export const literalBytes = (lacking: Uint8Array, chunkBytes: number): number =>
  runsOf(lacking, blockCount(chunkBytes)).reduce(
    (sum, { from, until }) => sum + Math.min(until * BLOCK_BYTES, chunkBytes) - from * BLOCK_BYTES,
    0,
  )

type Run = { readonly from: number; readonly until: number }

function runsOf(lacking: Uint8Array, blocks: number): Run[] {
  const runs: Run[] = []
  for (let at = 0; at < blocks; at++) {
    if (!isSet(lacking, at)) continue
    const from = at
    while (at + 1 < blocks && isSet(lacking, at + 1)) at++
    runs.push({ from, until: at + 1 })
  }
  return runs
}

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
  const joined = join(dictionary)
  const windowLog = Math.ceil(Math.log2(Math.max(1024, content.length + joined.length)))
  const options: ZstdOptions & { readonly pledgedSrcSize: number } = {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_windowLog]: Math.min(DELTA_WINDOW_LOG_MAX, windowLog),
      [constants.ZSTD_c_checksumFlag]: 1,
    },
    pledgedSrcSize: content.length,
    ...(dictionary.length === 0 ? {} : { dictionary: joined }),
  }
  return zstdCompressSync(content, options)
}

/** @throws GodwitError FRAME_INVALID, and nothing else, whatever the frame is */
export function decodeDelta(frame: Uint8Array, bytes: number, dictionary: readonly Uint8Array[]): Uint8Array {
  if (bytes > BATCH_BYTES_MAX) return refuse()
  let content: Uint8Array
  try {
    content = zstdDecompressSync(frame, {
      // A length of zero is no bound to zlib.
      maxOutputLength: bytes + 1,
      params: { [constants.ZSTD_d_windowLogMax]: DELTA_WINDOW_LOG_MAX },
      ...(dictionary.length === 0 ? {} : { dictionary: join(dictionary) }),
    })
  } catch {
    return refuse()
  }
  return content.length === bytes ? content : refuse()
}

/** Begins with a zero: what began with the magic number of zstd's own dictionaries would be read as one. */
function join(dictionary: readonly Uint8Array[]): Uint8Array {
  const joined = Buffer.concat([Buffer.of(0), ...dictionary])
  assert(joined.length <= DICTIONARY_BYTES_MAX + 1)
  return joined
}

const refuse = (): never => {
  throw new GodwitError({
    code: 'FRAME_INVALID',
    at: 'swarm.delta',
    expected: 'the blocks that were asked for',
  })
}

/**
 * A chunk from its plan, from the blocks of each of its copies as `read` gives them, and from its literals.
 *
 * @returns undefined when they do not fit: what `read` gave is not as long as the copy, or the literals are not.
 */
export function assemble(
  chunkBytes: number,
  plan: Plan,
  read: (copy: Copy) => Uint8Array,
  literals: Uint8Array,
): Uint8Array | undefined {
  const content = new Uint8Array(chunkBytes)
  for (const copy of plan.copies) {
    const from = copy.at * BLOCK_BYTES
    const length = Math.min(copy.count * BLOCK_BYTES, chunkBytes - from)
    const blocks = read(copy)
    if (blocks.length !== length) return undefined
    content.set(blocks, from)
  }
  let taken = 0
  for (const { from, until } of runsOf(plan.lacking, blockCount(chunkBytes))) {
    const start = from * BLOCK_BYTES
    const length = Math.min(until * BLOCK_BYTES, chunkBytes) - start
    if (taken + length > literals.length) return undefined
    content.set(literals.subarray(taken, taken + length), start)
    taken += length
  }
  return taken === literals.length ? content : undefined
}

/**
 * What a downloader and a source say to each other about chunks that nobody near holds whole (docs/decisions/0013), on the
 * channel of the chunks and about the same image:
 *
 *   downloader                                        source
 *   sketch-of                              ────────▶
 *                                          ◀────────  sketch {data}                    which bases are near
 *   prints-of {indexes} …                  ────────▶
 *                                          ◀────────  prints {indexes, data}           fingerprints of their blocks
 *   blocks-of {batch, indexes, lacking, …} ────────▶
 *                                          ◀────────  delta {batch, at, total, data} … or chunks as they lie
 *
 * A source that cannot, or has too much in hand, answers with `plain`: the chunks are then asked for whole.
 *
 * A downloader says in its `hello` that it speaks of blocks; a source that does too answers `blocks` before all else. To one
 * that does not, nothing of this is said: older peers take what they do not know for a bad frame.
 */
import {
  BATCH_BYTES_MAX,
  BATCH_CHUNKS_MAX,
  CHUNK_FRAME_SLACK,
  DICTIONARY_CHUNKS_MAX,
  IMAGE_CHUNKS_MAX,
  PRINTS_BYTES_MAX,
  PRINTS_CHUNKS_MAX,
  SKETCH_FINGERPRINTS_MAX,
  SWARM_PART_BYTES,
} from '../limits.ts'
import { boolean, bytes, integer, list, type Of, record } from '../shape.ts'

const index = integer(0, IMAGE_CHUNKS_MAX - 1)
const batch = integer(0, 2 ** 32 - 1)
/** Bytes of zstd for a batch that does not compress. */
const DELTA_BYTES_MAX = BATCH_BYTES_MAX + BATCH_BYTES_MAX / 256 + CHUNK_FRAME_SLACK

export const BLOCK_SHAPES = {
  /** Source → downloader: it speaks of blocks, too. */
  blocks: record({}),
  /** Downloader → source: a sketch of the image, to find bases with. */
  'sketch-of': record({}),
  /** Source → downloader: storage/images/sketch.ts; empty when it has none. */
  sketch: record({ data: bytes(1 + SKETCH_FINGERPRINTS_MAX * 6) }),
  /** Downloader → source: the fingerprints of the blocks of these chunks. */
  'prints-of': record({ indexes: list(index, PRINTS_CHUNKS_MAX) }),
  /** Source → downloader: 6 bytes for each block of each chunk, in order. */
  prints: record({ indexes: list(index, PRINTS_CHUNKS_MAX), data: bytes(PRINTS_BYTES_MAX) }),
  /**
   * Downloader → source: these blocks of these chunks: one bit for each block, whole bytes for each chunk. `dictionary`:
   * ids of chunks that the downloader holds, 32 bytes each, whose contents one after the other are zstd's dictionary.
   */
  'blocks-of': record({
    batch,
    indexes: list(index, BATCH_CHUNKS_MAX),
    lacking: bytes(BATCH_CHUNKS_MAX * 128),
    dictionary: bytes(DICTIONARY_CHUNKS_MAX * 32),
    level: integer(1, 19),
  }),
  /** Source → downloader: bytes [at, at + data) of the frame (migration/second-level/delta.ts); whether against `dictionary`. */
  delta: record({
    batch,
    withDictionary: boolean,
    /** What the stored frames of these chunks take: what the downloader's measure of its gain rests on. */
    frameBytes: integer(0, 2 ** 32),
    total: integer(1, DELTA_BYTES_MAX),
    at: integer(0, DELTA_BYTES_MAX),
    data: bytes(SWARM_PART_BYTES, 1),
  }),
  /** Source → downloader: ask for these chunks whole. */
  plain: record({ indexes: list(index, PRINTS_CHUNKS_MAX) }),
}

type BlockMessage = {
  [K in keyof typeof BLOCK_SHAPES]: { readonly kind: K } & Of<(typeof BLOCK_SHAPES)[K]>
}[keyof typeof BLOCK_SHAPES]
/** What a downloader says, and what a source answers. */
export type BlockRequest = Extract<BlockMessage, { kind: 'sketch-of' | 'prints-of' | 'blocks-of' }>
export type BlockAnswer = Exclude<BlockMessage, BlockRequest>

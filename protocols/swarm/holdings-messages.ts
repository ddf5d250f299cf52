/**
 * What a peer holds, asked without a channel: one frame there, one back. Planning adds up what a fetch would cost, people
 * ask where an image is, and a downloader finds peers that never saw its image but hold chunks of it from other images.
 *
 *   image {image, from, count, need?}  ────────▶
 *                                      ◀────────  image {total, count, …}   of the chunks of that section, or unknown {}
 *   chunks {ids}                       ────────▶
 *                                      ◀────────  chunks {data, …}          of a sample of what is missing
 *
 * A digest of what is missing is a sample of its ids: they are hashes, so any of them stand for all. Who holds a hundredth of
 * what is missing is hit by 256 of them with a chance of 92 %, who holds a fiftieth with 99.4 %, and up to 256 chunks are named
 * exactly; a list of everything would be up to 2 MiB for each peer that is asked. Nothing rests on an answer: chunks are
 * asked for and verified as ever.
 *
 * A question costs its answerer look-ups in the index and no frame; how many is in the question (HOLDINGS_CHUNKS_MAX), and how
 * often it is answered is bounded by HOLDINGS_CHUNKS_PER_SECOND (migration/holdings/allowance.ts).
 */
import { codec } from '../codec.ts'
import { imageId } from '../ids.ts'
import {
  CHUNK_BYTES_MAX,
  CHUNK_FRAME_SLACK,
  HOLDINGS_CHUNKS_MAX,
  HOLDINGS_SAMPLE_MAX,
  IMAGE_BYTES_MAX,
  IMAGE_CHUNKS_MAX,
} from '../limits.ts'
import { bytes, integer, type Of, oneOf, optional, record, tagged } from '../shape.ts'

export const PROTOCOL = '/godwit/holdings/1'

const HASH_BYTES = 32
const form = oneOf('bits', 'runs')
const bits = bytes(HOLDINGS_CHUNKS_MAX / 8)
const count = integer(0, HOLDINGS_CHUNKS_MAX)
/** Frames of as many chunks as one question may name. */
const frameBytes = integer(0, HOLDINGS_CHUNKS_MAX * (CHUNK_BYTES_MAX + CHUNK_FRAME_SLACK))

const ask = tagged({
  /** The chunks [from, from + count) of an image, or those of them that `need` marks (have-map.ts); past its end there are none. */
  image: record({
    image: imageId,
    from: integer(0, IMAGE_CHUNKS_MAX - 1),
    count: integer(1, HOLDINGS_CHUNKS_MAX),
    need: optional(record({ form, data: bits })),
  }),
  /** These chunks, whatever image they are of: their ids, 32 bytes each. */
  chunks: record({ ids: bytes(HOLDINGS_SAMPLE_MAX * HASH_BYTES, HASH_BYTES) }),
})

const answer = tagged({
  /** The manifest is not held: ask for a sample of chunks. */
  unknown: record({}),
  image: record({
    /** Chunks of the image, and its size in bytes. */
    total: integer(1, IMAGE_CHUNKS_MAX),
    bytes: integer(1, IMAGE_BYTES_MAX),
    /** Chunks of the section that are there, asked for and not zeros; how many of them are held, and their content. */
    content: count,
    held: count,
    heldBytes: integer(0, HOLDINGS_CHUNKS_MAX * CHUNK_BYTES_MAX),
    /** What those take as stored frames, which is how they go out. */
    frameBytes,
    /** Which are held: the section without what lies past the image's end. */
    count,
    form,
    data: bits,
  }),
  chunks: record({
    /** One bit for each id, in their order. */
    data: bytes(HOLDINGS_SAMPLE_MAX / 8),
    frameBytes,
  }),
})

export type HoldingsAsk = Of<typeof ask>
export type HoldingsAnswer = Of<typeof answer>

const FRAME_MAX = 16 * 1024
export const holdingsAsk = codec('holdings-ask', ask, FRAME_MAX)
export const holdingsAnswer = codec('holdings-answer', answer, FRAME_MAX)

/**
 * How peers outside a group follow its committed log (docs/decisions/0010): a follower asks for what comes after its
 * position, the source answers at once when it has it, or holds the ask until it has.
 *
 * Asks that are held (long polls) rather than a stream of pushes: an ask names everything that its answer depends on, so a
 * source keeps nothing about a follower between two of them, and going on at another source is the same as going on.
 * One ask is under way per follower and group; that bounds pages, bytes and parts without any acknowledgement. A
 * round trip per page is the price, and a page holds 256 KiB.
 */
import { codec } from '../codec.ts'
import { peerId } from '../ids.ts'
import {
  APPEND_ENTRIES_MAX,
  FOLLOW_HOLD_MS,
  FOLLOW_HOPS_MAX,
  MESSAGE_BYTES_MAX,
  SNAPSHOT_BYTES_MAX,
  SNAPSHOT_PART_BYTES,
} from '../limits.ts'
import { configuration } from '../raft/configuration.ts'
import { entry } from '../raft/messages.ts'
import { bytes, integer, list, type Of, oneOf, optional, record, type Shape, tagged, text } from '../shape.ts'

export const PROTOCOL = '/godwit/follow/1'

const counter = integer(0, 2 ** 52)
const checksum = integer(0, 2 ** 32 - 1)
const leader: Shape<string> = (value, at) => (value === '' ? '' : peerId(value, at))

const askShape = record({
  cluster: text(64),
  group: text(96),
  /** The newest entry that the follower holds; index 0 when it holds none. */
  generation: counter,
  index: counter,
  /** The snapshot that it has the first `offset` bytes of: a source that has the same goes on there. */
  snapshot: optional(
    record({ generation: counter, index: counter, checksum, offset: integer(0, SNAPSHOT_BYTES_MAX) }),
  ),
  waitMs: integer(0, FOLLOW_HOLD_MS),
})
export type Ask = Of<typeof askShape>
export const followAsk = codec('follow ask', askShape)

/** Where the answering peer stands itself. */
const standing = {
  /** The newest entry it holds. */
  generation: counter,
  index: counter,
  term: counter,
  leader,
  /** How long ago a member that hears the leader held nothing newer. */
  ageMs: counter,
  /** The peers that its news come through, its own source first; empty for a member. */
  path: list(peerId, FOLLOW_HOPS_MAX),
}
const standingShape = record(standing)
export type Standing = Of<typeof standingShape>

const answerShape = tagged({
  /** Committed entries; the first has the index after the one in the ask. None: all are there, and the wait is over. */
  entries: record({ ...standing, entries: list(entry, APPEND_ENTRIES_MAX) }),
  /** Part of a snapshot of `generation`, from the byte asked for or from the first; `checksum` is the CRC-32 of all of it. */
  part: record({
    ...standing,
    snapshot: record({ index: counter, term: counter, configuration, checksum }),
    offset: integer(0, SNAPSHOT_BYTES_MAX),
    total: integer(0, SNAPSHOT_BYTES_MAX),
    data: bytes(SNAPSHOT_PART_BYTES),
  }),
  /**
   * Ask somebody else. `behind`: the asker holds more; `adrift`: nothing newer here, and nobody who would know;
   * `loop`: the news here come through the asker; `busy`: too many ask; `stranger`: another cluster or group.
   */
  nothing: record({ ...standing, why: oneOf('behind', 'adrift', 'loop', 'busy', 'stranger') }),
})
export type Answer = Of<typeof answerShape>
export type AnswerOf<K extends Answer['kind']> = Extract<Answer, { kind: K }>
export const followAnswer = codec('follow answer', answerShape, MESSAGE_BYTES_MAX)

/** The newest committed entry that somebody holds. Generations come first: a later one replaces all of an earlier. */
export type Position = { readonly generation: number; readonly index: number }

export const compare = (a: Position, b: Position): number => a.generation - b.generation || a.index - b.index

/**
 * What is done with the log of a group when it is damaged. Pure.
 *
 *   found whole ───────────────────────────────────────────────────────────────▶ goes on
 *   damaged ─▶ put aside ─┬─ no copy ──▶ new member, empty: never votes or campaigns until a leader has brought it in
 *                         └─ a copy ─┬─ nothing is missing behind it ──────────▶ the same member, rebuilt
 *                                    └─ entries are missing: its host may be able to say what they did (node/opening.ts)
 *
 * **The copy** is a second snapshot of a group that this peer decides alone, kept apart from the log: a member of
 * several needs none, because the others hold what it held. It says that nobody else ever counted on this log, so:
 *
 *   - it is written only while this peer is the only voter and every change of configuration in the log is applied;
 *   - it is dropped in the batch that writes any change of configuration, or another peer's snapshot.
 *
 * Batches reach the disk in order, so a copy that is there is not older than the newest change. Without one a damaged
 * log is taken for one of several, which is safe either way: an empty new member promises nothing.
 *
 * **Nothing is missing** when the entries behind the copy are whole, in order, and end where the log's last batch says.
 * If that record is the damaged one, they end where they end: for more to be lost, two records had to be damaged.
 *
 * **Put aside**: every record as it was found, under `quarantine/`, with the reason; the newest of a group replaces the one
 * before. Nothing reads it again but people and `raft recover`.
 */
import { codec } from '../protocols/codec.ts'
import { GodwitError } from '../protocols/errors.ts'
import { CONFIGURATION_BYTES_MAX, SNAPSHOT_BYTES_MAX } from '../protocols/limits.ts'
import { configuration } from '../protocols/raft/configuration.ts'
import { memberId } from '../protocols/raft/member.ts'
import type { Entry, RaftEffect, Recovered, Snapshot } from '../protocols/raft/types.ts'
import { bytes, integer, type Of, record, text } from '../protocols/shape.ts'
import { key, pastPrefix } from './keyspace.ts'
import {
  beginOps,
  entriesOf,
  LOG_SPACES,
  type LogOwner,
  put,
  readAt,
  readEntry,
  type Recoverable,
  recoverState,
  recoverTail,
} from './raft-log.ts'
import type { Op } from './store.ts'

const counter = integer(0, 2 ** 52)

const copyShape = record({
  member: memberId,
  generation: counter,
  index: counter,
  term: counter,
  configuration,
  data: bytes(SNAPSHOT_BYTES_MAX),
})
const copyRecord = codec('raft copy', copyShape, SNAPSHOT_BYTES_MAX + CONFIGURATION_BYTES_MAX + 1_024)

/** Why a log was put aside. */
const reasonShape = record({ atMs: counter, why: text(500), member: text(100, 0) })
export type Reason = Of<typeof reasonShape>
const reasonRecord = codec('quarantine', reasonShape)

export const copyOp = (group: string, owner: LogOwner, snapshot: Snapshot): Op =>
  put(key('raftCopy', group), copyRecord, { ...owner, ...snapshot })

/** Whether a write takes away what the copy says; then `dropCopyOp` goes into the same batch. */
export const endsCopy = ({ entries, dropFrom, snapshot }: Extract<RaftEffect, { kind: 'store' }>): boolean =>
  entries.some(({ kind }) => kind === 'configuration') || (snapshot !== undefined && dropFrom === 0)

export const dropCopyOp = (group: string): Op => ({ kind: 'del', key: key('raftCopy', group) })

export type Remains = {
  readonly owner: LogOwner
  readonly snapshot: Snapshot
  /** Those behind the copy, up to the first that is damaged or missing. */
  readonly entries: readonly Entry[]
  /** Nothing is missing. */
  readonly isWhole: boolean
  /** No term that the log can have had is higher. */
  readonly term: number
  /** No index that the log can have had is higher, as far as any record says. */
  readonly lastIndex: number
}

/** What a damaged log leaves of a group that this peer decided alone; undefined when it was not, or nothing says so. */
export function remainsOf(store: Recoverable, group: string): Remains | undefined {
  const copy = whole(() => readAt(store, group, key('raftCopy', group), copyRecord))
  if (copy === undefined) return undefined
  const { member, generation, ...snapshot } = copy
  const { entries, isBroken } = entriesBehind(store, group, copy.index)
  if (entries.some(({ kind }) => kind === 'configuration')) return undefined
  const end = entries.at(-1) ?? copy
  const [tail, state] = [whole(() => recoverTail(store, group)), whole(() => recoverState(store, group))]
  const reaches = (index: number): boolean => index <= end.index
  return {
    owner: { member, generation },
    snapshot,
    entries,
    isWhole: !isBroken && reaches(tail?.index ?? 0) && reaches(state?.commit ?? 0),
    // A vote is written before an entry of its term, so without the record of the vote it may be one ahead.
    term: Math.max(state?.term ?? end.term + 1, tail?.term ?? 0, end.term),
    lastIndex: Math.max(end.index, tail?.index ?? 0, state?.commit ?? 0),
  }
}

function entriesBehind(
  store: Recoverable,
  group: string,
  index: number,
): { entries: Entry[]; isBroken: boolean } {
  const entries: Entry[] = []
  for (const pair of entriesOf(store, group)) {
    if (pair[0] <= key('raftEntry', group, index)) continue
    const entry = whole(() => readEntry(group, pair))
    if (entry?.index !== index + 1 + entries.length) return { entries, isBroken: true }
    entries.push(entry)
  }
  return { entries, isBroken: false }
}

/** Undefined for what is damaged. */
function whole<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof GodwitError && error.failure.code === 'DATA_CORRUPT') return undefined
    throw error
  }
}

const asideOf = (group: string): string => key('quarantine', group, '')
const reasonKey = (group: string): string => key('quarantine', group, 'why')

/** Moves all records of the group's log under `quarantine/`, the copy with them unless it is `kept`. */
export function asideOps(
  store: Recoverable,
  group: string,
  reason: Reason,
  { keepCopy = false }: { keepCopy?: boolean } = {},
): Op[] {
  const found = LOG_SPACES.flatMap((space) => {
    if (space === 'raftEntry') return entriesOf(store, group)
    const at = key(space, group)
    return store.recovered(at).filter(([each]) => each === at)
  })
  const ops: Op[] = [
    { kind: 'clear', gte: asideOf(group), lt: pastPrefix(asideOf(group)) },
    put(reasonKey(group), reasonRecord, reason),
  ]
  for (const [at, value] of found) {
    ops.push({ kind: 'put', key: asideOf(group) + at, value })
    if (at !== key('raftCopy', group) || !keepCopy) ops.push({ kind: 'del', key: at })
  }
  return ops
}

/** The same for a log that this life has written to: `held` is what it holds, all records of `group` go. */
export function asideNowOps(group: string, reason: Reason, owner: LogOwner, held: Recovered): Op[] {
  const kept = beginOps(group, owner, held).map((op) =>
    op.kind === 'put' ? { ...op, key: asideOf(group) + op.key } : op,
  )
  return [
    { kind: 'clear', gte: asideOf(group), lt: pastPrefix(asideOf(group)) },
    put(reasonKey(group), reasonRecord, reason),
    ...kept,
    ...clearOps(group),
  ]
}

/** Takes all records of the group's log away, for one that nothing is lost with. */
export const clearOps = (group: string): Op[] =>
  LOG_SPACES.map((space): Op => {
    if (space !== 'raftEntry') return { kind: 'del', key: key(space, group) }
    return { kind: 'clear', gte: key(space, group, 0), lt: pastPrefix(key(space, group, '')) }
  })

/** The records of the newest log of the group that was put aside, where they were: for `recover` and `remainsOf`. */
export const asideView = (store: Recoverable, group: string): Recoverable => ({
  recovered: (prefix) =>
    store
      .recovered(asideOf(group) + prefix)
      .map(([at, value]) => [at.slice(asideOf(group).length), value] as const),
})

/** Why the newest log of the group that was put aside was; undefined when none was. */
export function recoverReason(store: Recoverable, group: string): Reason | undefined {
  return whole(() => readAt(store, group, reasonKey(group), reasonRecord))
}

/**
 * The answering half of following: one group's log, given out from any peer that holds it. Pure.
 *
 *   ask ──newer than the asker's──▶ a page of entries, or a part of the snapshot when those are compacted
 *    └──nothing newer──▶ held ──something applied──▶ a page     ──the wait is over──▶ no entries: all is there
 *                         └──────this peer has lost the group, or follows the asker──▶ nothing, ask elsewhere
 *
 * Only what is committed and applied here is given, so nothing is ever taken back. The log's base is never past the
 * snapshot: who has installed the snapshot finds the entry after it, or is given a newer snapshot.
 * Bounds: one ask per follower, FOLLOWERS_MAX asks, and FOLLOW_IN_FLIGHT_BYTES_MAX of answers for which no next ask has
 * come yet; past that, catching up waits its turn.
 */
import { crc32 } from 'node:zlib'
import type { PeerId } from '../ids.ts'
import {
  APPEND_BYTES_MAX,
  APPEND_ENTRIES_MAX,
  FOLLOW_ADRIFT_MS,
  FOLLOW_FLIGHT_MS,
  FOLLOW_HOLD_MS,
  FOLLOW_HOPS_MAX,
  FOLLOW_IN_FLIGHT_BYTES_MAX,
  FOLLOW_SNAPSHOTS_KEPT,
  FOLLOWERS_MAX,
  SNAPSHOT_PART_BYTES,
} from '../limits.ts'
import type { Log } from '../raft/log.ts'
import type { Entry, Snapshot } from '../raft/types.ts'
import type { Answer, Ask, AnswerOf, Standing } from './messages.ts'

/** What this peer holds of the group at the moment; a look at it, not a copy. */
export type View = {
  readonly generation: number
  readonly log: Pick<Log, 'base' | 'entries' | 'applied'>
  readonly snapshot: Snapshot
  readonly standing: Omit<Standing, 'generation' | 'index'>
}

type Waiting = { readonly from: PeerId; readonly ask: Ask; readonly untilMs: number }
type Offered = {
  readonly generation: number
  readonly snapshot: Snapshot
  readonly checksum: number
  untilMs: number
}

export type Source = {
  readonly cluster: string
  readonly group: string
  readonly partBytes: number
  /** By token, the longest waiting first. */
  readonly waiting: Map<number, Waiting>
  /** Answers on their way, until the same peer asks again. */
  readonly flight: Map<PeerId, { readonly bytes: number; readonly untilMs: number }>
  /** Snapshots that somebody is in the middle of. */
  offered: Offered[]
}

export type Event =
  /** `token` comes back with the answer. */
  | { readonly kind: 'ask'; readonly token: number; readonly from: PeerId; readonly ask: Ask }
  /** Something was applied, or where this peer stands has changed, or time went by. */
  | { readonly kind: 'look' }

export type Effect = { readonly kind: 'answer'; readonly token: number; readonly answer: Answer }

/** `partBytes`: SNAPSHOT_PART_BYTES, less in simulations that want many parts. */
export function newSource(cluster: string, group: string, partBytes = SNAPSHOT_PART_BYTES): Source {
  return { cluster, group, partBytes, waiting: new Map(), flight: new Map(), offered: [] }
}

/** Advances by one event; returns the answers that are due. */
export function step(source: Source, event: Event, view: View, nowMs: number): Effect[] {
  const out: Effect[] = []
  if (event.kind === 'ask') take(source, event, view, nowMs, out)
  forget(source, nowMs)
  // The longest waiting goes first; with no more room, only answers that take none.
  for (const [token, waiting] of source.waiting) {
    const answer = answerTo(source, waiting, view, nowMs)
    if (answer === undefined) continue
    source.waiting.delete(token)
    const bytes = bytesOf(answer)
    if (bytes > 0) source.flight.set(waiting.from, { bytes, untilMs: nowMs + FOLLOW_FLIGHT_MS })
    out.push({ kind: 'answer', token, answer })
  }
  return out
}

/** When something will change by time alone; Infinity for never. */
export function dueMs({ waiting, flight, offered }: Source): number {
  const flights = waiting.size > 0 ? flight.values() : []
  const times = [...waiting.values(), ...flights, ...offered].map(({ untilMs }) => untilMs)
  return Math.min(Infinity, ...times)
}

function take(
  source: Source,
  event: Event & { kind: 'ask' },
  view: View,
  nowMs: number,
  out: Effect[],
): void {
  const { token, from, ask } = event
  const refuse = (refused: number): void => {
    out.push({ kind: 'answer', token: refused, answer: nothing(view, 'busy') })
  }
  source.flight.delete(from)
  // Its earlier ask was given up, or it would not ask again.
  for (const [earlier, waiting] of source.waiting) {
    if (waiting.from !== from) continue
    source.waiting.delete(earlier)
    refuse(earlier)
  }
  if (source.waiting.size >= FOLLOWERS_MAX) return refuse(token)
  source.waiting.set(token, { from, ask, untilMs: nowMs + Math.min(ask.waitMs, FOLLOW_HOLD_MS) })
}

function forget(source: Source, nowMs: number): void {
  for (const [peer, { untilMs }] of source.flight) if (untilMs <= nowMs) source.flight.delete(peer)
  source.offered = source.offered.filter(({ untilMs }) => untilMs > nowMs).slice(-FOLLOW_SNAPSHOTS_KEPT - 1)
}

/** Undefined: it waits. */
function answerTo(source: Source, waiting: Waiting, view: View, nowMs: number): Answer | undefined {
  const { from, ask, untilMs } = waiting
  const { generation, log, standing } = view
  if (ask.cluster !== source.cluster || ask.group !== source.group) return nothing(view, 'stranger')
  if (standing.path.includes(from)) return nothing(view, 'loop')
  const older = ask.generation < generation
  if (ask.generation > generation || (!older && ask.index > log.applied)) return nothing(view, 'behind')
  const compacted = older || ask.index < log.base.index
  if (compacted || ask.index < log.applied) {
    if (!hasRoom(source)) return nowMs < untilMs ? undefined : nothing(view, 'busy')
    if (!compacted) return { kind: 'entries', ...told(view), entries: page(log, ask.index) }
    return view.snapshot.index === 0 ? nothing(view, 'behind') : part(source, ask, view, nowMs)
  }
  if (isAdrift(standing)) return nothing(view, 'adrift')
  return nowMs < untilMs ? undefined : { kind: 'entries', ...told(view), entries: [] }
}

/** With nothing newer to give, who is this far from the group sends its followers elsewhere. */
const isAdrift = ({ ageMs, path }: View['standing']): boolean =>
  ageMs > FOLLOW_ADRIFT_MS || path.length >= FOLLOW_HOPS_MAX

function hasRoom({ flight }: Source): boolean {
  let bytes = 0
  for (const each of flight.values()) bytes += each.bytes
  return bytes < FOLLOW_IN_FLIGHT_BYTES_MAX
}

/** Applied entries after `index`: at least one, when there is any. */
function page({ base, entries, applied }: View['log'], index: number): AnswerOf<'entries'>['entries'] {
  const start = index - base.index
  let end = start
  let bytes = 0
  while (end < applied - base.index && end - start < APPEND_ENTRIES_MAX && bytes < APPEND_BYTES_MAX)
    bytes += costOf(entries[end++] as Entry)
  return entries.slice(start, end).map(({ term, kind, data }) => ({ term, kind, data }))
}

/** As in the log's own pages. */
const costOf = ({ data }: Pick<Entry, 'data'>): number => data.length + 64

/** The part asked for, when this peer still has that snapshot and the log goes on after it; else the newest's first. */
function part(source: Source, { snapshot: asked }: Ask, view: View, nowMs: number): Answer {
  const same = source.offered.find((each) => isOf(each, asked) && each.snapshot.index >= view.log.base.index)
  const offered = same?.generation === view.generation ? same : newest(source, view)
  offered.untilMs = nowMs + FOLLOW_FLIGHT_MS + FOLLOW_HOLD_MS
  const { snapshot, checksum } = offered
  const { index, term, configuration, data } = snapshot
  const offset = asked !== undefined && isOf(offered, asked) && asked.offset <= data.length ? asked.offset : 0
  return {
    kind: 'part',
    ...told(view),
    snapshot: { index, term, configuration, checksum },
    offset,
    total: data.length,
    data: data.slice(offset, offset + source.partBytes),
  }
}

/** Bytes may be the same in two generations, and still begin different logs. */
const isOf = ({ generation, snapshot, checksum }: Offered, asked: Ask['snapshot']): boolean =>
  generation === asked?.generation && snapshot.index === asked.index && checksum === asked.checksum

function newest(source: Source, { generation, snapshot }: View): Offered {
  const known = source.offered.find((each) => each.snapshot === snapshot)
  if (known !== undefined) return known
  const offered = { generation, snapshot, checksum: crc32(snapshot.data), untilMs: 0 }
  source.offered.push(offered)
  return offered
}

const told = ({ generation, log, standing }: View): Standing => ({
  generation,
  index: log.applied,
  ...standing,
  // Longer ones lead to nobody who is asked for long: see `isAdrift`.
  path: standing.path.slice(0, FOLLOW_HOPS_MAX),
})

const nothing = (view: View, why: AnswerOf<'nothing'>['why']): Answer => ({
  kind: 'nothing',
  ...told(view),
  why,
})

function bytesOf(answer: Answer): number {
  if (answer.kind === 'part') return answer.data.length
  return answer.kind === 'entries' ? answer.entries.reduce((sum, each) => sum + costOf(each), 0) : 0
}

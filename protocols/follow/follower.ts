/**
 * The asking half of following: one group's committed log, taken over from whoever has it. Pure.
 *
 *   idle ──a candidate──▶ asking ──entries, a whole snapshot──▶ delivering ──the host holds them──▶ asking …
 *     ▲                     └──nothing, failed, bad──▶ that peer rests, another is asked
 *     └──not wanted (a member that hears its leader), or everybody rests
 *
 * What it promises, whatever is lost and whichever peers are asked: what it delivers is the committed sequence from the
 * host's position on, each entry once, in order, without a gap; a snapshot only where it is newer. Three rules do it:
 * an ask names the position, an answer counts only while that is still the position, and nothing is asked while a
 * delivery is under way. The host says where it stands (`position`), so a full disk stops the asking by itself.
 *
 * It never acknowledges anything to the group, and no commit waits for it.
 */
import { crc32 } from 'node:zlib'
import type { PeerId } from '../ids.ts'
import { FOLLOW_BEHIND_MS, FOLLOW_HOLD_MS, FOLLOW_LOOK_MS, REQUEST_MS } from '../limits.ts'
import type { Entry, Snapshot } from '../raft/types.ts'
import { type Candidate, isResting, ranked, rankOf, rest, type Resting } from './choosing.ts'
import { type Answer, type AnswerOf, type Ask, compare, type Position, type Standing } from './messages.ts'

/** A snapshot of which some parts are here; another source that has the same goes on with it. */
type Incoming = AnswerOf<'part'>['snapshot'] & {
  readonly generation: number
  readonly total: number
  readonly parts: Uint8Array[]
  offset: number
}

export type Follower = {
  readonly self: PeerId
  readonly cluster: string
  readonly group: string
  /** What the host holds, applied and durable. */
  position: Position
  wanted: boolean
  candidates: readonly Candidate[]
  readonly resting: Resting
  /** Who gave something last; empty when there is nobody. */
  source: PeerId
  asked:
    | { readonly serial: number; readonly to: PeerId; readonly ask: Ask; readonly atMs: number }
    | undefined
  /** Handed to the host and not yet held. */
  delivering: Position | undefined
  incoming: Incoming | undefined
  /** The source's last word, and when. */
  news: { readonly standing: Standing; readonly atMs: number } | undefined
  /** At this time a member that hears the leader held nothing newer than the host. */
  freshMs: number
  /** The newest position that anybody spoke of, and who; forgotten in time, for it may be nobody's. */
  heard: { readonly position: Position; readonly untilMs: number } | undefined
  /** Since when the source has been behind that. */
  behindMs: number
  lookMs: number
  serial: number
}

export type Event =
  /** Whether to follow at all. */
  | { readonly kind: 'wanted'; readonly wanted: boolean }
  | { readonly kind: 'candidates'; readonly candidates: readonly Candidate[] }
  /** The host holds everything up to here: after a delivery, or because a leader was faster. */
  | { readonly kind: 'position'; readonly position: Position }
  /** What was delivered cannot be read: its source's fault. */
  | { readonly kind: 'refused'; readonly why: string }
  /** What was delivered is of a generation that the host does not go on with: nobody's fault. */
  | { readonly kind: 'declined' }
  | { readonly kind: 'answer'; readonly serial: number; readonly answer: Answer }
  /** No answer, or none that could be read. */
  | { readonly kind: 'failed'; readonly serial: number }
  /** Somebody that this peer does not follow holds this much: an asker, for one. */
  | { readonly kind: 'heard'; readonly position: Position }
  | { readonly kind: 'tick' }

export type Effect =
  | {
      readonly kind: 'ask'
      readonly to: PeerId
      readonly serial: number
      readonly ask: Ask
      readonly timeoutMs: number
    }
  /** Entries right after the position. */
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  /** Instead of all that the host holds. */
  | { readonly kind: 'snapshot'; readonly generation: number; readonly snapshot: Snapshot }
  | { readonly kind: 'blame'; readonly peer: PeerId; readonly why: string }

export function newFollower(self: PeerId, cluster: string, group: string, position: Position): Follower {
  return {
    self,
    cluster,
    group,
    position,
    wanted: false,
    candidates: [],
    resting: new Map(),
    source: '',
    asked: undefined,
    delivering: undefined,
    incoming: undefined,
    news: undefined,
    freshMs: -Infinity,
    heard: undefined,
    behindMs: Infinity,
    lookMs: 0,
    serial: 0,
  }
}

/** Advances by one event; returns what the host must now do, in order. */
export function step(f: Follower, event: Event, nowMs: number): Effect[] {
  const out: Effect[] = []
  hear(f, event, nowMs, out)
  askNext(f, nowMs, out)
  return out
}

/** When something will change by time alone; Infinity for never. */
export function dueMs(f: Follower): number {
  if (!f.wanted || f.asked !== undefined || f.delivering !== undefined) return Infinity
  return f.candidates.reduce((due, { peer }) => Math.min(due, f.resting.get(peer)?.untilMs ?? due), Infinity)
}

/** How long ago what the host holds was known to be all there is; Infinity for never. */
export const ageMs = (f: Follower, nowMs: number): number => Math.max(0, nowMs - f.freshMs)

/** The peers that its news come through. */
export const pathOf = ({ source, news }: Follower): PeerId[] =>
  source === '' ? [] : [source, ...(news?.standing.path ?? [])]

function hear(f: Follower, event: Event, nowMs: number, out: Effect[]): void {
  switch (event.kind) {
    case 'wanted':
      f.wanted = event.wanted
      if (!f.wanted) leave(f)
      return
    case 'candidates':
      f.candidates = event.candidates
      if (!f.candidates.some(({ peer }) => peer === f.source)) f.source = ''
      return
    case 'position':
      return hearPosition(f, event.position)
    case 'refused':
      f.delivering = undefined
      return blame(f, f.source, event.why, nowMs, out)
    case 'declined':
      f.delivering = undefined
      return giveUp(f, f.source, nowMs)
    case 'answer': {
      const asked = takeAsked(f, event.serial)
      return asked && hearAnswer(f, asked, event.answer, nowMs, out)
    }
    case 'failed': {
      const asked = takeAsked(f, event.serial)
      return asked && giveUp(f, asked.to, nowMs)
    }
    case 'heard':
      return hearOf(f, event.position, nowMs)
    case 'tick':
      return
  }
}

type Asked = NonNullable<Follower['asked']>

/** Undefined for an answer that nobody waits for any more. */
function takeAsked(f: Follower, serial: number): Asked | undefined {
  const { asked } = f
  if (asked?.serial !== serial) return undefined
  f.asked = undefined
  return asked
}

function hearPosition(f: Follower, position: Position): void {
  f.position = position
  if (f.delivering !== undefined && compare(position, f.delivering) >= 0) f.delivering = undefined
  if (f.incoming !== undefined && compare(position, f.incoming) >= 0) f.incoming = undefined
  freshen(f)
}

/** With everything its source had when it last spoke, the host is as fresh as the source was. */
function freshen(f: Follower): void {
  if (f.news === undefined || compare(f.position, f.news.standing) < 0) return
  f.freshMs = Math.max(f.freshMs, f.news.atMs - f.news.standing.ageMs)
}

function hearAnswer(f: Follower, asked: Asked, answer: Answer, nowMs: number, out: Effect[]): void {
  const { to, ask, atMs } = asked
  hearOf(f, answer, nowMs)
  if (answer.kind === 'nothing' || answer.path.includes(f.self)) return giveUp(f, to, nowMs)
  // A leader was faster than this answer: it is asked again from where the host is now.
  if (!f.wanted || compare(ask, f.position) !== 0) return
  const wrong = answer.kind === 'entries' ? wrongEntries(ask, answer) : takePart(f, answer)
  if (wrong !== undefined) return blame(f, to, wrong, nowMs, out)
  // Whoever does not hold an ask would be asked again at the speed of the network.
  const empty = answer.kind === 'entries' && answer.entries.length === 0
  if (empty && nowMs - atMs < ask.waitMs / 2) return giveUp(f, to, nowMs)

  if (f.source !== to) f.lookMs = nowMs + FOLLOW_HOLD_MS
  f.source = to
  f.resting.delete(to)
  const { generation, index, term, leader, ageMs: age, path } = answer
  f.news = { standing: { generation, index, term, leader, ageMs: age, path }, atMs: nowMs }
  if (answer.kind === 'entries') deliverEntries(f, ask, answer, out)
  else deliverSnapshot(f, out)
  freshen(f)
  leaveWhenBehind(f, nowMs)
}

function wrongEntries(ask: Ask, { generation, index, entries }: AnswerOf<'entries'>): string | undefined {
  if (generation !== ask.generation) return `entries of generation ${generation}, not ${ask.generation}`
  if (ask.index + entries.length > index) return `entries past ${index}, which is the last`
  if (entries.length === 0 && index > ask.index) return `no entries, and ${index} is the last`
  if (entries.some(({ term }, at) => term < (entries[at - 1]?.term ?? 1))) return 'entries with falling terms'
  return undefined
}

function deliverEntries(f: Follower, ask: Ask, { entries }: AnswerOf<'entries'>, out: Effect[]): void {
  if (entries.length === 0) return
  f.delivering = { generation: ask.generation, index: ask.index + entries.length }
  out.push({
    kind: 'entries',
    entries: entries.map(({ term, kind, data }, at) => ({ term, index: ask.index + 1 + at, kind, data })),
  })
}

/** @returns What is wrong with it. */
function takePart(f: Follower, part: AnswerOf<'part'>): string | undefined {
  const { generation, snapshot, offset, total, data } = part
  if (compare({ generation, index: snapshot.index }, f.position) <= 0) return 'a snapshot that is not newer'
  const isSame =
    f.incoming?.generation === generation &&
    f.incoming.index === snapshot.index &&
    f.incoming.checksum === snapshot.checksum &&
    f.incoming.total === total
  if (!isSame || offset === 0) f.incoming = { ...snapshot, generation, total, parts: [], offset: 0 }
  const incoming = f.incoming as Incoming
  if (offset !== incoming.offset) return `a part from ${offset}, not ${incoming.offset}`
  if (offset + data.length > total || (data.length === 0 && total > 0)) return `a part of ${data.length} B`
  incoming.parts.push(data)
  incoming.offset += data.length
  if (incoming.offset < total) return undefined
  if (incoming.parts.reduce((sum, each) => crc32(each, sum), 0) === snapshot.checksum) return undefined
  // Whose part was bad nobody knows: all of it is fetched again.
  f.incoming = undefined
  return 'a snapshot with another checksum'
}

function deliverSnapshot(f: Follower, out: Effect[]): void {
  const { incoming } = f
  if (incoming === undefined || incoming.offset < incoming.total) return
  const { generation, index, term, configuration, parts } = incoming
  f.incoming = undefined
  f.delivering = { generation, index }
  out.push({
    kind: 'snapshot',
    generation,
    snapshot: { index, term, configuration, data: Uint8Array.from(Buffer.concat(parts)) },
  })
}

function hearOf(f: Follower, { generation, index }: Position, nowMs: number): void {
  if (
    f.heard !== undefined &&
    f.heard.untilMs > nowMs &&
    compare(f.heard.position, { generation, index }) > 0
  )
    return
  f.heard = { position: { generation, index }, untilMs: nowMs + 3 * FOLLOW_BEHIND_MS }
}

/** A source that has less than others spoke of gets some time, for it may be about to hear of it. */
function leaveWhenBehind(f: Follower, nowMs: number): void {
  const { heard, news, source } = f
  const isBehind = heard !== undefined && news !== undefined && compare(news.standing, heard.position) < 0
  f.behindMs = isBehind ? Math.min(f.behindMs, nowMs) : Infinity
  if (nowMs - f.behindMs <= FOLLOW_BEHIND_MS) return
  f.behindMs = Infinity
  giveUp(f, source, nowMs)
}

function giveUp(f: Follower, peer: PeerId, nowMs: number): void {
  rest(f.resting, peer, nowMs)
  if (f.source === peer) leave(f)
}

function leave(f: Follower): void {
  f.source = ''
  f.behindMs = Infinity
}

function blame(f: Follower, peer: PeerId, why: string, nowMs: number, out: Effect[]): void {
  giveUp(f, peer, nowMs)
  out.push({ kind: 'blame', peer, why })
}

function askNext(f: Follower, nowMs: number, out: Effect[]): void {
  if (!f.wanted || f.asked !== undefined || f.delivering !== undefined) return
  const to = next(f, nowMs)
  if (to === undefined) return
  const { generation, index } = f.position
  const { incoming } = f
  const ask: Ask = { cluster: f.cluster, group: f.group, generation, index, waitMs: FOLLOW_HOLD_MS }
  if (incoming !== undefined) {
    const { generation: of, index: at, checksum, offset } = incoming
    ask.snapshot = { generation: of, index: at, checksum, offset }
  }
  f.asked = { serial: ++f.serial, to, ask, atMs: nowMs }
  out.push({ kind: 'ask', to, serial: f.serial, ask, timeoutMs: FOLLOW_HOLD_MS + REQUEST_MS })
}

/** The source, as long as it is one; now and then somebody better is tried first. */
function next(f: Follower, nowMs: number): PeerId | undefined {
  const source = f.candidates.find(({ peer }) => peer === f.source)
  if (source === undefined)
    return ranked(f.self, f.candidates).find(({ peer }) => !isResting(f.resting, peer, nowMs))?.peer
  if (nowMs < f.lookMs) return source.peer
  f.lookMs = nowMs + FOLLOW_LOOK_MS
  const best = ranked(f.self, f.candidates).find(
    ({ peer, connected }) => connected && !isResting(f.resting, peer, nowMs),
  )
  const better = best !== undefined && rankOf(f.self, best) < rankOf(f.self, source)
  return better ? best.peer : source.peer
}

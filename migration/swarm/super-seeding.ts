/**
 * What a source that holds all of an image shows to those that download it from there, so that each chunk leaves it
 * once and they bring it to each other. BEP 16 in kind. Pure: time comes in events, dice at the start.
 *
 *   fresh ──shown to one──▶ open ──that one gained it──▶ out
 *     ▲                       │                           │
 *     └── it left, or is silent, and nobody else has it ──┘
 *
 * A receiver says what it needs not have, and what it gains from anyone. It is shown a fresh chunk for each one that it
 * gained, so the quickest are shown most; how many are open is twice its bandwidth-delay product. What some
 * receiver already held is not fresh: others find it there. One that is alone is shown what it gains in a second; what it has
 * not asked for of that when a second one comes is fresh again. One that fetches by blocks is shown as much as it looks at
 * together.
 *
 * When nothing is fresh the source helps only where that saves time: a site that could take more than the others bring to it,
 * and would save HELP_SHARE of the time spent so far, is shown what it lacks, rarest first. Uplinks of peers that
 * are together too slow are made up for in this way, and so is a receiver that keeps what it got to itself. A receiver
 * that gained nothing for LATE_MS_MIN is shown what it lacks whatever its site holds.
 *
 * Promises: no chunk that someone lacks stays unshown when nobody who is counted on holds it or was shown it, and nothing
 * else is fresh; a receiver's death costs its chunks a silence (`patienceMs`) and a beat, or nothing when its channel ends.
 */
import {
  IN_FLIGHT_BYTES_MIN,
  LATE_MS_MIN,
  LEND_CHUNKS_MIN,
  PRINTS_CHUNKS_MAX,
  REQUESTS_PER_SOURCE_MAX,
} from '../../protocols/limits.ts'
import { isSet } from '../../protocols/swarm/have-map.ts'
import {
  type Group,
  hold,
  isUnseen,
  join,
  leave,
  lose,
  opens,
  type Pace,
  type Receiver,
  type SuperSeeding,
  trust,
} from './receivers.ts'

/** Chunks open for a receiver whose pace is not known: one on its way, one behind it. */
const OPEN_MIN = 2
/** Chunks open for all whose pace says nothing else: with more receivers than half of it, those take turns. */
const OPEN_ALL = 32
/** Open for a receiver that is alone: what it gains in this time. */
const ALONE_MS = 1_000
/** After a round trip, in what one asks for at first: what it has not asked for when another comes is for that one. */
const ALONE_SHOWN = 8
/** Of the time spent so far: to save less at the end is not worth sending twice; all that need help then get in each other's way. */
const HELP_SHARE = 0.08
const HELP_MS_MIN = LATE_MS_MIN
/** How often paces are measured. */
const PACE_MS = 250
/** How much of a new measure counts: the pace of a receiver is that of a second, that of a site of some seconds. */
const GAIN = 0.25
const SITE_GAIN = 0.05
/** Of a site's best pace, for each measure: a link that became slower is believed after a minute. */
const BEST_KEPT = 0.998
/** Silence of a receiver that has gained nothing yet: it may be behind the first chunks of all the others. */
const FIRST_MS = 2_000
/** Candidates that a choice of the rarest looks at. */
const RAREST_OF = 256

export type Event =
  /** `site`: undefined when it is not known, which is one of its own. */
  | { readonly kind: 'receiver'; readonly key: number; readonly site: string | undefined }
  /** Bit i of `bits`: it needs chunk `from + i` not. `last`: that is all. */
  | {
      readonly kind: 'needs-not'
      readonly key: number
      readonly from: number
      readonly count: number
      readonly bits: Uint8Array
      readonly last: boolean
    }
  | { readonly kind: 'gained' | 'wanted'; readonly key: number; readonly indexes: readonly number[] }
  /** It fetches by blocks (decision 13). */
  | { readonly kind: 'by-blocks'; readonly key: number }
  | { readonly kind: 'gone'; readonly key: number }
  /** It is not here after all. */
  | { readonly kind: 'lost'; readonly index: number }
  | { readonly kind: 'tick' }

export type Effect = { readonly kind: 'show'; readonly key: number; readonly indexes: number[] }

/** Advances `seeding` by one event; returns what to show to whom. */
export function step(seeding: SuperSeeding, event: Event, nowMs: number): Effect[] {
  if (event.kind === 'tick') return tick(seeding, nowMs)
  if (event.kind === 'lost') {
    lose(seeding, event.index)
    return showAll(seeding, nowMs)
  }
  if (event.kind === 'receiver') return show(seeding, join(seeding, event.key, event.site, nowMs), nowMs)
  const receiver = seeding.receivers.get(event.key)
  if (receiver === undefined) return []
  if (event.kind === 'gone') {
    leave(seeding, receiver)
    return showAll(seeding, nowMs)
  }
  receiver.heardMs = nowMs
  const { missing } = receiver
  if (receiver.silent) trust(seeding, receiver, true)
  switch (event.kind) {
    case 'needs-not':
      for (let i = 0; i < event.count; i++)
        if (isSet(event.bits, i)) hold(seeding, receiver, event.from + i, nowMs)
      receiver.told ||= event.last
      break
    case 'gained':
      if (event.indexes.length === 0) break
      receiver.gapMs = Math.max(nowMs - receiver.gainedMs, receiver.gapMs * 0.98)
      receiver.gainedMs = nowMs
      for (const index of event.indexes)
        if (hold(seeding, receiver, index, nowMs)) receiver.group.pace.count++
      receiver.gained += missing - receiver.missing
      break
    case 'by-blocks':
      receiver.byBlocks = true
      break
    case 'wanted':
      for (const index of event.indexes)
        if (index < seeding.chunks && !isSet(receiver.has, index) && !isSet(seeding.lost, index)) {
          opens(seeding, receiver, index, nowMs)
          receiver.asked.add(index)
        }
  }
  return [...show(seeding, receiver, nowMs), ...(seeding.opened < OPEN_ALL ? showAll(seeding, nowMs) : [])]
}

// Time -------------------------------------------------------------------------------------------------------------

function tick(seeding: SuperSeeding, nowMs: number): Effect[] {
  const ms = nowMs - seeding.pacedMs
  if (ms >= PACE_MS) {
    seeding.pacedMs = nowMs
    for (const group of seeding.groups.values()) {
      measure(group.pace, ms, SITE_GAIN)
      measure(group.ownPace, ms, SITE_GAIN)
      group.bestPerMs = Math.max(group.bestPerMs * BEST_KEPT, group.pace.perMs)
    }
    for (const { pace } of seeding.receivers.values()) measure(pace, ms, GAIN)
  }
  for (const receiver of seeding.receivers.values())
    if (!receiver.silent && receiver.open.size > 0 && nowMs - receiver.heardMs > patienceMs(receiver))
      trust(seeding, receiver, false)
  return showAll(seeding, nowMs)
}

function measure(pace: Pace, ms: number, gain: number): void {
  pace.perMs += (pace.count / ms - pace.perMs) * gain
  pace.count = 0
}

/** The longest silence of a receiver that is still ordinary: half as much again as its longest of late. */
const patienceMs = ({ gapMs, told }: Receiver): number =>
  gapMs === 0 || !told ? FIRST_MS : Math.max(LATE_MS_MIN, 1.5 * gapMs)

// Showing ----------------------------------------------------------------------------------------------------------

function showAll(seeding: SuperSeeding, nowMs: number): Effect[] {
  return [...seeding.receivers.values()].flatMap((receiver) => show(seeding, receiver, nowMs))
}

function show(seeding: SuperSeeding, receiver: Receiver, nowMs: number): Effect[] {
  if (receiver.silent || receiver.missing === 0) return []
  const indexes: number[] = []
  while (roomOf(seeding, receiver, nowMs) > 0) {
    const index = pickFresh(seeding) ?? pickHelp(seeding, receiver, nowMs)
    if (index === undefined) break
    opens(seeding, receiver, index, nowMs)
    indexes.push(index)
  }
  if (indexes.length === 0) return []
  // Behind all others that wait for their turn.
  seeding.receivers.delete(receiver.key)
  seeding.receivers.set(receiver.key, receiver)
  return [{ kind: 'show', key: receiver.key, indexes }]
}

function roomOf({ receivers, chunkBytes, opened }: SuperSeeding, receiver: Receiver, nowMs: number): number {
  const { pace, delayMs, open, joinedMs, gained } = receiver
  const product = delayMs === Infinity ? 0 : Math.ceil(2 * pace.perMs * delayMs)
  // One each until it is here: chunks that are sent side by side are all of use late.
  const few = gained === 0 && receivers.size > 2 ? 1 : OPEN_MIN
  const least = opened < OPEN_ALL ? few : 0
  // Alone: what it asks for at first; more when nobody else has come after a round trip, and as much as it gained, which
  // doubles each round trip; up to what a second brings.
  const first = ((receiver.told ? ALONE_SHOWN : 1) * IN_FLIGHT_BYTES_MIN) / chunkBytes
  const share = ALONE_MS / Math.max(ALONE_MS, nowMs - joinedMs)
  const alone = receivers.size > 1 ? 0 : Math.max(first, Math.floor(gained * share))
  // Blocks are pressed together for many chunks: what one fetches alone it is shown as it prints it.
  if (receiver.byBlocks)
    return (receivers.size > 1 ? Math.max(LEND_CHUNKS_MIN, product) : 2 * PRINTS_CHUNKS_MAX) - open.size
  return Math.min(REQUESTS_PER_SOURCE_MAX, Math.max(least, product, alone)) - open.size
}

/** A chunk that nobody has or was shown, from a random place. */
function pickFresh(seeding: SuperSeeding): number | undefined {
  return pickFrom(seeding, seeding.fresh) ?? pickFrom(seeding, seeding.again)
}

function pickFrom(seeding: SuperSeeding, list: number[]): number | undefined {
  const { isFresh, dice } = seeding
  while (list.length > 0) {
    const at = Math.floor(dice() * list.length)
    const index = list[at] as number
    const last = list.pop() as number
    if (at < list.length) list[at] = last
    isFresh[index >> 3] = (isFresh[index >> 3] as number) & ~(0x80 >> (index & 7))
    if (isUnseen(seeding, index) && !isSet(seeding.lost, index)) return index
  }
  return undefined
}

/** The rarest, of a sample from a random place, of what its group lacks and takes too long to get elsewhere. */
function pickHelp(seeding: SuperSeeding, receiver: Receiver, nowMs: number): number | undefined {
  const { group } = receiver
  if (!receiver.told) return undefined
  const isStalled = nowMs - receiver.gainedMs > Math.max(LATE_MS_MIN, 1.5 * receiver.gapMs)
  if (!isStalled && !takesTooLong(seeding, group, nowMs)) return undefined
  const lacked = isStalled ? receiver.has : group.has
  let best: number | undefined
  let at = Math.floor(seeding.dice() * seeding.chunks)
  for (let left = seeding.chunks, seen = 0; left > 0 && seen < RAREST_OF; left--, at++) {
    if (at >= seeding.chunks) at = 0
    if (isSet(lacked, at) || isSet(seeding.lost, at) || receiver.open.has(at)) continue
    // What a neighbour was shown is on its way to the site.
    if (!isStalled && [...group.members].some(({ open, silent }) => !silent && open.has(at))) continue
    seen++
    if (best === undefined || weight(seeding, at) < weight(seeding, best)) best = at
  }
  return best
}

const weight = ({ holders, open }: SuperSeeding, index: number): number =>
  (holders[index] as number) + (open[index] as number)

function takesTooLong(seeding: SuperSeeding, group: Group, nowMs: number): boolean {
  const { missing, pace, ownPace, bestPerMs, members } = group
  if (missing === 0) return false
  if (pace.perMs === 0) return [...members].every(({ gainedMs }) => nowMs - gainedMs > LATE_MS_MIN)
  const savedMs = missing / ownPace.perMs - missing / bestPerMs
  return savedMs > Math.max(HELP_MS_MIN, HELP_SHARE * (nowMs - seeding.startedMs))
}

/**
 * How long a group waits for a heartbeat, from what its links do now: the leader measures the round trip of each
 * heartbeat, and proposes other timing when what is agreed on is too short, or much too long. After Dynatune (arXiv
 * 2507.15154), with one difference: on a stream loss does not lose a heartbeat but delays it and all behind it, so loss is
 * not counted by itself; it is in the tail of the round trips.
 *
 *   heartbeat = (tail + median) / 3             often enough that it adds little to the next line, within bounds
 *   election  = heartbeat + tail + median / 2   the latest heartbeat, and then some; more than a pre-vote and a vote take
 *   stagger   = median                          between one follower's turn to stand for election and the next one's
 *
 * Followers stand in line, in order of their ids: by the time it would be the second one's turn it has heard the first. So
 * the usual election has one candidate, and votes are split only when several things fail at once; then timeouts are random,
 * as ever. It changes who stands when, and nothing that is safe or not.
 *
 * Tail and median are those of the slowest link that a majority needs. For an election without cause several links must be
 * late at once, one more than a minority; so the tail is the quantile at which that happens less than once in a hundred days.
 *
 * Too short is mended at once: only an election that fails can be worse. Shorter is agreed on by halves, each after a
 * window of round trips under the one before; few samples say little about a tail. A link that loses a packet now and then
 * is one whose tail is found too short again and again: each descent that had to be taken back doubles the rest before the
 * next one, up to an hour, so that such a group writes a few entries an hour and no more.
 */
import assert from 'node:assert/strict'
import {
  ELECTION_MS_MAX,
  ELECTION_MS_MIN,
  ELECTION_TICKS,
  HEARTBEAT_MS_MAX,
  HEARTBEAT_MS_MIN,
  HEARTBEAT_TICKS,
  TICK_MS,
} from '../limits.ts'
import type { Timing } from './envelope.ts'
import type { MemberId } from './member.ts'

export const DEFAULT_TIMING: Timing = { heartbeatTicks: HEARTBEAT_TICKS, electionTicks: ELECTION_TICKS }

/** Round trips of one link that are kept: minutes, and enough for the quantiles of five voters and more. */
const SAMPLES_MAX = 1_024
/** What took longer was no slow link but none: nobody should wait for the next one. */
const SAMPLE_MS_MAX = 2_000
/** Fewer say nothing of a tail that is to be relied on. */
const SAMPLES_MIN = 128
/** To see that a link has become slow, a few are enough. */
const SAMPLES_SLOW = 8

/** By voters: what share of round trips may be longer than what is called the tail (see above). */
const TAIL: readonly (readonly [voters: number, quantile: number])[] = [
  [7, 0.99],
  [5, 0.998],
  [0, 1],
]

/** Longer by this before it is raised; shorter than this share before it is lowered, and lowered to no less than this. */
const RAISE_SHARE = 1.1
const LOWER_SHARE = 0.8
const LOWER_STEP = 0.5
/** Between proposals: an entry now and then, whatever the links do. */
const RAISE_EVERY_MS = 2_000
const LOWER_EVERY_MS = 15_000
/** The longest rest after a raise; what was low for longer than this has held, and its raise begins with the shortest. */
const REST_MS_MAX = 3_600_000

/** Round trips of one link, in ms. Looked at twice a second and more, so the order that quantiles need is kept. */
type Link = { readonly arrived: number[]; readonly sorted: number[] }

export type Measuring = {
  readonly links: Map<MemberId, Link>
  /** When this leader last proposed; it waits before the first time too. */
  proposedMs: number
  /** What it was. */
  direction: 'up' | 'down' | undefined
  /** From a raise to the first step of the next descent. */
  restMs: number
}

export type Event =
  /** A heartbeat has been answered. */
  | { readonly kind: 'round-trip'; readonly member: MemberId; readonly ms: number }
  | {
      readonly kind: 'look'
      readonly nowMs: number
      /** Everybody who votes but the leader. */
      readonly followers: readonly MemberId[]
      readonly agreed: Timing
    }

/** To be agreed on. */
export type Effect = { readonly kind: 'propose'; readonly timing: Timing }

export const newMeasuring = (nowMs: number): Measuring => ({
  links: new Map(),
  proposedMs: nowMs,
  direction: undefined,
  restMs: LOWER_EVERY_MS,
})

export function step(measuring: Measuring, event: Event): Effect[] {
  const { links } = measuring
  if (event.kind === 'round-trip') {
    if (event.ms > SAMPLE_MS_MAX) return []
    const link = links.get(event.member) ?? { arrived: [], sorted: [] }
    links.set(event.member, link)
    add(link, event.ms)
    return []
  }
  const { nowMs, followers, agreed } = event
  for (const member of links.keys()) if (!followers.includes(member)) links.delete(member)
  const timing = proposal(measuring, followers, agreed, nowMs)
  if (timing === undefined) return []
  const direction = timing.electionTicks < agreed.electionTicks ? 'down' : 'up'
  if (direction === 'up' && measuring.direction === 'down') {
    const held = nowMs - measuring.proposedMs > REST_MS_MAX
    measuring.restMs = held ? LOWER_EVERY_MS : Math.min(2 * measuring.restMs, REST_MS_MAX)
  }
  Object.assign(measuring, { direction, proposedMs: nowMs })
  // What was measured so far is spent: the next step down needs a window of its own.
  if (direction === 'down') links.clear()
  return [{ kind: 'propose', timing }]
}

function proposal(
  { links, proposedMs, direction, restMs }: Measuring,
  followers: readonly MemberId[],
  agreed: Timing,
  nowMs: number,
): Timing | undefined {
  const agreedMs = agreed.electionTicks * TICK_MS
  if (followers.length === 0) return undefined
  const atLeast = (count: number): (readonly number[])[] =>
    followers.flatMap((member) => {
      const { sorted } = links.get(member) ?? { sorted: [] }
      return sorted.length >= count ? [sorted] : []
    })
  const slow = wanted(atLeast(SAMPLES_SLOW), followers.length + 1)
  if (slow === undefined) return undefined
  if (slow.electionMs > agreedMs * RAISE_SHARE)
    return nowMs - proposedMs >= RAISE_EVERY_MS ? ticks(slow) : undefined
  const sure = wanted(atLeast(SAMPLES_MIN), followers.length + 1)
  const afterMs = direction === 'up' ? restMs : LOWER_EVERY_MS
  if (sure === undefined || sure.electionMs >= agreedMs * LOWER_SHARE || nowMs - proposedMs < afterMs)
    return undefined
  const electionMs = Math.max(sure.electionMs, agreedMs * LOWER_STEP)
  return ticks({ ...sure, electionMs, heartbeatMs: (sure.heartbeatMs * electionMs) / sure.electionMs })
}

type Wanted = { readonly heartbeatMs: number; readonly electionMs: number; readonly staggerMs: number }

/** @param measured Each link's round trips, in order of length. @returns Undefined while too few links say anything. */
function wanted(measured: readonly (readonly number[])[], voters: number): Wanted | undefined {
  const needed = Math.floor(voters / 2) + 1
  const quantile = TAIL.find(([least]) => voters >= least)?.[1] ?? 1
  if (measured.length < Math.min(needed, voters - 1)) return undefined
  const [tailMs, medianMs] = [quantile, 0.5].map((share) => {
    const all = measured.map((sorted) => quantileOf(sorted, share)).toSorted((a, b) => a - b)
    return all[Math.min(needed, voters - 1) - 1] ?? 0
  }) as [number, number]
  const heartbeatMs = within((tailMs + medianMs) / 3, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX)
  const electionMs = within(heartbeatMs + tailMs + medianMs / 2, ELECTION_MS_MIN, ELECTION_MS_MAX)
  return { heartbeatMs, electionMs, staggerMs: within(medianMs, TICK_MS, electionMs) }
}

function add({ arrived, sorted }: Link, ms: number): void {
  sorted.splice(placeOf(sorted, ms), 0, ms)
  if (arrived.push(ms) <= SAMPLES_MAX) return
  const oldest = arrived.shift() as number
  sorted.splice(placeOf(sorted, oldest), 1)
}

/** Where `ms` is in a sorted list, or would be: before the first that is not less. */
function placeOf(sorted: readonly number[], ms: number): number {
  let [from, to] = [0, sorted.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if ((sorted[middle] as number) < ms) from = middle + 1
    else to = middle
  }
  return from
}

const quantileOf = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0

const within = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))

function ticks({ heartbeatMs, electionMs, staggerMs }: Wanted): Timing {
  const timing = {
    heartbeatTicks: Math.ceil(within(heartbeatMs, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX) / TICK_MS),
    electionTicks: Math.ceil(electionMs / TICK_MS),
    staggerTicks: Math.ceil(staggerMs / TICK_MS),
  }
  assert(timing.heartbeatTicks * 2 <= timing.electionTicks)
  return timing
}

/**
 * What a member goes by: what is agreed on while there is a leader. Without one for long, twice as long at a time: on
 * links that have become slower than what is agreed on, no vote would ever come back in time, and nobody could agree on more.
 */
export function patient(agreed: Timing, leaderlessMs: number): Timing {
  let electionMs = agreed.electionTicks * TICK_MS
  // A few timeouts at each length: a split vote or two are no reason to wait longer.
  for (let left = leaderlessMs; left >= 8 * electionMs && electionMs < ELECTION_MS_MAX;) {
    left -= 8 * electionMs
    electionMs = Math.min(2 * electionMs, ELECTION_MS_MAX)
  }
  return { ...agreed, electionTicks: Math.max(agreed.electionTicks, Math.ceil(electionMs / TICK_MS)) }
}

/**
 * Who may vote in a group, as its leader sees it now, and how good a voter each would be. Samples stay here: none of
 * them enters a log, only the decision does (docs/decisions/0010).
 */
import type { PeerId } from '../ids.ts'

export type Candidate = {
  /** `peer#incarnation`: what the peer says that its log of this group is now. */
  readonly member: string
  readonly peer: PeerId
  readonly site: string
  /** What fails with it when a line fails; a site's own unless the configuration names another. */
  readonly uplink: string
  readonly uptimeMs: number
  /** In sight now, and for how long that has been so or not, as far as the leader has watched. */
  readonly reachable: boolean
  readonly standingMs: number
  readonly power: 'mains' | 'battery'
  /** Smoothed round trips to others, in ms. */
  readonly rttMs: Readonly<Record<PeerId, number>>
  readonly noVote: boolean
  /** By agreement, until that is taken back: it is nobody to count on, and its vote goes. */
  readonly draining: boolean
  /** About to stop, and likely to be back: its vote goes if there is another for it. */
  readonly leaving: boolean
  /** Holds, or is about to hold, what the leader has committed; false for who is no member. */
  readonly caughtUp: boolean
}

/** A round trip that nobody has measured counts as this: neither the best nor the worst that one meets on a WAN. */
const RTT_UNKNOWN_MS = 150
const RTT_WORST_MS = 300
const DAY_MS = 86_400_000

/** Points of the best voter there could be; what each part weighs is its share of these. */
const WEIGHTS = { near: 40, steady: 20, mains: 20, uptime: 20 } as const
/**
 * Points by which another must be better than who votes already: more than uptime, or power, or one loss of sight can
 * make alone, so that none of them moves a vote by itself.
 */
export const INCUMBENT_POINTS = 25
/** Of who is on its way to a vote: more than a measurement wavers. */
export const CHOSEN_POINTS = 12

type Measured = Pick<Candidate, 'peer' | 'rttMs'>
type Rated = Measured & Pick<Candidate, 'uptimeMs' | 'power'>

/** 0..100. Only of the candidate and the pool, not of who votes now: a change of voters must not make another. */
export function scoreOf(candidate: Rated, pool: readonly Measured[], losses: number): number {
  const near = 1 - Math.min(medianRttMs(candidate, pool), RTT_WORST_MS) / RTT_WORST_MS
  const uptime = Math.min(candidate.uptimeMs, DAY_MS) / DAY_MS
  return (
    WEIGHTS.near * near +
    WEIGHTS.steady / (1 + losses) +
    (candidate.power === 'mains' ? WEIGHTS.mains : 0) +
    WEIGHTS.uptime * uptime
  )
}

/** To the nearer half of the others: what a commit by a majority of them takes. 0 when there are no others. */
export function medianRttMs(candidate: Measured, others: readonly Measured[]): number {
  const all = new Float64Array(others.length)
  let count = 0
  for (const other of others) if (other.peer !== candidate.peer) all[count++] = rttBetween(candidate, other)
  return all.subarray(0, count).sort()[Math.floor((count - 1) / 2)] ?? 0
}

/** Either of the two has measured it; both have: the longer, which is the one that matters. */
function rttBetween(a: Measured, b: Measured): number {
  const there = a.rttMs[b.peer]
  const back = b.rttMs[a.peer]
  if (there === undefined && back === undefined) return RTT_UNKNOWN_MS
  return Math.max(there ?? 0, back ?? 0)
}

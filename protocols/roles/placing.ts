/**
 * Where the lead should be: with the voter that reaches a majority soonest. By transfer, which is never a matter of
 * safety; with hysteresis, because each costs a few round trips in which nothing is proposed.
 */
import { type Candidate, medianRttMs } from './candidate.ts'

/** How much better another must be, for how long, and how long after the last change of leader. */
const BETTER_SHARE = 0.8
const BETTER_MS = 5
const BETTER_FOR_MS = 30_000
const LEAD_MS_MIN = 300_000
/** A leader on a battery had better be another, if that is not much farther. */
const BATTERY_MS = 50

export type Placing = {
  /** Since when this peer leads, or when it last tried not to. */
  lastMs: number
  better: { readonly member: string; readonly sinceMs: number } | undefined
  /** Heirs to whom a transfer was tried, and when. */
  readonly tried: Map<string, number>
}

export const newPlacing = (nowMs: number): Placing => ({ lastMs: nowMs, better: undefined, tried: new Map() })

/** @returns The voter that should lead instead of `self`; undefined while it need not be another. */
export function placeLeader(
  placing: Placing,
  self: string,
  voters: readonly Candidate[],
  nowMs: number,
): string | undefined {
  const cost = (voter: Candidate): number =>
    medianRttMs(voter, voters) + (voter.power === 'battery' ? BATTERY_MS : 0)
  const own = voters.find(({ member }) => member === self)
  if (own === undefined) return undefined
  const enough = Math.min(cost(own) * BETTER_SHARE, cost(own) - BETTER_MS)
  const better = voters
    .filter((each) => each.reachable && each.caughtUp && !each.draining && !each.leaving && !each.noVote)
    .filter((each) => cost(each) <= enough)
    .toSorted((a, b) => cost(a) - cost(b) || (a.member < b.member ? -1 : 1))
    .map(({ member }) => member)
  const [best] = better
  if (best === undefined) {
    placing.better = undefined
    return undefined
  }
  // Of several that are equally near now one, now another is measured to be the nearest: that is no reason to wait anew.
  if (placing.better === undefined || !better.includes(placing.better.member))
    placing.better = { member: best, sinceMs: nowMs }
  if (nowMs - placing.better.sinceMs < BETTER_FOR_MS || nowMs - placing.lastMs < LEAD_MS_MIN) return undefined
  placing.lastMs = nowMs
  return placing.better.member
}

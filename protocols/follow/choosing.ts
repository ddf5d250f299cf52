/**
 * Whom a follower asks. Loops cannot last: inside a site a follower asks only peers whose id is less than its own, so one
 * peer of a site, the least of those in reach of a member, crosses the WAN; and whatever way news took is named with
 * them (a path vector), so whoever finds itself in it looks elsewhere.
 */
import type { PeerId } from '../ids.ts'
import { FOLLOW_AGAIN_MS_MAX, FOLLOW_AGAIN_MS_MIN } from '../limits.ts'

export type Candidate = {
  readonly peer: PeerId
  /** Of the follower's own site. */
  readonly near: boolean
  /** Of the group: a voter or a learner. */
  readonly member: boolean
  readonly connected: boolean
  /** Undefined until it is measured. */
  readonly rttMs: number | undefined
}

/** Those that had nothing to give, and for how long they are left alone. */
export type Resting = Map<PeerId, { readonly untilMs: number; readonly waitMs: number }>

/** Best first. */
export function ranked(self: PeerId, candidates: readonly Candidate[]): Candidate[] {
  return candidates
    .filter(({ peer }) => peer !== self)
    .map((candidate) => ({ candidate, rank: rankOf(self, candidate) }))
    .sort((a, b) => a.rank - b.rank || order(a.candidate, b.candidate))
    .map(({ candidate }) => candidate)
}

/**
 * Connections that exist go before dials. Then a member of the own site, a neighbour that follows for the site, a member
 * elsewhere, and anybody: a neighbour first.
 */
export function rankOf(self: PeerId, { peer, near, member, connected }: Candidate): number {
  const far = connected ? 0 : 5
  if (near && member) return far
  if (near && peer < self) return far + 1
  if (member) return far + 2
  return near ? far + 3 : far + 4
}

/** Among neighbours the least id, so that one serves the site; among others the shortest way. */
const order = (a: Candidate, b: Candidate): number =>
  (a.near && b.near && !a.member && !b.member ? 0 : (a.rttMs ?? Infinity) - (b.rttMs ?? Infinity) || 0) ||
  (a.peer < b.peer ? -1 : 1)

/** Doubles as long as it had nothing. */
export function rest(resting: Resting, peer: PeerId, nowMs: number): void {
  const before = resting.get(peer)?.waitMs ?? FOLLOW_AGAIN_MS_MIN / 2
  const waitMs = Math.min(2 * before, FOLLOW_AGAIN_MS_MAX)
  resting.set(peer, { untilMs: nowMs + waitMs, waitMs })
}

export const isResting = (resting: Resting, peer: PeerId, nowMs: number): boolean =>
  nowMs < (resting.get(peer)?.untilMs ?? -Infinity)

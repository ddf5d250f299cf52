/** How steadily a leader has seen each candidate: who comes and goes must stay longer before it is relied on. */
import type { Candidate } from './candidate.ts'

type Sight = { reachable: boolean; sinceMs: number; losses: number; lostMs: number }
export type Sights = Map<string, Sight>

export const newSights = (): Sights => new Map()

/** A loss of sight is forgotten after this long without another. */
const FORGIVEN_MS = 600_000
/** More count as this many: 32 times the patience is enough. */
const LOSSES_MAX = 5

/** Takes a look. Who is seen first is taken at what the leader has watched before it led. */
export function see(sights: Sights, candidates: readonly Candidate[], nowMs: number): void {
  const there = new Set(candidates.map(({ member }) => member))
  for (const member of sights.keys()) if (!there.has(member)) sights.delete(member)
  for (const { member, reachable, standingMs } of candidates) {
    const sight = sights.get(member)
    if (sight === undefined) {
      sights.set(member, { reachable, sinceMs: nowMs - standingMs, losses: 0, lostMs: 0 })
    } else if (sight.reachable !== reachable) {
      if (!reachable) Object.assign(sight, { losses: lossesOf(sights, member, nowMs) + 1, lostMs: nowMs })
      Object.assign(sight, { reachable, sinceMs: nowMs })
    }
  }
}

/** For how long it has been as it is: in sight, or out of it. */
export const standsFor = (sights: Sights, member: string, nowMs: number): number =>
  nowMs - (sights.get(member)?.sinceMs ?? nowMs)

export function lossesOf(sights: Sights, member: string, nowMs: number): number {
  const sight = sights.get(member)
  if (sight === undefined) return 0
  const forgiven = Math.floor((nowMs - sight.lostMs) / FORGIVEN_MS)
  return Math.min(LOSSES_MAX, Math.max(0, sight.losses - forgiven))
}

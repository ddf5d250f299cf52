/**
 * Peers that are asked what they hold of an image which they may never have seen: those of the own site, then two each of the
 * nearest other sites, by measured round trips. Pure.
 */
import type { PeerId } from '../protocols/ids.ts'
import { NEIGHBOUR_SITES_MAX, NEIGHBOURS_MAX } from '../protocols/limits.ts'

/** Of one site: enough that one which is busy does not stand for all. */
const OF_A_SITE = 2

export type Neighbour = {
  readonly peer: PeerId
  readonly site: string
  /** Undefined while it is not measured: then it is not connected, or only just. */
  readonly rttMs: number | undefined
}

/** @returns at most NEIGHBOURS_MAX, nearest first; of other sites only peers whose distance is known. */
export function neighboursOf(site: string, others: readonly Neighbour[]): PeerId[] {
  const byDistance = others.toSorted((a, b) => (a.rttMs ?? Infinity) - (b.rttMs ?? Infinity))
  const near = byDistance.filter((each) => each.site === site)
  const far = new Map<string, PeerId[]>()
  for (const { peer, rttMs, site: at } of byDistance) {
    if (at === site || rttMs === undefined) continue
    const of = far.get(at)
    if (of !== undefined && of.length < OF_A_SITE) of.push(peer)
    else if (of === undefined && far.size < NEIGHBOUR_SITES_MAX) far.set(at, [peer])
  }
  const away = [...far.values()].flat()
  const room = NEIGHBOURS_MAX - away.length
  return [...near.slice(0, room).map(({ peer }) => peer), ...away]
}

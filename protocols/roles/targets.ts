/**
 * How many voters a group should have, who they should be, and how they are spread (DESIGN section 3). Pure tables and
 * choices; when a choice is acted on is decided in roles.ts.
 */
import type { Candidate } from './candidate.ts'
import { type Caps, countOf, fits, roomFor } from './spread.ts'

export type Kind = 'mesh' | 'site'

/** The greatest number of voters, by what there is: the first row that is met. Etcd advises five, at most seven. */
const MESH: readonly (readonly [sites: number, peers: number, voters: number])[] = [
  [7, 7, 7],
  [3, 5, 5],
  [2, 3, 3],
  [1, 5, 5],
  [1, 3, 3],
  [1, 1, 1],
]
const SITE: typeof MESH = [
  [1, 5, 5],
  [1, 3, 3],
  [1, 1, 1],
]

export type Target = {
  readonly voters: number
  readonly caps: Caps
}

/** @param eligible Everybody who may vote, in sight or not: a site that is cut off is still a site. */
export function targetOf(kind: Kind, eligible: readonly Candidate[]): Target {
  const sites = countOf(eligible.map(({ site }) => site)).size
  const uplinks = countOf(eligible.map(({ uplink }) => uplink)).size
  const rows = kind === 'mesh' ? MESH : SITE
  const most = rows.find((row) => sites >= row[0] && eligible.length >= row[1])?.[2] ?? 1
  // Fewer voters that no uplink takes along are better than more that one does; sites are never given up on.
  for (const heedUplinks of [true, false]) {
    for (let voters = most; voters > 1; voters -= 2) {
      const caps = capsOf(kind, voters, sites, heedUplinks ? uplinks : 0)
      if (roomFor(eligible, [], caps, voters) === voters) return { voters, caps }
    }
  }
  return { voters: 1, caps: { site: Infinity, uplink: Infinity } }
}

/** From three sites, or three uplinks, no majority is behind one; of two, one must have it. */
function capsOf(kind: Kind, voters: number, sites: number, uplinks: number): Caps {
  const minority = (voters - 1) / 2
  const siteCap = sites >= 3 ? minority : sites === 2 ? minority + 1 : Infinity
  return {
    site: kind === 'mesh' ? siteCap : Infinity,
    uplink: kind === 'mesh' && uplinks >= 3 ? minority : Infinity,
  }
}

export type Scored = Candidate & {
  /** With what a voter has ahead of others. */
  readonly points: number
}

/**
 * The best voters: fewest of a site, then of an uplink, then in the better site, then the better itself; as many as
 * the caps let in, at most `target.voters`.
 */
export function choose(from: readonly Scored[], { voters, caps }: Target): Scored[] {
  const best = new Map<string, number>()
  for (const { site, points } of from) best.set(site, Math.max(best.get(site) ?? 0, points))
  const chosen: Scored[] = []
  let left = [...from]
  const count = roomFor(left, [], caps, voters)
  while (chosen.length < count) {
    const bySite = countOf(chosen.map(({ site }) => site))
    const byUplink = countOf(chosen.map(({ uplink }) => uplink))
    const order = (a: Scored, b: Scored): number =>
      (bySite.get(a.site) ?? 0) - (bySite.get(b.site) ?? 0) ||
      (byUplink.get(a.uplink) ?? 0) - (byUplink.get(b.uplink) ?? 0) ||
      (best.get(b.site) ?? 0) - (best.get(a.site) ?? 0) ||
      b.points - a.points ||
      (a.member < b.member ? -1 : 1)
    // The first whose choice leaves room for all that are still to come.
    const next = left.toSorted(order).find((each) => {
      const taken = [...chosen, each]
      const rest = left.filter((other) => other !== each)
      return fits(taken, caps) && taken.length + roomFor(rest, taken, caps, count - taken.length) >= count
    })
    if (next === undefined) break
    chosen.push(next)
    left = left.filter((each) => each !== next)
  }
  return chosen
}

/**
 * How many of some places can be chosen with at most so many of one site and of one uplink: the greatest flow from sites
 * to uplinks (Ford and Fulkerson 1956), which is small here. Sites may share an uplink, and a site may have several.
 */
export type Place = { readonly site: string; readonly uplink: string }
export type Caps = { readonly site: number; readonly uplink: number }

type Choice = {
  /** Not chosen yet. */
  free: Place[]
  /** Chosen, and free to give way to another of the same site. */
  chosen: Place[]
  readonly bySite: Map<string, number>
  readonly byUplink: Map<string, number>
  readonly caps: Caps
}

/** How many of `places` fit beside those `taken`; counting stops at `enough`. 0 when those do not fit themselves. */
export function roomFor(
  places: readonly Place[],
  taken: readonly Place[],
  caps: Caps,
  enough: number,
): number {
  if (!fits(taken, caps)) return 0
  const choice: Choice = {
    free: [...places],
    chosen: [],
    bySite: countOf(taken.map(({ site }) => site)),
    byUplink: countOf(taken.map(({ uplink }) => uplink)),
    caps,
  }
  while (choice.chosen.length < enough && chooseOneMore(choice)) continue
  return choice.chosen.length
}

export function fits(places: readonly Place[], caps: Caps): boolean {
  return mostOf(places, 'site') <= caps.site && mostOf(places, 'uplink') <= caps.uplink
}

/** Of how many places the fullest site or uplink has its share. */
export const mostOf = (places: readonly Place[], by: 'site' | 'uplink'): number =>
  Math.max(0, ...countOf(places.map((place) => place[by])).values())

export function countOf(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

function chooseOneMore(choice: Choice): boolean {
  const { free, bySite, caps } = choice
  for (const site of new Set(free.map((place) => place.site))) {
    if ((bySite.get(site) ?? 0) >= caps.site || !route(choice, site, new Set())) continue
    bySite.set(site, (bySite.get(site) ?? 0) + 1)
    return true
  }
  return false
}

/** One more of `site`, over an uplink with room, or over one that another site can leave. */
function route(choice: Choice, site: string, seen: Set<string>): boolean {
  if (seen.has(site)) return false
  seen.add(site)
  const { byUplink, caps } = choice
  const own = choice.free.filter((place) => place.site === site)
  const open = own.find(({ uplink }) => (byUplink.get(uplink) ?? 0) < caps.uplink)
  if (open !== undefined) {
    byUplink.set(open.uplink, (byUplink.get(open.uplink) ?? 0) + 1)
    move(choice, open)
    return true
  }
  for (const place of own) {
    for (const other of choice.chosen.filter(({ uplink }) => uplink === place.uplink)) {
      if (other.site === site || !route(choice, other.site, seen)) continue
      choice.chosen = choice.chosen.filter((each) => each !== other)
      choice.free.push(other)
      move(choice, place)
      return true
    }
  }
  return false
}

function move(choice: Choice, place: Place): void {
  choice.free = choice.free.filter((each) => each !== place)
  choice.chosen.push(place)
}

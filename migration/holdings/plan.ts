/**
 * What a download would bring over which link, before it is made. Pure: what is missing here, who holds which of it, and what
 * stored frames take go in; bytes by site come out.
 *
 * The rules are the picker's. What a peer of this site holds comes from there, all else from afar. What several other sites
 * hold may come from any of them: how much is for their speeds to say, so each is given an equal part as what is expected, and
 * what only it holds and all that it holds as the least and the most.
 */
import type { PeerId } from '../../protocols/ids.ts'
import { HAVE_SECTION_CHUNKS, LISTED_CHUNKS_MAX } from '../../protocols/limits.ts'
import { isSet } from '../../protocols/swarm/have-map.ts'

export type Holder = {
  readonly peer: PeerId
  readonly site: string
  readonly near: boolean
  /** It has the manifest; else it was asked about chunks by their names, and is sent a list of them. */
  readonly knows: boolean
  /** One bit for each chunk of the image: what it holds of what is missing here. */
  readonly have: Uint8Array
  /** How many those are, and what they take as stored frames. */
  readonly held: number
  readonly frameBytes: number
}

/** Chunks that the same sites hold, and for each of them somebody who can say what it takes. */
export type Class = {
  readonly near: boolean
  readonly sites: readonly string[]
  readonly chunks: number
  readonly parts: readonly { readonly holder: Holder; readonly indexes: readonly number[] }[]
}

export type Link = {
  readonly site: string
  readonly near: boolean
  readonly peers: number
  readonly chunks: number
  /** What is expected to cross it, both ways; the least and the most. */
  readonly wireBytes: number
  readonly wireBytesMin: number
  readonly wireBytesMax: number
}

/** Far sites that are told apart in who holds what; more of them are counted with the last one. */
const SITES_MAX = 30

export function classify(
  needed: readonly number[],
  holders: readonly Holder[],
): { readonly classes: readonly Class[]; readonly nowhere: number } {
  const near = holders.filter((each) => each.near)
  const far = holders.filter((each) => !each.near)
  const sites = [...new Set(far.map(({ site }) => site))]
  const bitOf = new Map(sites.map((site, at) => [site, 1 << Math.min(at, SITES_MAX - 1)]))
  const found = new Map<number, Map<Holder, number[]>>()
  let nowhere = 0
  for (const index of needed) {
    const holds = (holder: Holder): boolean => isSet(holder.have, index)
    const from = near.find(holds) ?? far.find(holds)
    if (from === undefined) {
      nowhere++
      continue
    }
    let key = 0
    if (!from.near) for (const each of far) if (holds(each)) key |= bitOf.get(each.site) as number
    const parts = found.get(key) ?? new Map<Holder, number[]>()
    const indexes = parts.get(from) ?? []
    indexes.push(index)
    parts.set(from, indexes)
    found.set(key, parts)
  }
  const classes = [...found].map(([key, parts]): Class => {
    const ofThese = sites.filter((site) => ((bitOf.get(site) as number) & key) !== 0)
    return {
      near: key === 0,
      sites: key === 0 ? [near[0]?.site ?? ''] : ofThese,
      chunks: [...parts.values()].reduce((sum, { length }) => sum + length, 0),
      parts: [...parts].map(([holder, indexes]) => ({ holder, indexes })),
    }
  })
  return { classes, nowhere }
}

/** `measured`: a class and what its chunks take as stored frames. */
export function linksOf(
  measured: readonly { readonly of: Class; readonly frameBytes: number }[],
  holders: readonly Holder[],
  { chunks, needed }: { readonly chunks: number; readonly needed: number },
): Link[] {
  const sites = new Map<string, { near: boolean; holders: Holder[] }>()
  for (const holder of holders) {
    const site = sites.get(holder.site) ?? { near: holder.near, holders: [] }
    site.holders.push(holder)
    sites.set(holder.site, site)
  }
  const links: Link[] = []
  for (const [site, { near, holders: of }] of sites) {
    const mine = measured.filter(({ of: each }) => each.near === near && each.sites.includes(site))
    const sum = (part: (of: Class) => number, value: (of: Class, frameBytes: number) => number): number =>
      mine.reduce((all, { of: each, frameBytes }) => all + part(each) * value(each, frameBytes), 0)
    const equal = ({ sites: { length } }: Class): number => 1 / Math.max(1, length)
    const alone = ({ sites: { length } }: Class): number => (length <= 1 ? 1 : 0)
    const bytes = ({ chunks: count }: Class, frameBytes: number): number => frameBytes + count * PER_CHUNK
    const fixed = of.reduce((all, holder) => all + talk(holder, chunks, needed), 0)
    links.push({
      site,
      near,
      peers: of.length,
      chunks: Math.round(sum(equal, ({ chunks: count }) => count)),
      wireBytes: Math.round(fixed + sum(equal, bytes)),
      wireBytesMin: Math.round(fixed + sum(alone, bytes)),
      wireBytesMax: Math.round(fixed + sum(() => 1, bytes)),
    })
  }
  return links.toSorted((a, b) => Number(b.near) - Number(a.near) || b.wireBytes - a.wireBytes)
}

/** A frame's length and head on the channel, and its index in what is asked for. */
const PER_CHUNK = 4 + 13 + 5
/** `hello`, and the heads of a map, of questions and of news, some of each. */
const TALK_BYTES = 600
/** An index in `have-more`. */
const INDEX_BYTES = 5

/** What is said to a source and by it, chunks aside (protocols/swarm/messages.ts). */
function talk({ held, knows }: Holder, chunks: number, needed: number): number {
  if (!knows) return TALK_BYTES + 32 * Math.min(needed, LISTED_CHUNKS_MAX)
  const maps = Math.ceil(chunks / HAVE_SECTION_CHUNKS) * 64 + chunks / 8
  // A source of all that is missing is mostly one of all of it: it shows chunks, and is told what is gained.
  return TALK_BYTES + maps + (held === needed ? 2 * INDEX_BYTES * needed : 0)
}

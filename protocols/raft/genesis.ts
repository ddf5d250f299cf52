/**
 * How a log begins. Whoever founds a group begins with entry 1 of term 1, which says who votes first, and counts as agreed;
 * everybody else begins with nothing and learns all of it from a leader. A later generation begins with a snapshot.
 */
import { partsOf } from '../epoch.ts'
import { encodeChange, NOBODY } from './configuration.ts'
import type { MemberId } from './member.ts'
import type { ConfigurationChange, Recovered } from './types.ts'

const nothing = { index: 0, term: 0, configuration: NOBODY, data: new Uint8Array() }

/** The log of a founder. Several may found a group together, if each of them begins with the same voters. */
export function genesis(voters: readonly MemberId[]): Recovered {
  const changes = voters.toSorted().map((peer) => ({ kind: 'add-node' as const, peer }))
  const first: ConfigurationChange = { transition: 'auto', changes }
  return {
    hardState: { term: 1, vote: '', commit: 1 },
    snapshot: nothing,
    entries: [{ term: 1, index: 1, kind: 'configuration', data: encodeChange(first) }],
  }
}

/** The log of a member that has yet to hear of its group: it votes when asked, and never campaigns. */
export const emptyLog = (): Recovered => ({
  hardState: { term: 0, vote: '', commit: 0 },
  snapshot: nothing,
  entries: [],
})

/** No generation writes as much: at a thousand entries a second, thirty-four years. Two thousand generations fit a log's numbers. */
const GENERATION_ENTRIES = 2 ** 41
/** And none before it gives way to a rival: at a thousand a second, five hours. */
const RIVAL_ENTRIES = 2 ** 24

/**
 * Where the log of a later generation begins. Sessions are named by indexes, and hosts take what they know for newer by a
 * higher one: so none that a lost log used, or that a rival uses, comes again, and a later generation is always higher.
 */
export function firstIndex(generation: number): number {
  const { ordinal, mark } = partsOf(generation)
  return ordinal * GENERATION_ENTRIES + mark * RIVAL_ENTRIES
}

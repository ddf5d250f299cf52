/**
 * How a log begins. Whoever founds a group begins with entry 1 of term 1, which says who votes first, and counts as agreed;
 * everybody else begins with nothing and learns all of it from a leader. A later generation begins with a snapshot.
 */
import { markOf } from '../epoch.ts'
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

/** No log that is lost was longer than this past what is left: at a thousand entries a second, fifty days. */
const INDEX_GAP = 2 ** 32
/** And none that a rival generation wrote before one of the two gave way: at a thousand a second, five hours. */
const RIVAL_GAP = 2 ** 24

/**
 * Where the log of a generation begins that follows one of which `last` is the newest index known. Sessions are named by
 * indexes: none that the lost log used, or that a rival begun from the same entry uses, may come again. Four thousand
 * generations fit the numbers of a log.
 */
export const indexAfter = (last: number, generation: number): number =>
  last + INDEX_GAP + markOf(generation) * RIVAL_GAP

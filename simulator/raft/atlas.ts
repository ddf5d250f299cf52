/**
 * The fault atlas: which logs may be lost so that no data is. A lost log counts as a voter that will never vote again; in
 * every configuration that is or may come into force a majority must be left, in both halves.
 */
import { decodeChange } from '../../protocols/raft/configuration.ts'
import { changed } from '../../protocols/raft/confchange.ts'
import type { MemberId } from '../../protocols/raft/member.ts'
import type { Configuration, Entry } from '../../protocols/raft/types.ts'
import type { Member } from './member.ts'

/**
 * Every configuration that a member has, or would have if what its log holds were committed; and that it would have after a
 * restart, which knows of less that is committed.
 */
export function configurations(members: Iterable<Member>): Configuration[] {
  const found = new Set<Configuration>()
  for (const { raft, durable, gone } of members) {
    if (gone) continue
    for (const each of made(raft.configuration, raft.log.entries, raft.log.applying, raft.log.applying))
      found.add(each)
    const { snapshot, entries, hardState } = durable
    for (const each of made(snapshot.configuration, entries, snapshot.index, hardState.commit))
      found.add(each)
  }
  return [...found]
}

/** What the entries behind `from` make of a configuration, one after the other: as of `commit`, and of each after that. */
function made(
  from: Configuration,
  entries: readonly Entry[],
  index: number,
  commit: number,
): Configuration[] {
  let last = from
  const open: Configuration[] = []
  for (const entry of entries) {
    if (entry.kind !== 'configuration' || entry.index <= index) continue
    if (entry.index > commit) open.push(last)
    const outcome = changed(last, decodeChange(entry.data))
    if ('configuration' in outcome) last = outcome.configuration
  }
  return [...open, last]
}

/** Whether `able` members are enough in each half. */
export function hasQuorum(
  { voters, votersOutgoing }: Configuration,
  able: (id: MemberId) => boolean,
): boolean {
  return [voters, votersOutgoing].every(
    (half) => half.length === 0 || half.filter(able).length > Math.floor(half.length / 2),
  )
}

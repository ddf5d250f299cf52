/**
 * The fault atlas: which logs may be lost so that no data is. A lost log counts as a voter that will never vote again; in
 * every configuration that is or may come into force a majority must be left, in both halves.
 */
import { decodeChange } from '../../protocols/raft/configuration.ts'
import { changed } from '../../protocols/raft/confchange.ts'
import type { MemberId } from '../../protocols/raft/member.ts'
import type { Configuration } from '../../protocols/raft/types.ts'
import type { Member } from './member.ts'

/** Every configuration that a member has, or would have if what its log holds were committed. */
export function configurations(members: Iterable<Member>): Configuration[] {
  const found = new Set<Configuration>()
  for (const { raft, gone } of members) {
    if (gone) continue
    found.add(raft.configuration)
    let last = raft.configuration
    for (const entry of raft.log.entries) {
      if (entry.kind !== 'configuration' || entry.index <= raft.log.applying) continue
      const outcome = changed(last, decodeChange(entry.data))
      if ('configuration' in outcome) last = outcome.configuration
      found.add(last)
    }
  }
  return [...found]
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

/** Changes of who is in the group, as the leader proposes them and every member puts them in force. */
import { membersOf } from './configuration.ts'
import type { Configuration, ConfigurationChange } from './types.ts'

/** Total and idempotent, because entries are applied again after a restart: adding a member changes nothing. */
export function changed(before: Configuration, { changes }: ConfigurationChange): Configuration {
  let after = before
  for (const { kind, peer } of changes) {
    if (kind === 'add-node' && !after.voters.includes(peer)) {
      const learners = after.learners.filter((each) => each !== peer)
      after = { ...after, voters: [...after.voters, peer].sort(), learners }
    } else if (kind === 'add-learner-node' && !membersOf(after).includes(peer)) {
      after = { ...after, learners: [...after.learners, peer].sort() }
    } else if (kind === 'remove-node') {
      after = { ...after, learners: after.learners.filter((each) => each !== peer) }
    }
  }
  return after
}

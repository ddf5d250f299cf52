/**
 * Who is in a group. It changes by entries of the log, each in force from the moment it is applied (confchange.ts says
 * how). Empty until the group's first entry, which takes its changes as they stand.
 */
import { codec } from '../codec.ts'
import { LEARNERS_MAX, VOTERS_MAX } from '../limits.ts'
import { boolean, list, oneOf, record, type Shape } from '../shape.ts'
import { type MemberId, memberId } from './member.ts'
import type { Configuration, ConfigurationChange } from './types.ts'

export const configuration: Shape<Configuration> = record({
  voters: list(memberId, VOTERS_MAX),
  votersOutgoing: list(memberId, VOTERS_MAX),
  learners: list(memberId, LEARNERS_MAX),
  learnersNext: list(memberId, VOTERS_MAX),
  autoLeave: boolean,
})

export const NOBODY: Configuration = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
}

const changeShape: Shape<ConfigurationChange> = record({
  transition: oneOf('auto', 'implicit', 'explicit'),
  /** As many as turn every voter into a learner and bring as many new ones. */
  changes: list(
    record({ kind: oneOf('add-node', 'add-learner-node', 'remove-node', 'update-node'), peer: memberId }),
    2 * VOTERS_MAX,
  ),
})
const changeRecord = codec('raft configuration change', changeShape)

/** The data of a `configuration` entry. No data is the change that leaves a joint configuration: it always has room. */
export const encodeChange = (change: ConfigurationChange): Uint8Array =>
  isLeaveJoint(change) ? new Uint8Array() : changeRecord.encode(change)

export const decodeChange = (data: Uint8Array): ConfigurationChange =>
  data.length === 0 ? { transition: 'auto', changes: [] } : changeRecord.decode(data)

export const isLeaveJoint = ({ transition, changes }: ConfigurationChange): boolean =>
  transition === 'auto' && changes.length === 0

/** Both halves of a joint configuration vote. */
export const isVoter = ({ voters, votersOutgoing }: Configuration, member: MemberId): boolean =>
  voters.includes(member) || votersOutgoing.includes(member)

/** Everybody who may vote, once each, in order of their ids. */
export const votersOf = once(({ voters, votersOutgoing }) =>
  [...new Set([...voters, ...votersOutgoing])].sort(),
)

/** Everybody who gets the log, once each, in order of their ids. */
export const membersOf = once((configuration) =>
  [...new Set([...votersOf(configuration), ...configuration.learners])].sort(),
)

/** A configuration never changes, and is asked with every message: what was found out is kept beside it. */
function once(
  find: (configuration: Configuration) => readonly MemberId[],
): (configuration: Configuration) => readonly MemberId[] {
  const found = new WeakMap<Configuration, readonly MemberId[]>()
  return (configuration) => {
    const known = found.get(configuration) ?? find(configuration)
    found.set(configuration, known)
    return known
  }
}

/** A group that `member` may decide for alone. */
export const isSoleVoter = ({ voters, votersOutgoing }: Configuration, member: MemberId): boolean =>
  voters.length === 1 && [...voters, ...votersOutgoing].every((voter) => voter === member)

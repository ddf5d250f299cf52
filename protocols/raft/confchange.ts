/**
 * Changes of who is in a group, as rules on a configuration: simple ones, of at most one voter, and joint ones (Raft
 * section 6; thesis 4.3), under which the old and the new majority must both agree until the new one is left alone:
 *
 *   (1 2 3) ──enterJoint──▶ (1 2 4)&&(1 2 3) ──leaveJoint──▶ (1 2 4)
 *
 * Pure: a configuration in, another one or the reason for a refusal out, so that every member that applies an entry
 * comes to the same. Names, reasons and the text of a configuration are etcd's (its confchange package).
 *
 * Invariants, of everything that comes out: voters, outgoing voters and learners are in order of their ids, each once;
 * nobody is a learner and a voter of either half; who is staged in `learnersNext` votes in the outgoing half; without an
 * outgoing half nobody is staged and `autoLeave` is off.
 */
import { NOBODY } from './configuration.ts'
import type { MemberId } from './member.ts'
import type { Configuration, ConfigurationChange, SingleChange } from './types.ts'

export type Outcome = { readonly configuration: Configuration } | { readonly refused: string }

/**
 * What an entry makes of the configuration in force. Of several changes, or when told, it makes a joint configuration;
 * of none it leaves one. An empty configuration takes the changes as they stand: nobody is there to agree.
 */
export function changed(before: Configuration, { transition, changes }: ConfigurationChange): Outcome {
  if (transition === 'auto' && changes.length === 0) return leaveJoint(before)
  if (isEmpty(before)) return checked(applied(before, changes))
  if (transition === 'auto' && changes.length === 1) return simple(before, changes)
  return enterJoint(before, transition !== 'explicit', changes)
}

/** At most one voter may come or go: then any majority of before meets any majority of after. */
export function simple(before: Configuration, changes: readonly SingleChange[]): Outcome {
  if (isJoint(before)) return { refused: "can't apply simple config change in joint config" }
  const after = applied(before, changes)
  if ('refused' in after) return after
  const { voters } = after.configuration
  const came = voters.filter((member) => !before.voters.includes(member))
  const went = before.voters.filter((member) => !voters.includes(member))
  if (came.length + went.length > 1) {
    return { refused: 'more than one voter changed without entering joint config' }
  }
  return checked(after)
}

/** `autoLeave`: the leader proposes to leave as soon as this is applied; else whoever asked for it has to. */
export function enterJoint(
  before: Configuration,
  autoLeave: boolean,
  changes: readonly SingleChange[],
): Outcome {
  if (isJoint(before)) return { refused: 'config is already joint' }
  if (before.voters.length === 0) return { refused: "can't make a zero-voter config joint" }
  return checked(applied({ ...before, votersOutgoing: before.voters, autoLeave }, changes))
}

export function leaveJoint(before: Configuration): Outcome {
  if (!isJoint(before)) return { refused: "can't leave a non-joint config" }
  const { voters, learners, learnersNext } = before
  return checked({
    configuration: { ...NOBODY, voters, learners: sorted([...learners, ...learnersNext]) },
  })
}

const isJoint = ({ votersOutgoing }: Configuration): boolean => votersOutgoing.length > 0

const isEmpty = ({ voters, votersOutgoing, learners }: Configuration): boolean =>
  voters.length + votersOutgoing.length + learners.length === 0

/** Changes go to the incoming half, one after the other; a change that is one already, changes nothing. */
function applied(before: Configuration, changes: readonly SingleChange[]): Outcome {
  const configuration = changes.reduce(one, before)
  return configuration.voters.length === 0 ? { refused: 'removed all voters' } : { configuration }
}

function one(before: Configuration, { kind, peer: member }: SingleChange): Configuration {
  switch (kind) {
    case 'add-node':
      return withVoter(before, member)
    case 'add-learner-node':
      return withLearner(before, member)
    case 'remove-node':
      return without(before, member)
    case 'update-node':
      // Says that something else about the member has changed, which is not the configuration's.
      return before
  }
}

function withVoter(before: Configuration, member: MemberId): Configuration {
  const rest = without(before, member)
  return { ...rest, voters: sorted([...rest.voters, member]) }
}

/** Who still votes in the outgoing half is staged, and becomes a learner when that half ends. */
function withLearner(before: Configuration, member: MemberId): Configuration {
  const rest = without(before, member)
  const list = rest.votersOutgoing.includes(member) ? 'learnersNext' : 'learners'
  return { ...rest, [list]: sorted([...rest[list], member]) }
}

function without(before: Configuration, member: MemberId): Configuration {
  const others = (members: readonly MemberId[]): MemberId[] => members.filter((other) => other !== member)
  const { voters, learners, learnersNext } = before
  return {
    ...before,
    voters: others(voters),
    learners: others(learners),
    learnersNext: others(learnersNext),
  }
}

const sorted = (members: readonly MemberId[]): MemberId[] => [...new Set(members)].sort()

function checked(outcome: Outcome): Outcome {
  const fault = 'refused' in outcome ? undefined : faultOf(outcome.configuration)
  return fault === undefined ? outcome : { refused: fault }
}

/** Which invariant a configuration breaks, if any: also for one that somebody else sent. */
export function faultOf(configuration: Configuration): string | undefined {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = configuration
  for (const member of learnersNext) {
    if (!votersOutgoing.includes(member)) return `${member} is in LearnersNext, but not Voters[1]`
    if (learners.includes(member)) return `${member} is in LearnersNext, but is already marked as learner`
  }
  for (const member of learners) {
    if (votersOutgoing.includes(member)) return `${member} is in Learners and Voters[1]`
    if (voters.includes(member)) return `${member} is in Learners and Voters[0]`
  }
  if (isJoint(configuration)) return undefined
  return autoLeave ? 'AutoLeave must be false when not joint' : undefined
}

/** As in etcd's logs: `voters=(1 2 3)&&(1 2) learners=(4) learners_next=(2) autoleave`. */
export function describeConfiguration(
  { voters, votersOutgoing, learners, learnersNext, autoLeave }: Configuration,
  name: (member: MemberId) => string,
): string {
  const list = (members: readonly MemberId[]): string => `(${members.map(name).join(' ')})`
  const parts = [`voters=${list(voters)}${votersOutgoing.length > 0 ? `&&${list(votersOutgoing)}` : ''}`]
  if (learners.length > 0) parts.push(`learners=${list(learners)}`)
  if (learnersNext.length > 0) parts.push(`learners_next=${list(learnersNext)}`)
  if (autoLeave) parts.push('autoleave')
  return parts.join(' ')
}

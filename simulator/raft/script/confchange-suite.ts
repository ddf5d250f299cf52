/**
 * `simple`, `enter-joint` and `leave-joint`: changes of one configuration, one after the other, as etcd's confchange suite
 * prints them. Beside the configuration stands what a leader would keep of each member; `next` tells with which command
 * it came, because every command counts as one more entry in the leader's log.
 */
import { membersOf, NOBODY } from '../../../protocols/raft/configuration.ts'
import {
  describeConfiguration,
  enterJoint,
  leaveJoint,
  type Outcome,
  simple,
} from '../../../protocols/raft/confchange.ts'
import type { MemberId } from '../../../protocols/raft/member.ts'
import type { Configuration, SingleChange } from '../../../protocols/raft/types.ts'
import { isTrue, valueOf } from './arguments.ts'
import type { Command } from './data-driven.ts'
import { nameOf, nodeOf, parseChanges } from './members.ts'

export const CONFCHANGE_COMMANDS = ['simple', 'enter-joint', 'leave-joint']

export type ConfchangeSuite = {
  configuration: Configuration
  /** The next entry that each member would be sent. */
  next: ReadonlyMap<MemberId, number>
  lastIndex: number
}

export const newConfchangeSuite = (): ConfchangeSuite => ({
  configuration: NOBODY,
  next: new Map(),
  lastIndex: 0,
})

export function performConfchange(suite: ConfchangeSuite, command: Command): string {
  const lastIndex = suite.lastIndex++
  const input = parseChanges(command.input)
  if (command.name === 'leave-joint' && input.length > 0) return 'this command takes no input\n'
  // Number 0 is what etcd's server writes over a change that it has decided to leave out.
  const changes = input.filter(({ peer }) => nodeOf(peer) !== 0)
  const outcome = perform(suite.configuration, command, changes)
  if ('refused' in outcome) return `${outcome.refused}\n`
  suite.configuration = outcome.configuration
  const fresh = Math.max(lastIndex, 1)
  const members = membersOf(suite.configuration)
  const isNew = (member: MemberId): boolean => isForgotten(suite.configuration, member, changes)
  suite.next = new Map(
    members.map((member) => [member, isNew(member) ? fresh : (suite.next.get(member) ?? fresh)]),
  )
  return describe(suite)
}

/** Removed and added again by one change; who still votes in the old majority was never gone. */
const isForgotten = (
  { votersOutgoing }: Configuration,
  member: MemberId,
  changes: readonly SingleChange[],
): boolean =>
  !votersOutgoing.includes(member) &&
  changes.some(({ kind, peer }) => kind === 'remove-node' && peer === member)

function perform(before: Configuration, command: Command, changes: SingleChange[]): Outcome {
  const { name } = command
  if (name === 'simple') return simple(before, changes)
  if (name === 'enter-joint') {
    return enterJoint(before, isTrue(valueOf(command, 'autoleave')), changes)
  }
  return leaveJoint(before)
}

function describe({ configuration, next }: ConfchangeSuite): string {
  const lines = [...next].map(([member, index]) => {
    const role = configuration.learners.includes(member) ? ' learner' : ''
    return `${nodeOf(member)}: StateProbe match=0 next=${index}${role}\n`
  })
  return `${describeConfiguration(configuration, nameOf)}\n${lines.join('')}`
}

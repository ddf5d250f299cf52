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
  // Number 0 is what etcd's server writes over a change that it has decided to leave out.
  const changes = parseChanges(command.input).filter(({ peer }) => nodeOf(peer) !== 0)
  const outcome = perform(suite.configuration, command, changes)
  if ('refused' in outcome) return `${outcome.refused}\n`
  suite.configuration = outcome.configuration
  const fresh = Math.max(lastIndex, 1)
  const members = membersOf(suite.configuration)
  suite.next = new Map(members.map((member) => [member, suite.next.get(member) ?? fresh]))
  return describe(suite)
}

function perform(before: Configuration, { name, arguments: all }: Command, changes: SingleChange[]): Outcome {
  if (name === 'simple') return simple(before, changes)
  if (name === 'enter-joint') {
    const autoLeave = all.find(({ key }) => key === 'autoleave')?.values[0] === 'true'
    return enterJoint(before, autoLeave, changes)
  }
  return changes.length > 0 ? { refused: 'this command takes no input' } : leaveJoint(before)
}

function describe({ configuration, next }: ConfchangeSuite): string {
  const lines = [...next].map(([member, index]) => {
    const role = configuration.learners.includes(member) ? ' learner' : ''
    return `${nodeOf(member)}: StateProbe match=0 next=${index}${role}\n`
  })
  return `${describeConfiguration(configuration, nameOf)}\n${lines.join('')}`
}

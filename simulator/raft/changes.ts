/** Changes of configuration as a careless operator proposes them: never so that a group could not go on. */
import { VOTERS_MAX } from '../../protocols/limits.ts'
import { changed } from '../../protocols/raft/confchange.ts'
import { membersOf } from '../../protocols/raft/configuration.ts'
import type { ConfigurationChange, SingleChange } from '../../protocols/raft/types.ts'
import type { Random } from '../random.ts'
import { hasQuorum } from './atlas.ts'
import type { Group } from './group.ts'
import type { Host } from './host.ts'
import type { Member } from './member.ts'

const VOTERS_AIMED_AT = 5

/** @returns What was proposed, if there is a leader to propose it to. */
export function propose(group: Group, hosts: readonly Host[], dice: Random): string | undefined {
  const leaders = group.leaders().filter(({ host }) => !host.paused)
  if (leaders.length === 0) return undefined
  const leader = dice.pick(leaders)
  const { configuration } = leader.raft
  const isExplicit = configuration.votersOutgoing.length > 0 && !configuration.autoLeave
  const change: ConfigurationChange =
    isExplicit && dice.chance(0.8)
      ? { transition: 'auto', changes: [] }
      : {
          transition: dice.pick(['auto', 'implicit', 'implicit', 'explicit'] as const),
          changes: drawn(group, leader, hosts, dice),
        }
  if (!isSafe(group, leader, change)) return undefined
  leader.change(change)
  const texts = change.changes.map(({ kind, peer }) => `${kind} ${peer}`)
  return `${group.name}: ${leader.id} is asked for ${change.transition} [${texts.join(', ')}]`
}

/** A lost log is replaced before anything else; otherwise anything goes. */
function drawn(group: Group, leader: Member, hosts: readonly Host[], dice: Random): SingleChange[] {
  const { voters, learners } = leader.raft.configuration
  const lost = [...voters, ...learners].filter((id) => !group.able(id))
  const spares = group.alive().filter(({ id }) => !membersOf(leader.raft.configuration).includes(id))
  const free = hosts.filter(({ members }) => !members.has(group.name))
  const spare = (): Member =>
    free.length > 0 && (spares.length === 0 || dice.chance(0.5))
      ? group.join(dice.pick(free))
      : dice.pick(spares)
  const hasSpare = spares.length + free.length > 0
  const add = (kind: 'add-node' | 'add-learner-node'): SingleChange[] =>
    hasSpare ? [{ kind, peer: spare().id }] : []
  const remove = (ids: readonly string[]): SingleChange[] =>
    ids.length === 0 ? [] : [{ kind: 'remove-node', peer: dice.pick(ids) }]
  const promote = (): SingleChange[] =>
    learners.length === 0 ? [] : [{ kind: 'add-node', peer: dice.pick(learners) }]
  if (lost.length > 0 && dice.chance(0.8)) {
    return [
      ...remove(lost),
      ...(voters.length <= VOTERS_AIMED_AT ? dice.pick([add, promote])('add-node') : []),
    ]
  }
  return dice.pick([
    () => add('add-learner-node'),
    () => add('add-node'),
    promote,
    () => remove(learners),
    () => remove(voters),
    () => [{ kind: 'add-learner-node' as const, peer: dice.pick(voters) }],
    () => [...remove(voters), ...add('add-node')],
    () => [...remove(voters), ...promote()],
    () => [...remove(voters), ...add('add-learner-node'), ...promote()],
    () => [{ kind: 'update-node' as const, peer: dice.pick(voters) }],
  ])()
}

function isSafe(group: Group, leader: Member, change: ConfigurationChange): boolean {
  const outcome = changed(leader.raft.configuration, change)
  // What no configuration may be the core has to refuse.
  if ('refused' in outcome || outcome.configuration.voters.length > VOTERS_MAX) return true
  const next = outcome.configuration
  return hasQuorum(next, group.able) && hasQuorum({ ...next, votersOutgoing: [] }, group.able)
}

/** What groups are asked to do, and told, at bad moments. */
import { propose } from '../changes.ts'
import { aGroup, awake, type Fault, inS, numbers, SECOND, seconds } from './fault.ts'

export const GROUPS = [
  {
    name: 'change',
    what: 'members are added, removed, promoted, demoted and replaced, also several at once',
    everySeconds: [1, 20],
    strike: (stage, dice) => propose(aGroup(stage, dice), stage.hosts, dice),
  },
  {
    name: 'transfer',
    what: 'a leader is told to hand over to another voter',
    everySeconds: [2, 30],
    strike(stage, dice) {
      const members = awake(aGroup(stage, dice))
      if (members.length === 0) return undefined
      const [via, to] = [dice.pick(members), dice.pick(members)]
      via.feed({ kind: 'transfer', to: to.id })
      return `${via.id} is to hand over to ${to.id}`
    },
  },
  {
    name: 'forget-leader',
    what: 'members are told, rightly or not, that the leader is gone',
    everySeconds: [2, 30],
    strike(stage, dice) {
      const told = awake(aGroup(stage, dice)).filter(() => dice.chance(0.6))
      for (const member of told) member.feed({ kind: 'forget-leader' })
      return `${told.map(({ id }) => id).join(' ')} forget the leader`
    },
  },
  {
    name: 'unreachable',
    what: 'a transport says that a peer is gone',
    everySeconds: [1, 20],
    strike(stage, dice) {
      const group = aGroup(stage, dice)
      const [leader] = group.leaders()
      if (leader === undefined || leader.host.paused) return undefined
      const peer = dice.pick(group.alive()).id
      leader.feed({ kind: 'unreachable', peer })
      return `${leader.id} hears that ${peer} is unreachable`
    },
  },
  {
    name: 'compact',
    what: 'a member makes a snapshot now',
    everySeconds: [0.5, 20],
    strike(stage, dice) {
      const members = awake(aGroup(stage, dice))
      if (members.length === 0) return undefined
      const member = dice.pick(members)
      member.compact()
      return `${member.id} makes a snapshot`
    },
  },
  {
    name: 'snapshot-again',
    what: 'a follower that was cut off and has a slow disk is sent a snapshot, then another leader’s newer one',
    everySeconds: [10, 100],
    strike(stage, dice) {
      const group = aGroup(stage, dice)
      const [leader] = group.leaders()
      const [behind, heir] = dice.shuffle(awake(group).filter((member) => member !== leader))
      if (leader === undefined || behind === undefined || heir === undefined) return undefined
      const { number, disk } = behind.host
      const { minUs } = disk.rates
      const [awayUs, againUs] = [seconds(dice, 3), seconds(dice, 1.5)]
      const compact = (): void => awake(group).forEach((member) => member.compact())
      const all = numbers(stage.hosts)
      stage.network.partition(all, (a, b) => a === number || b === number)
      stage.later(awayUs, () => {
        disk.rates.minUs = SECOND + againUs
        compact()
        stage.network.partition(all, () => false)
      })
      stage.later(awayUs + againUs, () => {
        const via = awake(group).find(({ raft }) => raft.role === 'leader')
        via?.feed({ kind: 'transfer', to: heir.id })
      })
      stage.later(awayUs + againUs + seconds(dice, 0.5), compact)
      stage.later(awayUs + 3 * SECOND, () => (disk.rates.minUs = minUs))
      return `${behind.id} is cut off ${inS(awayUs)}, then ${heir.id} leads after ${inS(againUs)}`
    },
  },
] as const satisfies readonly Fault[]

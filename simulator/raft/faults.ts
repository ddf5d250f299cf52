/**
 * The nemesis: one row for each kind of fault, with how often it strikes a seed that has it and what it does. A row takes
 * dice of its own and says in a line what it did, or nothing when there was nothing to strike.
 */
import type { Random } from '../random.ts'
import { propose } from './changes.ts'
import type { Group } from './group.ts'
import type { Host } from './host.ts'
import type { Member } from './member.ts'
import type { RaftNetwork } from './network.ts'
import type { Timeline } from './timeline.ts'

/** What a fault may take hold of. */
export type Stage = {
  readonly hosts: readonly Host[]
  readonly groups: readonly Group[]
  readonly network: RaftNetwork
  readonly timeline: Timeline
  readonly electionTicks: number
  /** After `delayUs`, if faults are still allowed then. */
  later(delayUs: number, run: () => void): void
  crash(host: Host, tear: boolean): number
  start(host: Host): void
}

export type Fault = {
  readonly name: string
  readonly what: string
  /** The mean time between two is drawn from this range. */
  readonly everySeconds: readonly [least: number, most: number]
  strike(stage: Stage, dice: Random): string | undefined
}

const SECOND = 1_000_000
const seconds = (dice: Random, most: number): number => Math.round(SECOND * (0.01 + most * dice() * dice()))
const inS = (us: number): string => `for ${(us / SECOND).toFixed(2)} s`
const numbers = (hosts: readonly Host[]): number[] => hosts.map(({ number }) => number)
const aHost = ({ hosts }: Stage, dice: Random): Host => dice.pick(hosts)
const aGroup = ({ groups }: Stage, dice: Random): Group =>
  (dice.chance(0.6) ? groups[0] : dice.pick(groups)) as Group

/** A host that is up: often one that leads, because that is where it hurts. */
function aVictim(stage: Stage, dice: Random): Host | undefined {
  const [leader] = dice.chance(0.4) ? aGroup(stage, dice).leaders() : []
  const up = stage.hosts.filter((host) => host.up)
  return leader?.host ?? (up.length === 0 ? undefined : dice.pick(up))
}

const awake = (group: Group): Member[] => group.alive().filter(({ host }) => host.up && !host.paused)

/** A member of which the log may be lost. */
function aLoss(stage: Stage, dice: Random): Member | undefined {
  const group = aGroup(stage, dice)
  const candidates = group
    .alive()
    .filter(({ id, host }) => host.disk.bytesOf(group.name) > 0 && group.able(id))
  if (candidates.length === 0) return undefined
  const member = dice.pick(candidates)
  return group.survives([member.id]) ? member : undefined
}

function crashFor(stage: Stage, host: Host, tear: boolean, us: number): string {
  const lost = stage.crash(host, tear)
  stage.later(us, () => stage.start(host))
  return `host ${host.number} crashes ${inS(us)}, ${lost} writes lost`
}

function damage(stage: Stage, dice: Random, how: 'flip' | 'cut'): string | undefined {
  const member = aLoss(stage, dice)
  if (member === undefined) return undefined
  const { host, group, id } = member
  group.damaged.add(id)
  const record = host.disk[how](group.name)
  const found = host.up ? crashFor(stage, host, false, seconds(dice, 5)) : 'it is down'
  return `${how} in ${record} of ${id}; ${found}`
}

function cutOff(
  stage: Stage,
  dice: Random,
  isBlocked: (from: number, to: number) => boolean,
  what: string,
): string {
  const us = seconds(dice, 15)
  const { network, hosts } = stage
  network.partition(numbers(hosts), isBlocked)
  stage.later(us, () => network.partition(numbers(hosts), () => false))
  return `${what} ${inS(us)}`
}

const rows = [
  {
    name: 'crash',
    what: 'a host loses power: what was synced stays, of the rest a prefix',
    everySeconds: [3, 60],
    strike(stage, dice) {
      const host = aVictim(stage, dice)
      return host && crashFor(stage, host, false, seconds(dice, 10))
    },
  },
  {
    name: 'crash-all',
    what: 'all hosts lose power at once',
    everySeconds: [20, 200],
    strike(stage, dice) {
      return stage.hosts
        .map((host) => (host.up ? crashFor(stage, host, false, seconds(dice, 3)) : ''))
        .join('; ')
    },
  },
  {
    name: 'tear',
    what: 'a crash tears a record of the batch that was being written',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const host = stage.hosts.find(({ up, disk }) => up && disk.pending > 0)
      if (host === undefined) return undefined
      for (const group of stage.groups) {
        const member = host.members.get(group.name)
        if (member !== undefined && !group.survives([member.id])) return undefined
      }
      for (const { group, id } of host.members.values()) group.damaged.add(id)
      return crashFor(stage, host, true, seconds(dice, 5))
    },
  },
  {
    name: 'bit-flip',
    what: 'one bit of one record is not what it was; found at the next start',
    everySeconds: [10, 100],
    strike: (stage, dice) => damage(stage, dice, 'flip'),
  },
  {
    name: 'lost-record',
    what: 'a record of a log is missing',
    everySeconds: [10, 100],
    strike: (stage, dice) => damage(stage, dice, 'cut'),
  },
  {
    name: 'misdirected-write',
    what: 'a record was written where another is, of the same log or of another on that disk, and is not where it should be',
    everySeconds: [10, 100],
    strike(stage, dice) {
      const member = aLoss(stage, dice)
      if (member === undefined) return undefined
      const { host, group } = member
      const onto = dice.pick([...host.members.values()].filter(({ id, group: { able } }) => able(id)))
      if (!onto.group.survives([onto.id])) return undefined
      const places = host.disk.misdirect(group.name, onto.group.name)
      if (places === undefined) return undefined
      for (const each of [member, onto]) each.group.damaged.add(each.id)
      const found = host.up ? crashFor(stage, host, false, seconds(dice, 5)) : 'it is down'
      return `${places} on host ${host.number}; ${found}`
    },
  },
  {
    name: 'reformat',
    what: 'a host loses all its logs and comes back empty under the same peer id',
    everySeconds: [10, 100],
    strike(stage, dice) {
      const host = aHost(stage, dice)
      const lost = [...host.members.values()]
      if (lost.some(({ group, id }) => !group.survives([id]))) return undefined
      if (host.up) stage.crash(host, false)
      for (const member of lost) member.group.lose(member)
      stage.later(seconds(dice, 5), () => stage.start(host))
      return `host ${host.number} is formatted`
    },
  },
  {
    name: 'disk-fails',
    what: 'every write of a host fails (EIO)',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const host = aHost(stage, dice)
      const us = seconds(dice, 8)
      host.disk.failing = true
      stage.later(us, () => (host.disk.failing = false))
      return `the disk of host ${host.number} fails ${inS(us)}`
    },
  },
  {
    name: 'disk-full',
    what: 'every write fails on some hosts, or on all of them (ENOSPC)',
    everySeconds: [10, 100],
    strike(stage, dice) {
      const us = seconds(dice, 8)
      const full = dice.chance(0.3) ? [...stage.hosts] : stage.hosts.filter(() => dice.chance(0.3))
      for (const { disk } of full) disk.failing = true
      stage.later(us, () => full.forEach(({ disk }) => (disk.failing = false)))
      return `full: ${numbers(full).join(' ')} ${inS(us)}`
    },
  },
  {
    name: 'disk-slow',
    what: 'an fsync takes up to seconds',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const { disk, number } = aHost(stage, dice)
      const us = seconds(dice, 10)
      const { meanUs } = disk.rates
      disk.rates.meanUs = seconds(dice, 1.5)
      stage.later(us, () => (disk.rates.meanUs = meanUs))
      return `host ${number} syncs slowly ${inS(us)}`
    },
  },
  {
    name: 'pause',
    what: 'a process stands still, and then does everything late',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const host = aVictim(stage, dice)
      if (host === undefined || host.paused) return undefined
      const us = seconds(dice, 20)
      const counts = dice.chance(0.5)
      host.pause()
      stage.later(us, () => host.resume(counts))
      return `host ${host.number} stands still ${inS(us)}`
    },
  },
  {
    name: 'clock-step',
    what: 'a clock jumps: ticks are due at once, the wall clock is hours off',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const host = aHost(stage, dice)
      const ticks = dice.below(3 * stage.electionTicks)
      host.wallOffsetMs += (dice() - 0.5) * 7_200_000
      host.jump(ticks)
      return `the clock of host ${host.number} jumps by ${ticks} ticks`
    },
  },
  {
    name: 'clock-rate',
    what: 'a clock runs at half to twice its speed',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const host = aHost(stage, dice)
      const rate = dice.chance(0.4) ? 1 : 0.5 * 4 ** dice()
      host.setRate(rate)
      return `the clock of host ${host.number} runs at ${rate.toFixed(2)}`
    },
  },
  {
    name: 'partition',
    what: 'hosts are split into two sides that do not hear each other',
    everySeconds: [5, 40],
    strike(stage, dice) {
      const side = new Set(stage.hosts.filter(() => dice.chance(0.5)).map(({ number }) => number))
      return cutOff(stage, dice, (a, b) => side.has(a) !== side.has(b), `split off: ${[...side].join(' ')}`)
    },
  },
  {
    name: 'isolate',
    what: 'one host, often a leader, is cut off from all others',
    everySeconds: [5, 40],
    strike(stage, dice) {
      const alone = aVictim(stage, dice)?.number
      return alone === undefined
        ? undefined
        : cutOff(stage, dice, (a, b) => a === alone || b === alone, `host ${alone} is alone`)
    },
  },
  {
    name: 'one-way',
    what: 'one side hears the other and is not heard',
    everySeconds: [5, 40],
    strike(stage, dice) {
      const mute = new Set(stage.hosts.filter(() => dice.chance(0.4)).map(({ number }) => number))
      return cutOff(stage, dice, (a, b) => mute.has(a) && !mute.has(b), `mute: ${[...mute].join(' ')}`)
    },
  },
  {
    name: 'partial',
    what: 'some pairs do not hear each other: a bridge, a ring, one link down',
    everySeconds: [5, 40],
    strike(stage, dice) {
      const cut = new Set<string>()
      for (const a of stage.hosts) {
        for (const b of stage.hosts)
          if (a.number < b.number && dice.chance(0.4)) cut.add(`${a.number} ${b.number}`)
      }
      const isCut = (a: number, b: number): boolean => cut.has(a < b ? `${a} ${b}` : `${b} ${a}`)
      return cutOff(stage, dice, isCut, `pairs cut: ${[...cut].join(', ')}`)
    },
  },
  {
    name: 'clog',
    what: 'nothing arrives over a link for up to five seconds, then all of it',
    everySeconds: [1, 20],
    strike(stage, dice) {
      const [from, to] = [aHost(stage, dice), aHost(stage, dice)]
      if (from === to) return undefined
      const us = seconds(dice, 5)
      stage.network.link(from.number, to.number).cloggedUntilUs = stage.timeline.nowUs + us
      return `clogged: ${from.number} to ${to.number} ${inS(us)}`
    },
  },
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
  {
    name: 'upgrade',
    what: 'a host restarts with a newer version, or is rolled back to the one before',
    everySeconds: [5, 60],
    strike(stage, dice) {
      const older = stage.hosts.filter(({ up, version }) => up && version === 1)
      const host = older.length > 0 && dice.chance(0.7) ? dice.pick(older) : aVictim(stage, dice)
      if (host === undefined) return undefined
      const said = crashFor(stage, host, false, seconds(dice, 1))
      host.version = host.version === 0 ? 1 : 0
      return `${said}, then version ${host.version}`
    },
  },
] as const satisfies readonly Fault[]

export type FaultName = (typeof rows)[number]['name']
export const FAULTS: readonly (Fault & { readonly name: FaultName })[] = rows

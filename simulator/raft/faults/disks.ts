/** Faults of disks: what is torn, damaged, lost, misplaced, refused or late. */
import type { Random } from '../../random.ts'
import type { Member } from '../member.ts'
import { aGroup, aHost, crashFor, type Fault, inS, numbers, seconds, type Stage } from './fault.ts'

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

function damage(stage: Stage, dice: Random, how: 'flip' | 'cut'): string | undefined {
  const member = aLoss(stage, dice)
  if (member === undefined) return undefined
  const { host, group, id } = member
  group.damaged.add(id)
  const record = host.disk[how](group.name)
  const found = host.up ? crashFor(stage, host, false, seconds(dice, 5)) : 'it is down'
  return `${how} in ${record} of ${id}; ${found}`
}

export const DISKS = [
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
] as const satisfies readonly Fault[]

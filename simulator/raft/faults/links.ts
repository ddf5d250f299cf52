/** Faults of the network between hosts, beside loss, repetition and disorder (network.ts). */
import type { Random } from '../../random.ts'
import { aHost, aVictim, type Fault, inS, numbers, seconds, type Stage } from './fault.ts'

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

export const LINKS = [
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
] as const satisfies readonly Fault[]

/** Faults of whole hosts: power, processes that stand still, clocks, versions. */
import { aHost, aVictim, crashFor, type Fault, inS, seconds } from './fault.ts'

export const CRASHES = [
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
] as const satisfies readonly Fault[]

export const CLOCKS = [
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
] as const satisfies readonly Fault[]

export const UPGRADES = [
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

/** What a fault is, and what many of them do. */
import type { Random } from '../../random.ts'
import type { Group } from '../group.ts'
import type { Host } from '../host.ts'
import type { Member } from '../member.ts'
import type { RaftNetwork } from '../network.ts'
import type { Timeline } from '../timeline.ts'

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

export const SECOND = 1_000_000
export const seconds = (dice: Random, most: number): number =>
  Math.round(SECOND * (0.01 + most * dice() * dice()))
export const inS = (us: number): string => `for ${(us / SECOND).toFixed(2)} s`
export const numbers = (hosts: readonly Host[]): number[] => hosts.map(({ number }) => number)
export const aHost = ({ hosts }: Stage, dice: Random): Host => dice.pick(hosts)
export const aGroup = ({ groups }: Stage, dice: Random): Group =>
  (dice.chance(0.6) ? groups[0] : dice.pick(groups)) as Group

/** A host that is up: often one that leads, because that is where it hurts. */
export function aVictim(stage: Stage, dice: Random): Host | undefined {
  const [leader] = dice.chance(0.4) ? aGroup(stage, dice).leaders() : []
  const up = stage.hosts.filter((host) => host.up)
  return leader?.host ?? (up.length === 0 ? undefined : dice.pick(up))
}

export const awake = (group: Group): Member[] => group.alive().filter(({ host }) => host.up && !host.paused)

export function crashFor(stage: Stage, host: Host, tear: boolean, us: number): string {
  const lost = stage.crash(host, tear)
  stage.later(us, () => stage.start(host))
  return `host ${host.number} crashes ${inS(us)}, ${lost} writes lost`
}

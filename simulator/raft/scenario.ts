/**
 * A named situation: a world, what happens in it, and what must be so beyond the invariants, which are always looked at.
 * It is written against what a script may do to a simulation.
 */
import { Violation } from '../scenario.ts'
import type { Group } from './group.ts'
import type { Host } from './host.ts'
import type { Member } from './member.ts'
import { type Setup, still } from './setup.ts'
import type { Simulation } from './simulation.ts'

export type RaftScenario = {
  readonly name: string
  readonly summary: string
  /** What differs from a quiet world (`still`). */
  readonly world?: (seed: number) => Partial<Setup>
  /** Takes more than a few seconds; not part of `npm test`. */
  readonly isLong?: true
  /** Voters of the one group; 5 unless told. */
  readonly voters?: number
  /** Schedules what happens. */
  play(script: Script): void
}

const SECOND = 1_000_000

export const setupFor = ({ name, world, voters }: RaftScenario, seed: number): Setup => ({
  ...still(seed, voters ?? 5),
  ...world?.(seed),
  scenario: name,
})

export class Script {
  readonly simulation: Simulation
  readonly name: string

  constructor(simulation: Simulation, name: string) {
    this.simulation = simulation
    this.name = name
  }

  get group(): Group {
    return this.simulation.groups[0] as Group
  }

  get hosts(): readonly Host[] {
    return this.simulation.hosts
  }

  get electionUs(): number {
    const { timing, tickUs } = this.simulation.setup
    return timing.electionTicks * tickUs
  }

  at(seconds: number, run: () => void): void {
    this.simulation.timeline.after(seconds * SECOND - this.simulation.timeline.nowUs, run)
  }

  /** From `from` on, `times` times. */
  every(from: number, seconds: number, times: number, run: (time: number) => void): void {
    for (let time = 0; time < times; time++) this.at(from + time * seconds, () => run(time))
  }

  after(us: number, run: () => void): void {
    this.simulation.timeline.after(us, run)
  }

  /** Of those who lead, the one of the newest term. */
  leader(): Member {
    const [leader] = this.group.leaders()
    if (leader === undefined) this.fail('nobody leads')
    return leader
  }

  followers(): Member[] {
    const leader = this.leader()
    return this.group.alive().filter((member) => member !== leader && member.host.up)
  }

  /** Cuts pairs of hosts; `undefined` mends all. */
  cut(isCut: ((from: number, to: number) => boolean) | undefined): void {
    this.simulation.network.partition(
      this.hosts.map(({ number }) => number),
      isCut ?? ((): boolean => false),
    )
  }

  isolate(...alone: Host[]): void {
    const side = new Set(alone.map(({ number }) => number))
    this.cut((from, to) => side.has(from) !== side.has(to))
  }

  crash(host: Host, forSeconds: number): void {
    this.simulation.crash(host, false)
    this.after(forSeconds * SECOND, () => this.simulation.start(host))
  }

  /** Stops the host, for a second, to begin again with what `change` makes of it. */
  reinstall(host: Host, change: (host: Host) => void): void {
    this.crash(host, 1)
    change(host)
  }

  /** Leaders that were elected since `seconds`. */
  electedSince(seconds: number): number {
    return this.group.elected.filter(({ atUs }) => atUs >= seconds * SECOND).length
  }

  /** Operations of clients that ended, by how they did. */
  ended(): { readonly ok: number; readonly fail: number; readonly info: number } {
    const sum = { ok: 0, fail: 0, info: 0 }
    for (const { ended } of this.simulation.clients)
      for (const type of ['ok', 'fail', 'info'] as const) sum[type] += ended[type]
    return sum
  }

  /** @param done Called with µs until there is a leader other than `old`. */
  whenLed(old: Member, done: (us: number, leader: Member) => void): void {
    const { timeline } = this.simulation
    const startUs = timeline.nowUs
    const look = (): void => {
      const found = this.group.leaders().find((member) => member !== old && member.raft.term > old.raft.term)
      if (found !== undefined) return done(timeline.nowUs - startUs, found)
      timeline.after(1_000, look)
    }
    look()
  }

  figure(name: string, value: number): void {
    ;(this.simulation.figures[name] ??= []).push(value)
  }

  must(holds: boolean, what: string): void {
    if (!holds) this.fail(what)
  }

  fail(what: string): never {
    throw new Violation(this.name, what)
  }
}

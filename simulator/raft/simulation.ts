/**
 * Tier A: the real Raft cores of many groups on virtual network, disks and clocks, in one process.
 *
 *   safety    faults strike as planned; nothing that the checkers forbid may ever be seen
 *   liveness  faults end, some hosts stay away for ever; the rest is enough for every group, and has to become well:
 *             a leader, all operations decided, every member up to date, no configuration left joint
 *
 * Then what the clients saw has to be linearizable.
 */
import * as logs from '../../protocols/raft/log.ts'
import { random, type Random } from '../random.ts'
import { Violation } from '../scenario.ts'
import type { Checker } from './checkers/checker.ts'
import { CHECKERS } from './checkers/rows.ts'
import { Client } from './client.ts'
import { RaftDisk } from './disk.ts'
import { type FaultName, FAULTS } from './faults.ts'
import type { Stage } from './faults/fault.ts'
import { Group, type Surroundings } from './group.ts'
import { History } from './history.ts'
import { Host } from './host.ts'
import { linearizable } from './linearizable.ts'
import { RaftNetwork } from './network.ts'
import { becomeWell, type Recovery } from './recovery.ts'
import type { Setup } from './setup.ts'
import { Timeline } from './timeline.ts'

const SECOND = 1_000_000
/** Lines kept for a seed that fails. */
const LINES_MAX = 400

export class Simulation {
  readonly setup: Setup
  readonly timeline = new Timeline()
  readonly hosts: Host[]
  readonly groups: Group[]
  readonly clients: Client[]
  readonly network: RaftNetwork
  readonly history = new History()
  /** How often each kind of fault struck. */
  readonly struck: Record<string, number> = {}
  recovery: Recovery | undefined
  /** Registers whose history was too wide to be searched. */
  unjudged = 0
  /** What a scenario measured. */
  readonly figures: Record<string, number[]> = {}
  readonly #dice: Random
  readonly #lines: { readonly atUs: number; readonly line: () => string }[] = []
  #allowed = true
  #value = 1

  /** @param checkers None: it goes on whatever happens, for somebody else to judge. */
  constructor(setup: Setup, checkers: readonly Checker[] = CHECKERS) {
    this.setup = setup
    const { seed, tickUs, disk, network } = setup
    const { timeline } = this
    this.#dice = random(seed, 'simulation')
    this.network = new RaftNetwork(timeline, random(seed, 'network'), network)
    this.hosts = Array.from({ length: setup.hosts }, (_, number) => {
      const sim = new RaftDisk(timeline, random(seed, `disk ${number}`), { ...disk })
      const host = new Host(number, timeline, sim, tickUs, this.#dice.below(tickUs))
      host.version = setup.olderAtFirst === true ? 1 : 0
      return host
    })
    const say = (line: () => string): void => this.say(line)
    const world: Surroundings = { setup, timeline, network: this.network, hosts: this.hosts, checkers, say }
    this.groups = setup.groups.map(({ name }) => new Group(name, world))
    this.network.onReset = (from, to) => this.#reset(from, to)
    this.clients = setup.groups.flatMap(({ name, clients }, at) =>
      Array.from({ length: clients }, (_, n) => {
        const dice = random(seed, `client ${name} ${n}`)
        return new Client(this.groups[at] as Group, timeline, this.history, dice, () => this.nextValue())
      }),
    )
  }

  /**
   * @param play Schedules what happens beside the planned faults.
   * @throws Violation, or whatever a core throws.
   */
  run(play?: (simulation: Simulation) => void): void {
    this.begin()
    play?.(this)
    this.timeline.run(this.setup.safetyUs)
    this.#calm()
    this.recovery = becomeWell(this)
    for (const { checks } of this.groups) checks.full()
    this.#judge()
  }

  /** Founds the groups, and lets clients and faults begin. */
  begin(): void {
    for (const [at, { founders }] of this.setup.groups.entries()) {
      ;(this.groups[at] as Group).found(founders.map((n) => this.hosts[n] as Host))
    }
    for (const client of this.clients) client.start()
    for (const { atUs, fault, dice } of this.setup.faults) {
      this.timeline.after(atUs, () => this.strike(fault, random(dice, 'fault')))
    }
  }

  /** One fault, now. */
  strike(name: FaultName, dice: Random = this.#dice): void {
    const row = FAULTS.find((each) => each.name === name)
    if (!this.#allowed || row === undefined) return
    const said = row.strike(this.#stage(), dice)
    if (said === undefined) return
    this.struck[name] = (this.struck[name] ?? 0) + 1
    this.timeline.mix(FAULTS.indexOf(row), this.struck[name])
    this.say(() => `fault ${name}: ${said}`)
    for (const { checks } of this.groups) checks.full()
  }

  /** Each value is written once. */
  nextValue(): number {
    return this.#value++
  }

  dice(purpose: string): Random {
    return random(this.setup.seed, purpose)
  }

  say(line: () => string): void {
    this.#lines.push({ atUs: this.timeline.nowUs, line })
    if (this.#lines.length > 2 * LINES_MAX) this.#lines.splice(0, LINES_MAX)
  }

  lines(count: number): string[] {
    return this.#lines
      .slice(-count)
      .map(({ atUs, line }) => `${(atUs / SECOND).toFixed(6).padStart(12)} ${line()}`)
  }

  /** One line for each member, as it is now. */
  states(): string[] {
    return this.groups.flatMap((group) =>
      [...group.members.values()].map(({ id, gone, host, raft, machineIndex }) => {
        const { role, term, vote, leader, log, configuration } = raft
        const { voters, votersOutgoing, learners } = configuration
        const where = gone ? 'gone' : !host.up ? 'down' : host.paused ? 'paused' : 'up'
        const joint = votersOutgoing.length > 0 ? ` and ${votersOutgoing.join(' ')}` : ''
        return (
          `${group.name} ${id} ${where} ${role} term ${term} vote ${vote || '-'} leader ${leader || '-'} ` +
          `log ${log.base.index}..${logs.lastIndex(log)} commit ${log.commit} stable ${log.stable} applied ${machineIndex} ` +
          `voters ${voters.join(' ')}${joint} learners ${learners.join(' ') || '-'}`
        )
      }),
    )
  }

  crash(host: Host, tear: boolean): number {
    return host.crash(tear)
  }

  start(host: Host): void {
    if (host.up) return
    host.started()
    for (const member of host.members.values()) member.group.restart(member)
  }

  /** It stops, and the version takes effect with its next start. */
  install(host: Host, version: Host['version']): void {
    if (host.up) this.crash(host, false)
    host.version = version
  }

  #stage(): Stage {
    const { hosts, groups, network, timeline, setup } = this
    return {
      hosts,
      groups,
      network,
      timeline,
      electionTicks: setup.timing.electionTicks,
      later: (delayUs, run) => timeline.after(delayUs, () => this.#allowed && run()),
      crash: (host, tear) => this.crash(host, tear),
      start: (host) => this.start(host),
    }
  }

  #reset(from: number, to: number): void {
    const host = this.hosts[from] as Host
    host.whenAwake(() => {
      for (const member of host.members.values()) {
        const peer = this.hosts[to]?.members.get(member.group.name)
        if (peer !== undefined) member.unreachable(peer.id)
      }
    })
  }

  /** Faults end. Some hosts go for ever, as many as every group can do without. */
  #calm(): void {
    this.#allowed = false
    const away = new Set<number>()
    for (const host of this.#dice.shuffle(this.hosts)) {
      if (!this.#dice.chance(0.3)) continue
      away.add(host.number)
      if (!this.groups.every((group) => group.survives([], ({ host: { number } }) => !away.has(number)))) {
        away.delete(host.number)
      }
    }
    this.network.calm(
      this.hosts.map(({ number }) => number),
      (a, b) => away.has(a) || away.has(b),
    )
    this.say(() => `faults end; away for ever: ${[...away].join(' ') || 'nobody'}`)
    for (const host of this.hosts) {
      if (away.has(host.number)) {
        host.crash(false)
        continue
      }
      host.disk.calm(this.setup.disk)
      host.setRate(1)
      host.resume(true)
      // Whoever was upgraded in part is upgraded in full.
      if (host.version !== 0) this.install(host, 0)
      this.start(host)
    }
  }

  #judge(): void {
    for (const [key, operations] of this.history.byKey) {
      const { verdict, at } = linearizable(operations)
      if (verdict === 'unknown') this.unjudged++
      if (verdict !== 'violation') continue
      throw new Violation(
        'Linearizability',
        `no order of the operations on ${key} explains ${JSON.stringify(at)}`,
      )
    }
  }
}

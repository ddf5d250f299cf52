/**
 * Tier A: the real Raft cores of many groups on virtual network, disks and clocks, in one process.
 *
 *   safety    faults strike as planned; nothing that the checkers forbid may ever be seen
 *   liveness  faults end, some hosts stay away for ever; the rest is enough for every group, and has to become well:
 *             a leader, all operations decided, every member up to date, no configuration left joint
 *
 * Then what the clients saw has to be linearizable.
 */
import { isVoter, membersOf } from '../../protocols/raft/configuration.ts'
import * as logs from '../../protocols/raft/log.ts'
import { random, type Random } from '../random.ts'
import { Violation } from '../scenario.ts'
import { Client } from './client.ts'
import { RaftDisk } from './disk.ts'
import { type FaultName, FAULTS, type Stage } from './faults.ts'
import { Group, type Surroundings } from './group.ts'
import { History } from './history.ts'
import { Host } from './host.ts'
import { linearizable } from './linearizable.ts'
import { RaftNetwork } from './network.ts'
import type { Setup } from './setup.ts'
import { Timeline } from './timeline.ts'

const SECOND = 1_000_000
/** Lines kept for a seed that fails. */
const LINES_MAX = 400
/** How often it is looked whether all is well again. */
const LOOK_US = 20_000

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
  /** From the end of faults until each group had a leader, and until all was well, in µs. */
  recovery: { readonly leaderUs: number; readonly wellUs: number } | undefined
  /** Registers whose history was too wide to be searched. */
  unjudged = 0
  /** What a scenario measured. */
  readonly figures: Record<string, number[]> = {}
  readonly #dice: Random
  readonly #lines: { readonly atUs: number; readonly line: () => string }[] = []
  #allowed = true
  #value = 1

  constructor(setup: Setup) {
    this.setup = setup
    const { seed, tickUs, disk, network } = setup
    const { timeline } = this
    this.#dice = random(seed, 'simulation')
    this.network = new RaftNetwork(timeline, random(seed, 'network'), network)
    this.hosts = Array.from({ length: setup.hosts }, (_, number) => {
      const sim = new RaftDisk(timeline, random(seed, `disk ${number}`), { ...disk })
      return new Host(number, timeline, sim, tickUs, this.#dice.below(tickUs))
    })
    const say = (line: () => string): void => this.say(line)
    const world: Surroundings = { setup, timeline, network: this.network, hosts: this.hosts, say }
    this.groups = setup.groups.map(({ name }) => new Group(name, world))
    this.network.onReset = (from, to) => this.#reset(from, to)
    this.clients = setup.groups.flatMap(({ name, clients }, at) =>
      Array.from({ length: clients }, (_, n) => {
        const dice = random(seed, `client ${name} ${n}`)
        return new Client(this.groups[at] as Group, timeline, this.history, dice, () => this.#value++)
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
    this.#becomeWell()
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
      host.disk.failing = false
      Object.assign(host.disk.rates, this.setup.disk)
      host.setRate(1)
      host.resume(true)
      this.start(host)
    }
  }

  #becomeWell(): void {
    const { timeline, setup } = this
    const startUs = timeline.nowUs
    const electionUs = setup.timing.electionTicks * setup.tickUs
    const travelUs =
      2 * (setup.network.delay.minUs + setup.network.delay.meanUs) + setup.disk.minUs + setup.disk.meanUs
    // A few elections that collide, and then every entry, one round trip each at worst, with a snapshot in small parts.
    const boundUs = startUs + 20 * electionUs + 60 * SECOND + 400 * travelUs
    let leaderUs = Infinity
    const asked = new Set<Group>()
    const answered = new Set<Group>()
    for (;;) {
      timeline.run(timeline.nowUs + LOOK_US)
      const leaderless = this.groups.filter((group) => leaderOf(group) === undefined)
      if (leaderless.length === 0) leaderUs = Math.min(leaderUs, timeline.nowUs - startUs)
      if (leaderUs < Infinity) for (const client of this.clients) client.stopped = true
      for (const group of this.groups) this.#finish(group, asked, answered)
      const sick = this.groups.map((group) =>
        answered.has(group) ? sickness(group) : 'a last write is not answered',
      )
      const busy = this.clients.some((client) => client.busy)
      if (!busy && sick.every((why) => why === undefined)) break
      if (timeline.nowUs > boundUs) {
        const why = this.groups.map((group, at) => `${group.name}: ${sick[at] ?? 'well'}`).join('; ')
        throw new Violation(
          'I20 Liveness',
          `not well ${((boundUs - startUs) / SECOND).toFixed(0)} s after faults ended: ${why}`,
        )
      }
    }
    this.recovery = { leaderUs, wellUs: timeline.nowUs - startUs }
  }

  /** Leaves a joint configuration that waits to be left, and asks for one last write. */
  #finish(group: Group, asked: Set<Group>, answered: Set<Group>): void {
    const leader = leaderOf(group)
    if (leader === undefined) return
    const { votersOutgoing, autoLeave } = leader.raft.configuration
    if (votersOutgoing.length > 0 && !autoLeave) leader.change({ transition: 'auto', changes: [] })
    if (asked.has(group)) return
    asked.add(group)
    const dice = random(this.setup.seed, `last ${group.name}`)
    const client = new Client(group, this.timeline, this.history, dice, () => this.#value++)
    const ask = (): void =>
      client.ask({ kind: 'put', key: 'last', value: this.#value++ }, (type) =>
        type === 'ok' ? void answered.add(group) : ask(),
      )
    ask()
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

/** Who leads now: of those who believe it, who is in the newest term and is followed by itself at least. */
const leaderOf = (group: Group): ReturnType<Group['leaders']>[number] | undefined => {
  const [leader] = group.leaders()
  return leader !== undefined && isVoter(leader.raft.configuration, leader.id) ? leader : undefined
}

/** What is not well with a group, if anything. */
function sickness(group: Group): string | undefined {
  const leader = leaderOf(group)
  if (leader === undefined) return 'nobody leads'
  const { log, configuration } = leader.raft
  if (configuration.votersOutgoing.length > 0) return 'its configuration is joint'
  if (log.commit !== logs.lastIndex(log)) return `${leader.id} has not committed all that it has`
  for (const id of membersOf(configuration)) {
    const member = group.members.get(id)
    if (member === undefined || member.gone || !member.host.up) continue
    if (member.raft.leader !== leader.id) return `${id} follows ${member.raft.leader || 'nobody'}`
    if (member.machineIndex !== log.commit) return `${id} is at ${member.machineIndex} of ${log.commit}`
    if (member.digest !== leader.digest) return `${id} has another state`
  }
  return undefined
}

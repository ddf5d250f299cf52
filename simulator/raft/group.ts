/** One simulated group: its members of today and of before, what is true of it, and the way their messages take. */
import { genesis } from '../../protocols/raft/genesis.ts'
import { memberOf, type MemberId, peerOf } from '../../protocols/raft/member.ts'
import { describe, message as codec, type Message } from '../../protocols/raft/messages.ts'
import { membersOf } from '../../protocols/raft/configuration.ts'
import { Checks } from './checkers/checks.ts'
import { FeatureChecks } from './checkers/features.ts'
import type { Checker } from './checkers/checker.ts'
import { newTruth, type Truth } from './checkers/truth.ts'
import { configurations, hasQuorum } from './atlas.ts'
import { Member } from './member.ts'
import type { Host } from './host.ts'
import type { RaftNetwork } from './network.ts'
import type { Setup } from './setup.ts'
import type { Timeline } from './timeline.ts'
import type { RaftTrace } from './raft-trace.ts'

/** What a group needs of the simulation it is in. */
export type Surroundings = {
  readonly setup: Setup
  readonly timeline: Timeline
  readonly network: RaftNetwork
  readonly hosts: readonly Host[]
  readonly checkers: readonly Checker[]
  say(line: () => string): void
}

export class Group {
  readonly name: string
  readonly setup: Setup
  readonly truth: Truth = newTruth()
  readonly checks: Checks
  readonly features = new FeatureChecks()
  /** All that ever were, by id; a member whose log is lost stays, marked as gone. */
  readonly members = new Map<MemberId, Member>()
  /** Whose data may be damaged at their next start; they count as lost from the moment of the fault. */
  readonly damaged = new Set<MemberId>()
  /** Who came to lead, in order. */
  readonly elected: { readonly atUs: number; readonly id: MemberId; readonly term: number }[] = []
  trace: RaftTrace | undefined
  readonly #world: Surroundings
  readonly #network: RaftNetwork
  #all: Member[] = []
  /** The newest member of each host, and how many it had. */
  readonly #incarnations = new Map<number, number>()

  constructor(name: string, world: Surroundings) {
    this.name = name
    this.setup = world.setup
    this.#world = world
    this.#network = world.network
    this.checks = new Checks({ truth: this.truth, members: () => this.#all }, world.checkers)
  }

  found(hosts: readonly Host[]): void {
    const founders = hosts.map(({ number }) => memberOf(String(number), '1'))
    // How the group begins is agreed before anybody speaks.
    for (const entry of genesis(founders).entries) {
      this.truth.committed.set(entry.index, entry)
      this.truth.committedIn.set(entry.index, entry.term)
      this.truth.committedTo = entry.index
    }
    for (const host of hosts) this.#add(host, founders)
  }

  /** A member with an empty log on `host`, which the group may take in. */
  join(host: Host): Member {
    return this.#add(host, undefined)
  }

  #add(host: Host, founders: readonly MemberId[] | undefined): Member {
    const incarnation = (this.#incarnations.get(host.number) ?? 0) + 1
    this.#incarnations.set(host.number, incarnation)
    const member = new Member(memberOf(String(host.number), String(incarnation)), host, this, founders)
    this.members.set(member.id, member)
    this.#all = [...this.members.values()]
    host.members.set(this.name, member)
    this.trace?.init(member)
    if (host.up) member.begin()
    return member
  }

  /** Its log is lost: the host begins anew as another member. */
  lose(member: Member): void {
    member.lose()
    this.damaged.delete(member.id)
    this.join(member.host)
    this.checks.full()
  }

  /** The host is up again: each log is read, or found to be damaged. */
  restart(member: Member): void {
    try {
      member.restart()
    } catch (error) {
      if (!this.damaged.has(member.id) || !isDamage(error)) throw error
      this.#world.say(() => `${this.name}: ${member.id} finds its log damaged`)
      return this.lose(member)
    }
    // What was damaged had been replaced meanwhile.
    this.damaged.delete(member.id)
    this.trace?.init(member)
    member.begin()
  }

  able = (id: MemberId): boolean => {
    const member = this.members.get(id)
    return member !== undefined && !member.gone && !this.damaged.has(id)
  }

  /** Whether the group survives the loss of `ids`, or of all that are not in `among`, for ever. */
  survives(ids: readonly MemberId[], among?: (member: Member) => boolean): boolean {
    const left = (id: MemberId): boolean =>
      this.able(id) && !ids.includes(id) && (among === undefined || among(this.members.get(id) as Member))
    return configurations(this.members.values()).every((each) => hasQuorum(each, left))
  }

  /** Those who believe that they lead, newest term first. */
  leaders(): Member[] {
    return this.#all
      .filter(({ gone, host, raft }) => !gone && host.up && raft.role === 'leader')
      .sort((a, b) => b.raft.term - a.raft.term)
  }

  leads({ id, raft: { term } }: Member): void {
    if (this.elected.at(-1)?.term !== term) this.elected.push({ atUs: this.#world.timeline.nowUs, id, term })
  }

  /** Members that have a log, in the configuration or not. */
  alive(): Member[] {
    return this.#all.filter(({ gone }) => !gone)
  }

  isMember(member: Member): boolean {
    const [leader] = this.leaders()
    return leader !== undefined && membersOf(leader.raft.configuration).includes(member.id)
  }

  get nowUs(): number {
    return this.#world.timeline.nowUs
  }

  after(member: Member, delayUs: number, run: () => void): void {
    const { life } = member
    this.#world.timeline.after(delayUs, () => {
      if (member.life === life && !member.gone) member.host.whenAwake(run)
    })
  }

  /** A message leaves. */
  post(from: Member, message: Message): void {
    this.checks.sent(from, message)
    this.features.sent(message)
    from.sends(message)
    const to = this.#world.hosts[Number(peerOf(message.to))]
    if (to === undefined) return
    const { timeline } = this.#world
    const wire = this.setup.codec || to.version !== from.host.version ? codec.encode(message) : undefined
    this.#network.send(from.host.number, to.number, () => {
      to.whenAwake(() => {
        const member = to.members.get(this.name)
        if (member === undefined) return
        const heard = wire === undefined ? message : codec.decode(wire)
        timeline.mix(to.number, KINDS.indexOf(message.kind), message.term)
        this.#world.say(() => `${this.name} hears ${describe(heard)}`)
        member.hear(heard)
      })
    })
  }
}

const KINDS: readonly Message['kind'][] = [
  'MsgPreVote',
  'MsgPreVoteResp',
  'MsgVote',
  'MsgVoteResp',
  'MsgApp',
  'MsgAppResp',
  'MsgHeartbeat',
  'MsgHeartbeatResp',
  'MsgSnap',
  'MsgSnapStatus',
  'MsgReadIndex',
  'MsgReadIndexResp',
]

const isDamage = (error: unknown): boolean =>
  error instanceof Error && 'failure' in error && (error.failure as { code?: string }).code === 'DATA_CORRUPT'

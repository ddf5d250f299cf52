/**
 * Drives the roles cores (protocols/roles/) for the groups that this peer leads: it asks candidates, looks, and performs
 * what a look comes to, one change or transfer at a time. Also the other side: it answers as a candidate, and before a
 * planned stop hands over what this peer leads and votes in, as far as somebody can take it.
 */
import type { Clock, Timer } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import {
  CANDIDATES_ASKED_MAX,
  CANDIDATES_MAX,
  REQUEST_MS,
  ROLES_ROUND_TRIPS_MAX,
} from '../protocols/limits.ts'
import { failed, ok } from '../protocols/outcome.ts'
import { isVoter, membersOf, votersOf } from '../protocols/raft/configuration.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { Candidate } from '../protocols/roles/candidate.ts'
import { PROTOCOL as ROLES, rolesAnswer, rolesAsk } from '../protocols/roles/messages.ts'
import { newRoles, type Roles } from '../protocols/roles/plan.ts'
import { type Effect, step } from '../protocols/roles/roles.ts'
import type { Kind } from '../protocols/roles/targets.ts'
import type { Transport } from '../protocols/transport.ts'
import type { Group } from './group.ts'
import { Timers } from './timers.ts'

/** A group as its leader changes it. */
type Led = Pick<
  Group<unknown, never>,
  'name' | 'member' | 'role' | 'leader' | 'level' | 'status' | 'change' | 'transfer'
>

export type Admitted = { readonly peer: PeerId; readonly site: string; readonly draining: boolean }

/** What is known of peers from elsewhere: agreed on, or seen. */
export type Knowledge = {
  /** Admitted to the group, each with its site. */
  peersOf(group: string): readonly Admitted[]
  /** Removed by the mesh, or of another site than the group's, as far as this peer has heard. */
  isNoneOf(group: string, peer: PeerId): boolean
  /** Whether membership has it in sight, and for how long that has been so. */
  sight(peer: PeerId): { readonly reachable: boolean; readonly forMs: number }
}

/** What this peer says of itself as a candidate. */
export type Own = {
  readonly uplink: string
  readonly noVote: boolean
  readonly power: () => 'mains' | 'battery'
}

type Ports = { readonly clock: Clock; readonly transport: Transport }

/** How often a leader looks, besides after each thing that ended. */
const LOOK_MS = 500
/** How long an answer is good for: of who votes or is on the way to it, and of others. */
const ASK_MS = 5_000
const ASK_OTHERS_MS = 20_000
/** Entries that a member may lack and still count as caught up: what is under way to it in a busy group. */
const BEHIND_MAX = 256
/** A peer that said it is about to stop and is heard all the same has changed its mind. */
const LEAVING_MS = 15_000
/** What all of a planned stop's handing over may take: ten far round trips for each of the two groups. */
const HAND_OVER_MS = 5_000
const LEAVE_AGAIN_MS = 100
/** In which a leader finds somebody for a vote that goes: a question to spares, and an answer. */
const CHOICE_MS = 1_000
/** Without a leader, or without an answer of it, for this long: there is nobody to hand anything over. */
const NOBODY_MS = 1_500
/** A joint configuration is left within a few round trips. */
const JOINT_LOOK_MS = 25
/** All hosts of a site have its log first-hand, as learners; the mesh's is followed (following.ts). */
const keepsAll = (kind: Kind): boolean => kind === 'site'

export class Electing {
  #parts: readonly Part[]
  readonly #make: (kind: Kind, group: Led) => Part
  readonly #ports: Ports
  readonly #timers: Timers
  #stopped = false

  constructor(
    groups: readonly (readonly [kind: Kind, group: Led])[],
    own: Own,
    knowledge: Knowledge,
    ports: Ports,
  ) {
    this.#ports = ports
    this.#timers = new Timers(ports.clock)
    this.#make = (kind, group) => new Part(kind, group, own, knowledge, ports)
    this.#parts = groups.map(([kind, group]) => this.#make(kind, group))
    ports.transport.serve(ROLES, {
      request: (from, frame, reply) => {
        const ask = rolesAsk.decode(frame)
        const part = this.#parts.find(({ group }) => group.name === ask.group)
        if (part === undefined) return reply(failed({ code: 'NOT_FOUND', what: 'group', name: ask.group }))
        if (ask.kind === 'candidate') return reply(ok(rolesAnswer.encode(part.candidate(ask.to))))
        if (peerOf(ask.member) !== from)
          return ports.transport.blame(from, `it leaves in the name of ${ask.member}`)
        reply(ok(rolesAnswer.encode({ kind: 'leaving', ...part.hearLeaving(ask.member) })))
      },
    })
  }

  start(): void {
    const look = (): void => {
      if (this.#stopped) return
      for (const part of this.#parts) part.look()
      this.#timers.after(LOOK_MS, look)
    }
    look()
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
    for (const part of this.#parts) part.stop()
  }

  /** One more group that this peer may come to lead. */
  add(kind: Kind, group: Led): void {
    this.#parts = [...this.#parts, this.#make(kind, group)]
  }

  drop(group: string): void {
    for (const part of this.#parts.filter((each) => each.group.name === group)) part.stop()
    this.#parts = this.#parts.filter((each) => each.group.name !== group)
  }

  /** Something that a look depends on may have changed: a leader, a configuration, who drains. */
  changed(): void {
    for (const part of this.#parts) part.lookSoon()
  }

  /** Before a planned stop: leads and votes go to others where there are any. `done` by HAND_OVER_MS at the latest. */
  handOver(done: () => void): void {
    const endMs = this.#ports.clock.nowMs() + HAND_OVER_MS
    const attempt = (): void => {
      if (this.#stopped) return
      if (this.#ports.clock.nowMs() >= endMs || this.#parts.every((part) => part.hasLeft())) return done()
      for (const part of this.#parts) part.leave()
      this.#timers.after(LEAVE_AGAIN_MS, attempt)
    }
    attempt()
  }
}

type CandidateAnswer = Extract<ReturnType<typeof rolesAnswer.decode>, { kind: 'candidate' }>

/** One group. */
class Part {
  readonly group: Led
  readonly #kind: Kind
  readonly #own: Own
  readonly #knowledge: Knowledge
  readonly #ports: Ports
  /** Only while this peer leads. */
  #roles: Roles | undefined
  readonly #answers = new Map<PeerId, CandidateAnswer>()
  readonly #asking = new Set<PeerId>()
  /** When each was asked last, answer or not. */
  readonly #askedMs = new Map<PeerId, number>()
  /** Members that are about to stop, and since when. */
  readonly #leaving = new Map<MemberId, { readonly sinceMs: number; readonly lastMs: number }>()
  readonly #startedMs: number
  #soon: Timer | undefined
  /** This peer is about to stop: since when, when it last heard its leader on that, and whether that was all. */
  #leavesMs: number | undefined
  #toldMs: number | undefined
  #telling = false
  #isTold = false
  #stopped = false

  constructor(kind: Kind, group: Led, own: Own, knowledge: Knowledge, ports: Ports) {
    this.group = group
    this.#kind = kind
    this.#own = own
    this.#knowledge = knowledge
    this.#ports = ports
    this.#startedMs = ports.clock.nowMs()
  }

  stop(): void {
    this.#stopped = true
    this.#soon?.cancel()
  }

  lookSoon(afterMs = 0): void {
    if (this.#stopped || this.group.role !== 'leader') return
    this.#soon ??= this.#ports.clock.after(afterMs, () => {
      this.#soon = undefined
      this.look()
    })
  }

  look(): void {
    if (this.#stopped) return
    if (this.group.role !== 'leader') return this.#forget()
    const nowMs = this.#ports.clock.nowMs()
    this.#roles ??= newRoles(this.#kind, keepsAll(this.#kind), nowMs)
    this.#ask(nowMs)
    const { configuration: members } = this.group.status()
    if (members.votersOutgoing.length > 0) this.lookSoon(JOINT_LOOK_MS)
    const candidates = this.#candidates(nowMs)
    const look = { kind: 'look' as const, nowMs, self: this.group.member, members, candidates }
    for (const effect of step(this.#roles, look)) this.#perform(this.#roles, effect)
  }

  /** What this peer says of itself. */
  candidate(to: readonly PeerId[]): CandidateAnswer {
    const { clock, transport } = this.#ports
    const rttMs = Object.fromEntries(
      to.flatMap((peer) => {
        const ms = transport.rttMs(peer)
        return ms === undefined ? [] : [[peer, ms]]
      }),
    )
    return {
      kind: 'candidate',
      member: this.group.member,
      uplink: this.#own.uplink,
      uptimeMs: Math.floor(clock.nowMs() - this.#startedMs),
      power: this.#own.power(),
      noVote: this.#own.noVote,
      leaving: this.#leavesMs !== undefined,
      rttMs,
    }
  }

  /** At the leader: `member` is about to stop. Whether it still votes, and whether that will stay so. */
  hearLeaving(member: MemberId): { votes: boolean; stays: boolean } {
    const { configuration } = this.group.status()
    const votes = isVoter(configuration, member)
    if (this.group.role !== 'leader') return { votes, stays: false }
    const nowMs = this.#ports.clock.nowMs()
    const sinceMs = this.#isLeaving(member, nowMs) ? this.#leaving.get(member)?.sinceMs : undefined
    this.#leaving.set(member, { sinceMs: sinceMs ?? nowMs, lastMs: nowMs })
    this.lookSoon()
    const roles = this.#roles
    const isBusy = roles === undefined || roles.inFlightMs !== undefined || roles.chosen.size > 0
    const members = new Set(membersOf(configuration).map(peerOf))
    const isHopeless = this.#spares(members).length === 0 && configuration.learners.length === 0
    const isOver = isHopeless || (sinceMs !== undefined && nowMs - sinceMs >= CHOICE_MS)
    return { votes, stays: votes && !isBusy && isOver }
  }

  /** One step on the way out. */
  leave(): void {
    const { clock, transport } = this.#ports
    if (this.#leavesMs === undefined) {
      this.#leavesMs = this.#toldMs = clock.nowMs()
      // Whoever is to take over must be there now, and not about to stop itself.
      this.#answers.clear()
      this.#askedMs.clear()
    }
    const { leader, name, member, role } = this.group
    if (role === 'leader') return this.lookSoon()
    if (leader === '' || this.#telling || this.#isTold) return
    this.#telling = true
    const frame = rolesAsk.encode({ kind: 'leaving', group: name, member })
    transport.request(leader, ROLES, frame, REQUEST_MS, (outcome) => {
      this.#telling = false
      if (!outcome.ok) return
      const answer = rolesAnswer.decode(outcome.value)
      if (answer.kind !== 'leaving') return
      this.#toldMs = clock.nowMs()
      this.#isTold = !answer.votes || answer.stays
    })
  }

  /** Nothing more to hand over: it neither leads nor votes, or nobody is there to take it. */
  hasLeft(): boolean {
    const { configuration } = this.group.status()
    const { member, role } = this.group
    if (!membersOf(configuration).includes(member)) return true
    if (role !== 'leader') return this.#isTold || this.#waitedMs() > NOBODY_MS
    const { clock, transport } = this.#ports
    const others = this.#knowledge.peersOf(this.group.name).filter(({ peer }) => peer !== transport.self)
    if (!others.some(({ peer }) => this.#knowledge.sight(peer).reachable)) return true
    const heirs = this.#candidates(clock.nowMs()).filter((each) => each.member !== member && each.reachable)
    return this.#waitedMs() > NOBODY_MS && heirs.every((each) => each.leaving || each.draining || each.noVote)
  }

  /** Since this peer began to leave, or heard the leader on it. */
  #waitedMs(): number {
    return this.#ports.clock.nowMs() - (this.#toldMs ?? Infinity)
  }

  #forget(): void {
    this.#roles = undefined
    this.#answers.clear()
    this.#askedMs.clear()
    this.#leaving.clear()
  }

  #perform(roles: Roles, effect: Effect): void {
    const ended = (): void => {
      if (this.#roles !== roles) return
      step(roles, { kind: 'ended' })
      this.lookSoon()
    }
    if (effect.kind === 'transfer') return this.group.transfer(effect.to, ended)
    // What was refused is seen again at the next look, half a second later: not at once, or it would spin.
    this.group.change(effect.change, (outcome) => (outcome.ok ? ended() : step(roles, { kind: 'ended' })))
  }

  #candidates(nowMs: number): Candidate[] {
    const { configuration, progress, lastIndex } = this.group.status()
    const match = new Map(progress.map((each) => [each.peer, each]))
    const members = membersOf(configuration)
    const admitted = new Map(this.#knowledge.peersOf(this.group.name).map((each) => [each.peer, each]))
    const memberIds = new Map<PeerId, MemberId>()
    for (const member of members) memberIds.set(peerOf(member), member)
    const found: Candidate[] = []
    for (const peer of new Set([...memberIds.keys(), ...this.#answers.keys(), this.#ports.transport.self])) {
      if (this.#knowledge.isNoneOf(this.group.name, peer)) continue
      const own = peer === this.#ports.transport.self
      const answer = own ? this.candidate(this.#pool()) : this.#answers.get(peer)
      const member = answer?.member ?? memberIds.get(peer)
      if (member === undefined) continue
      const known = admitted.get(peer)
      const { state, match: index, recentActive, level } = match.get(member) ?? NO_PROGRESS
      const sight = own ? { reachable: true, forMs: nowMs - this.#startedMs } : this.#knowledge.sight(peer)
      const inSight = sight.reachable || recentActive
      // Who cannot apply what is agreed on cannot lead: no vote is given to it, and no lead.
      const isKnown = level >= this.group.level
      const site = known?.site ?? ''
      found.push({
        member,
        peer,
        site,
        uplink: answer?.uplink === undefined || answer.uplink === '' ? `site ${site}` : answer.uplink,
        uptimeMs: answer?.uptimeMs ?? 0,
        // A spare that has not answered may not want to vote.
        reachable: inSight && (answer !== undefined || isVoter(configuration, member)),
        standingMs: sight.forMs,
        power: answer?.power ?? 'mains',
        rttMs: answer?.rttMs ?? {},
        noVote: answer?.noVote ?? false,
        draining: known?.draining === true,
        leaving: answer?.leaving === true || this.#isLeaving(member, nowMs),
        caughtUp: own || (inSight && isKnown && state === 'replicate' && index + BEHIND_MAX >= lastIndex),
      })
    }
    return found
  }

  #isLeaving(member: MemberId, nowMs: number): boolean {
    const lastMs = this.#leaving.get(member)?.lastMs
    return lastMs !== undefined && nowMs - lastMs < LEAVING_MS
  }

  /** Whose round trips matter: of those who vote, and may soon. */
  #pool(): PeerId[] {
    const { configuration } = this.group.status()
    const peers = [...membersOf(configuration).map(peerOf), ...this.#answers.keys()]
    return [...new Set(peers)].slice(0, ROLES_ROUND_TRIPS_MAX)
  }

  /** Members first, then spares of as many sites as there are; a few at a time. */
  #ask(nowMs: number): void {
    const { transport } = this.#ports
    const { configuration, progress } = this.group.status()
    const members = new Set(membersOf(configuration).map(peerOf))
    // A learner that is not fed may have become another member.
    const fed = new Set(progress.filter(({ state }) => state === 'replicate').map(({ peer }) => peerOf(peer)))
    const voters = new Set(votersOf(configuration).map(peerOf))
    const spares = this.#spares(members)
    for (const peer of this.#answers.keys())
      if (!members.has(peer) && !spares.includes(peer)) this.#answers.delete(peer)
    for (const peer of [...members, ...spares]) {
      if (this.#asking.size >= CANDIDATES_ASKED_MAX) return
      const isPressing = members.has(peer) && (voters.has(peer) || !fed.has(peer))
      const dueMs = (this.#askedMs.get(peer) ?? -Infinity) + (isPressing ? ASK_MS : ASK_OTHERS_MS)
      if (peer === transport.self || this.#asking.has(peer) || dueMs > nowMs) continue
      if (transport.path(peer) === undefined && !this.#knowledge.sight(peer).reachable) continue
      this.#askOne(peer, nowMs)
    }
  }

  #spares(members: ReadonlySet<PeerId>): PeerId[] {
    const bySite = new Map<string, PeerId[]>()
    for (const { peer, site } of this.#knowledge.peersOf(this.group.name)) {
      if (members.has(peer) || !this.#knowledge.sight(peer).reachable) continue
      bySite.set(site, [...(bySite.get(site) ?? []), peer])
    }
    const sites = [...bySite.values()].map((peers) => peers.toSorted())
    const spares: PeerId[] = []
    for (let n = 0; spares.length < CANDIDATES_MAX && sites.some((peers) => n < peers.length); n++)
      for (const peers of sites) spares.push(...peers.slice(n, n + 1))
    return spares.slice(0, CANDIDATES_MAX)
  }

  #askOne(peer: PeerId, nowMs: number): void {
    const { transport } = this.#ports
    this.#asking.add(peer)
    this.#askedMs.set(peer, nowMs)
    const frame = rolesAsk.encode({ kind: 'candidate', group: this.group.name, to: this.#pool() })
    transport.request(peer, ROLES, frame, REQUEST_MS, (outcome) => {
      this.#asking.delete(peer)
      if (!outcome.ok || this.#stopped || this.group.role !== 'leader') return
      const value = rolesAnswer.decode(outcome.value)
      if (value.kind !== 'candidate') return
      if (peerOf(value.member) !== peer) return transport.blame(peer, `a candidate named ${value.member}`)
      const before = this.#answers.get(peer)
      this.#answers.set(peer, value)
      // Round trips and time waver with every answer: the look of this half second will do for those.
      if (before === undefined || !isAsBefore(before, value)) this.lookSoon()
    })
  }
}

const isAsBefore = (before: CandidateAnswer, now: CandidateAnswer): boolean =>
  (['member', 'uplink', 'power', 'noVote', 'leaving'] as const).every((each) => before[each] === now[each])

const NO_PROGRESS = { state: 'probe', match: 0, recentActive: false, level: 0 } as const

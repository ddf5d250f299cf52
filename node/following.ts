/**
 * Following, on this peer: of each group it should know, it asks others for what is committed while no leader tells it, and
 * answers those who ask it. The cores in protocols/follow/ decide; the group itself keeps log and state, in the same
 * records whoever told it, so that a boot while cut off has the newest known state, and a follower that becomes a
 * member goes on with the log it has.
 */
import type { Clock, Timer } from '../protocols/clock.ts'
import { type Failure, GodwitError } from '../protocols/errors.ts'
import type { Candidate } from '../protocols/follow/choosing.ts'
import * as follower from '../protocols/follow/follower.ts'
import { followAnswer, followAsk, type Position, PROTOCOL as FOLLOW } from '../protocols/follow/messages.ts'
import * as source from '../protocols/follow/source.ts'
import type { PeerId } from '../protocols/ids.ts'
import { FOLLOW_AFTER_MS, FOLLOW_BEAT_MS } from '../protocols/limits.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import type { Entry, Snapshot } from '../protocols/raft/types.ts'
import type { Transport } from '../protocols/transport.ts'

/** What following needs of a group. */
export type Followable = {
  readonly name: string
  /** Set while this peer can apply nothing of it: it follows nobody, and is no source. */
  readonly halted: number | undefined
  /** A look at what it holds. */
  held(): Pick<source.View, 'generation' | 'log' | 'snapshot'> & { readonly term: number }
  /** The leader, if this peer leads or hears it. */
  heardLeader(): PeerId
  isMember(peer: PeerId): boolean
  /** Both return why it cannot be read, if so. What is held already changes nothing. */
  learn(entries: readonly Entry[]): string | undefined
  install(generation: number, snapshot: Snapshot): string | undefined
  /** Whether a log of that generation is none to go on with. */
  declines(generation: number): boolean
  /** Who leads, by what others say. */
  hint(leader: PeerId): void
}

export type Knowledge = {
  /** Every peer that may be asked for a group, and whether it is of this peer's site, or of the group's. */
  peers(group: string): Iterable<readonly [peer: PeerId, near: boolean]>
  /** Whether peers of other sites may have the group. */
  isWide(group: string): boolean
}

type Ports = { readonly clock: Clock; readonly transport: Transport }

/** How a group is followed here, for people. */
export type Followed = { readonly source: PeerId; readonly ageMs: number }

export class Following {
  readonly #parts: Map<string, Part>
  readonly #make: (group: Followable) => Part

  constructor(cluster: string, groups: readonly Followable[], knowledge: Knowledge, ports: Ports) {
    this.#make = (group) => new Part(cluster, group, knowledge, ports)
    this.#parts = new Map(groups.map((group) => [group.name, this.#make(group)]))
    ports.transport.watch(() => {
      for (const part of this.#parts.values()) part.outdated()
    })
    ports.transport.serve(FOLLOW, {
      request: (from, frame, reply) => {
        const ask = followAsk.decode(frame)
        const part = this.#parts.get(ask.group)
        if (part === undefined) return reply(failed({ code: 'NOT_FOUND', what: 'group', name: ask.group }))
        part.answer(from, ask, reply)
      },
    })
  }

  start(): void {
    for (const part of this.#parts.values()) part.look()
  }

  stop(): void {
    for (const part of this.#parts.values()) part.stop()
  }

  /** One more group, from now on. */
  add(group: Followable): void {
    const part = this.#make(group)
    this.#parts.set(group.name, part)
    part.look()
  }

  /** No longer. */
  drop(group: string): void {
    this.#parts.get(group)?.stop()
    this.#parts.delete(group)
  }

  /** The group has applied something, or hears another leader, or none. */
  moved(group: string): void {
    this.#parts.get(group)?.look()
  }

  /** 0 while a leader is heard. */
  followed(group: string): Followed {
    return this.#parts.get(group)?.followed() ?? { source: '', ageMs: Infinity }
  }
}

/** One group. */
class Part {
  readonly #group: Followable
  readonly #knowledge: Knowledge
  readonly #ports: Ports
  readonly #follower: follower.Follower
  readonly #source: source.Source
  readonly #replies = new Map<number, Done<Uint8Array>>()
  #token = 0
  #timer: Timer | undefined
  /** When a leader was heard last. */
  #inTouchMs = -Infinity
  #looking = false
  /** When whom to ask was looked at, and whether connections have changed since. */
  #rankedMs = -Infinity
  #isOutdated = true
  #stopped = false

  constructor(cluster: string, group: Followable, knowledge: Knowledge, ports: Ports) {
    this.#group = group
    this.#knowledge = knowledge
    this.#ports = ports
    this.#follower = follower.newFollower(ports.transport.self, cluster, group.name, positionOf(group))
    this.#source = source.newSource(cluster, group.name)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    for (const reply of this.#replies.values()) reply(failed(STOPPING))
    this.#replies.clear()
  }

  answer(from: PeerId, ask: Parameters<typeof followAsk.encode>[0], reply: Done<Uint8Array>): void {
    if (this.#stopped) return reply(failed(STOPPING))
    const token = ++this.#token
    this.#replies.set(token, reply)
    if (this.#follower.wanted) this.#feed({ kind: 'heard', position: ask })
    this.#serve({ kind: 'ask', token, from, ask })
    this.#later()
  }

  /** Somebody is connected who was not, or the other way round: whom to ask is thought over at the next look. */
  outdated(): void {
    this.#isOutdated = true
  }

  /** Everything that may have changed is looked at; cheap when nothing has. */
  look(): void {
    // What is performed may move the group in turn: it is looked at once more, and not in the middle.
    if (this.#stopped || this.#looking) return
    this.#looking = true
    const nowMs = this.#ports.clock.nowMs()
    const leader = this.#group.heardLeader()
    const isHalted = this.#group.halted !== undefined
    if (leader !== '' && !isHalted) this.#inTouchMs = nowMs
    const isMember = this.#group.isMember(this.#ports.transport.self)
    const patienceMs = isMember ? FOLLOW_AFTER_MS : 0
    const wanted = !isHalted && leader === '' && nowMs - this.#inTouchMs >= patienceMs
    if (wanted && nowMs - this.#rankedMs >= (this.#isOutdated ? RANK_MS_MIN : RANK_MS_MAX)) {
      this.#rankedMs = nowMs
      this.#isOutdated = false
      this.#feed({ kind: 'candidates', candidates: this.#candidates() })
    }
    if (wanted !== this.#follower.wanted) this.#feed({ kind: 'wanted', wanted })
    this.#feed({ kind: 'position', position: positionOf(this.#group) })
    this.#serve({ kind: 'look' })
    this.#looking = false
    this.#later()
  }

  followed(): Followed {
    return { source: this.#follower.source, ageMs: this.#ageMs() }
  }

  #ageMs(): number {
    if (this.#group.heardLeader() !== '' && this.#group.halted === undefined) return 0
    const nowMs = this.#ports.clock.nowMs()
    return Math.min(nowMs - this.#inTouchMs, follower.ageMs(this.#follower, nowMs))
  }

  #candidates(): Candidate[] {
    const { transport } = this.#ports
    const connected = new Set(transport.connected())
    const wide = this.#knowledge.isWide(this.#group.name)
    const candidates: Candidate[] = []
    for (const [peer, near] of this.#knowledge.peers(this.#group.name)) {
      const member = this.#group.isMember(peer)
      if (!near && !member && !(wide && connected.has(peer))) continue
      candidates.push({ peer, near, member, connected: connected.has(peer), rttMs: transport.rttMs(peer) })
    }
    return candidates
  }

  #feed(event: follower.Event): void {
    for (const effect of follower.step(this.#follower, event, this.#ports.clock.nowMs()))
      this.#perform(effect)
  }

  #perform(effect: follower.Effect): void {
    switch (effect.kind) {
      case 'ask':
        return this.#ask(effect)
      case 'entries':
        return this.#took(this.#group.learn(effect.entries))
      case 'snapshot':
        if (this.#group.declines(effect.generation)) return this.#feed({ kind: 'declined' })
        return this.#took(this.#group.install(effect.generation, effect.snapshot))
      case 'blame':
        return this.#ports.transport.blame(effect.peer, effect.why)
    }
  }

  #took(why: string | undefined): void {
    if (why !== undefined) this.#feed({ kind: 'refused', why })
  }

  #ask({ to, serial, ask, timeoutMs }: follower.Effect & { kind: 'ask' }): void {
    this.#ports.transport.request(to, FOLLOW, followAsk.encode(ask), timeoutMs, (outcome) => {
      if (this.#stopped) return
      if (outcome.ok) this.#hear(to, serial, outcome.value)
      else this.#feed({ kind: 'failed', serial })
      this.look()
    })
  }

  #hear(from: PeerId, serial: number, frame: Uint8Array): void {
    try {
      const before = this.#follower.news
      this.#feed({ kind: 'answer', serial, answer: followAnswer.decode(frame) })
      const { news } = this.#follower
      if (news !== undefined && news !== before) this.#group.hint(news.standing.leader)
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error
      this.#ports.transport.blame(from, error.message)
      this.#feed({ kind: 'failed', serial })
    }
  }

  #serve(event: source.Event): void {
    const { generation, log, snapshot, term } = this.#group.held()
    const leader = this.#group.heardLeader()
    const standing = {
      term,
      leader: leader === '' ? (this.#follower.news?.standing.leader ?? '') : leader,
      ageMs: Math.min(AGE_MS_MAX, Math.round(this.#ageMs())),
      path: leader === '' ? follower.pathOf(this.#follower) : [],
    }
    const view = { generation, log, snapshot, standing }
    for (const { token, answer } of source.step(this.#source, event, view, this.#ports.clock.nowMs())) {
      const reply = this.#replies.get(token)
      this.#replies.delete(token)
      reply?.(ok(followAnswer.encode(answer)))
    }
  }

  /** One timer, for whatever is due first. */
  #later(): void {
    if (this.#stopped) return
    this.#timer?.cancel()
    const nowMs = this.#ports.clock.nowMs()
    const dueMs = Math.min(source.dueMs(this.#source), follower.dueMs(this.#follower))
    // Not less than 1: what is due in a fraction would, rounded, be due again and again at the same time.
    const waitMs = Math.max(1, Math.min(FOLLOW_BEAT_MS, dueMs - nowMs))
    this.#timer = this.#ports.clock.after(waitMs, () => this.look())
  }
}

/** What is known to be older than a year is as old as one. */
const AGE_MS_MAX = 365 * 86_400_000
/**
 * Whom to ask goes by every peer that is known, and looks come with every entry. It is thought over soon after
 * connections have changed; members, and how far everybody is, change slowly.
 */
const RANK_MS_MIN = 250
const RANK_MS_MAX = 2_000
const STOPPING: Failure = { code: 'STOPPING', peer: 'this peer' }

const positionOf = (group: Followable): Position => {
  const { generation, log } = group.held()
  return { generation, index: log.applied }
}

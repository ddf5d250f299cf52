/**
 * One Raft group on this peer, as the rest of it knows the group: who leads, what is agreed on, and ways to propose, to read
 * and to learn. The core decides everything, and node/driving.ts drives it; this shell keeps its promises to askers:
 *
 *   - committed entries are applied in order, exactly once in a life; state is rebuilt from snapshot and log at start;
 *   - who proposes is answered once that is applied, or told why it is not known (node/answers.ts);
 *   - while the disk takes no writes nothing new is proposed; what was proposed may still be carried out later.
 */
import type { Codec } from '../protocols/codec.ts'
import { partsOf } from '../protocols/epoch.ts'
import type { Failure } from '../protocols/errors.ts'
import { FEATURE_LEVEL } from '../protocols/features.ts'
import type { PeerId } from '../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import {
  type Answered,
  type Asked,
  type EnvelopeCommand,
  envelopeCommand,
  type Machine,
  type Timing,
} from '../protocols/raft/envelope.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { Message } from '../protocols/raft/messages.ts'
import type { Status } from '../protocols/raft/raft.ts'
import { DEFAULT_TIMING } from '../protocols/raft/timing.ts'
import type { ConfigurationChange, Entry, Role, Snapshot } from '../protocols/raft/types.ts'
import { type Reason, recoverReason } from '../storage/raft-salvage.ts'
import { Agreed } from './agreed.ts'
import { type Answer, Answers } from './answers.ts'
import { Driving, type GroupPorts, type HostEffect } from './driving.ts'
import type { Followable } from './following.ts'
import { featureOff, type Gated } from './gating.ts'
import { type Mend, openLog, type Opened } from './opening.ts'

export type GroupTerms<State> = {
  readonly name: string
  /** The mesh's id. */
  readonly cluster: string
  readonly peer: PeerId
  /** See node/opening.ts; unless told nothing is mended. */
  readonly mend?: Mend<State>
  /** Feature level of this version; others for tests of upgrades. */
  readonly known?: number
  /** Whether a log of one generation takes the place of another's; by their numbers unless told. */
  readonly outranks?: (heard: number, own: number) => boolean
}

export type GroupEvents<Command> = {
  /** After each applied command; not for those replayed before the first `caughtUp`. */
  applied(command: Command, outcome: Outcome<unknown>): void
  /** The whole state was replaced by a snapshot. */
  restored(): void
  /** Entries were applied, of whatever kind, or a snapshot was. */
  moved(): void
  role(role: Role, leader: PeerId): void
  /** This life has put its log aside: `opened` says why. */
  putAside(): void
  /** `halted` says at what. */
  halted(): void
  /** The disk does not take the log any more, or does again: told at each turn, not at each try. */
  turned(unwritable: Failure | undefined): void
}

export class Group<State, Command> implements Followable, Gated {
  readonly name: string
  /** Feature level of this version. */
  readonly known: number
  /** How its log was found at start, and the newest log that was put aside, if one was. */
  opened: Pick<Opened, 'how' | 'why'> & { readonly reason: Reason | undefined }
  /** Heard, or named by whom this peer follows; empty when none is known. */
  leader: PeerId = ''
  role: Role = 'follower'

  readonly #cluster: string
  readonly #machine: Machine<State, Command>
  readonly #outranks: (heard: number, own: number) => boolean
  readonly #ports: GroupPorts
  readonly #events: GroupEvents<Command>
  readonly #answers: Answers
  readonly #agreed: Agreed<State, Command>
  /** The newest rival that was heard of in this life: a log of its own that was begun from the same one. */
  rival: { readonly generation: number; readonly member: MemberId } | undefined
  #log: Driving
  #hasMoved = false
  #stopped = false

  constructor(
    {
      name,
      cluster,
      peer,
      mend = () => undefined,
      known = FEATURE_LEVEL,
      outranks = (heard, own) => heard > own,
    }: GroupTerms<State>,
    machine: Machine<State, Command>,
    ports: GroupPorts,
    events: GroupEvents<Command>,
  ) {
    this.name = name
    this.#cluster = cluster
    this.known = known
    this.#machine = machine
    this.#outranks = outranks
    this.#ports = ports
    this.#events = events
    this.#answers = new Answers(name, ports.clock)
    const { clock, dice, store } = ports
    const found = openLog(store, { group: name, peer, wallMs: clock.wallMs(), dice, mend }, machine)
    this.opened = { how: found.how, why: found.why, reason: recoverReason(store, name) }
    this.#agreed = new Agreed(machine, known, found.recovered.snapshot, {
      configuration: () => this.#log.raft.configuration,
      feed: (event) => this.#log.feed(event),
      applied: (entry, applied) => this.#applied(entry, applied),
      halted: () => this.#events.halted(),
    })
    this.#log = this.#driving(found)
  }

  /** As whom this peer keeps its log of the group. */
  get member(): MemberId {
    return this.#log.owner.member
  }

  start(): void {
    this.#log.start()
    this.load()
  }

  /** What is known to be agreed is applied before anybody looks. Without `start` that is all: this peer takes no part. */
  load(): void {
    this.#agreed.start()
  }

  /** Nothing is heard, sent or answered after this. */
  stop(): void {
    this.#log.copyNow()
    this.#stopped = true
    this.#log.end()
    this.#answers.stop()
  }

  hear(message: Message): void {
    if (this.#stopped) return
    const { cluster, generation, from } = message
    if (cluster !== this.#cluster) return
    if (generation === this.generation) return this.#log.feed({ kind: 'message', message })
    // Of one ordinal: two that were begun from one log.
    if (partsOf(generation).ordinal === partsOf(this.generation).ordinal)
      this.rival = { generation, member: from }
    if (this.#outranks(generation, this.generation)) this.#beginAnew(generation)
  }

  /** Another log of the same generation is the group's: this one goes. */
  giveWay(): void {
    if (!this.#stopped) this.#beginAnew(this.generation)
  }

  /** Whether a log of that generation is one to go on with. */
  declines(generation: number): boolean {
    return generation !== this.generation && !this.#outranks(generation, this.generation)
  }

  unreachable(peer: PeerId): void {
    this.#log.unreachable(peer)
  }

  /** The group's own part of what is agreed on. */
  get state(): State {
    return this.#agreed.state
  }

  /** Of the features that count in this group. */
  get level(): number {
    return this.#agreed.level
  }

  /** The level that the group is at, when this version does not know it: nothing is applied here any more. */
  get halted(): number | undefined {
    return this.#agreed.halted
  }

  /** How its state machine's commands are read. */
  get command(): Codec<Command> {
    return this.#machine.command
  }

  /** As agreed; undefined while the defaults hold. */
  get timing(): Timing | undefined {
    return this.#agreed.timing
  }

  /**
   * Appends what a session asks for (node/proposing.ts is the asker). A value is the answer of the group's state machine;
   * NOT_LEADER or NO_LEADER come at once when this peer does not lead, OUTCOME_UNKNOWN when another leader's log decides.
   */
  submit(asked: Asked, done: Done<Outcome<unknown>>): void {
    const off = this.role === 'leader' ? featureOff(this, asked) : undefined
    if (off !== undefined) return done(failed(off))
    const command = { ...asked, nowMs: this.#ports.clock.wallMs() } as EnvelopeCommand
    const { level } = this
    this.#ask(done, (token) => this.#log.propose({ token, data: envelopeCommand.encode(command, level) }))
  }

  change(change: ConfigurationChange, done: Done<void>): void {
    this.#ask(
      (outcome) => done(outcome.ok ? ok(undefined) : outcome),
      (token) => this.#log.feed({ kind: 'propose-change', token, change }),
    )
  }

  /** Another timing than is agreed on, for this member alone: one without a leader may wait longer. */
  pace(timing: Timing): void {
    this.#log.feed({ kind: 'timing', ...timing })
  }

  /** Hands the lead to a voter. Ok once another leads; fails when it did not come to that. */
  transfer(to: MemberId, done: Done<void>): void {
    if (this.#stopped) return done(failed({ code: 'STOPPING', peer: 'this peer' }))
    this.#log.feed({ kind: 'transfer', token: this.#answers.transfer(to, done), to })
  }

  /** `peer` is known to be gone: if it leads, votes may be given to others at once. */
  forget(peer: PeerId): void {
    if (this.role === 'follower' && this.leader === peer) this.#log.feed({ kind: 'forget-leader' })
  }

  /** Answers once this leader's state holds everything that was acknowledged before the call. */
  read(done: Done<void>): void {
    if (this.#stopped) return done(failed({ code: 'STOPPING', peer: 'this peer' }))
    this.#log.feed({ kind: 'read', token: this.#answers.read(done) })
  }

  /** The state as it is now, as a snapshot of the log would have it. */
  capture(): Snapshot & { readonly generation: number } {
    return { generation: this.generation, ...this.#agreed.capture() }
  }

  /** Everything up to here is in the state. */
  get appliedIndex(): number {
    return this.#agreed.index
  }

  get generation(): number {
    return this.#log.owner.generation
  }

  status(): Status {
    return this.#log.status()
  }

  /** A look at what this peer holds, for those who follow it. */
  held(): ReturnType<Followable['held']> {
    const { log, snapshot, term, config } = this.#log.raft
    return { generation: config.generation, log, snapshot, term }
  }

  /** Why this peer's disk does not take the log; undefined while it does. */
  get unwritable(): Failure | undefined {
    return this.#log.unwritable
  }

  /** The leader, if this peer leads or has heard it within two election timeouts. */
  heardLeader(): PeerId {
    return this.#log.heardLeader()
  }

  isMember(peer: PeerId): boolean {
    return this.#log.isMember(peer)
  }

  /** Who leads, as others say: counts only while this peer does not hear a leader itself. */
  hint(leader: PeerId): void {
    if (this.heardLeader() !== '' || leader === this.leader || leader === peerOf(this.member)) return
    this.leader = leader
    this.#events.role(this.role, leader)
  }

  /** Committed entries, as others hold them. @returns Why they cannot be read, if so. */
  learn(entries: readonly Entry[]): string | undefined {
    if (this.#stopped) return undefined
    const why = this.#agreed.refusalOf(entries)
    if (why === undefined) this.#log.feed({ kind: 'learn', entries })
    return why
  }

  /** A snapshot, as others hold it; one of a newer generation instead of this log. @returns Why it cannot be read, if so. */
  install(generation: number, snapshot: Snapshot): string | undefined {
    if (this.#stopped) return undefined
    const why = this.#agreed.refusalOfSnapshot(snapshot)
    if (why !== undefined) return why
    // No fault of its source. What is here can be read by this version: it is kept.
    if (this.#agreed.haltsAt(snapshot)) return undefined
    if (this.#outranks(generation, this.generation)) this.#beginAnew(generation)
    if (generation === this.#log.raft.config.generation) this.#log.feed({ kind: 'learn-snapshot', snapshot })
    return undefined
  }

  #ask(done: Answer, propose: (token: number) => void): void {
    if (this.#stopped) return done(failed({ code: 'STOPPING', peer: 'this peer' }))
    const { unwritable } = this.#log
    if (unwritable !== undefined) return done(failed(unwritable))
    if (this.#answers.isFull)
      return done(failed({ code: 'PROPOSAL_DROPPED', group: this.name, why: 'too many proposals wait' }))
    propose(this.#answers.proposal(done))
  }

  #perform(effect: HostEffect): void {
    switch (effect.kind) {
      case 'apply':
        this.#hasMoved = true
        this.#agreed.apply(effect.entries)
        return this.#log.copyLater()
      case 'restore':
        this.#hasMoved = true
        this.#agreed.restore(effect.snapshot)
        this.#answers.loseProposals()
        return this.#events.restored()
      case 'proposed':
        return this.#answers.proposed(effect)
      case 'read-ready':
        return this.#answers.readReady(effect.token)
      case 'refused':
        return this.#answers.refused(effect)
      case 'superseded':
        return this.#beginAnew(effect.generation)
      case 'role':
        // What this peer proposed as leader may be overwritten, or committed by the next one.
        if (this.role === 'leader' && effect.role !== 'leader') this.#answers.loseProposals()
        this.role = effect.role
        this.leader = peerOf(effect.leader)
        if (effect.leader !== '' && effect.leader !== this.member) this.#answers.anotherLeads()
        return this.#events.role(effect.role, this.leader)
    }
  }

  #applied(entry: Entry, applied: Answered<Command> | undefined): void {
    if (applied?.kind === 'answer' && applied.command !== undefined)
      this.#events.applied(applied.command, applied.outcome)
    this.#answers.applied(entry, applied)
  }

  /** Who looks when told to sees what the core has come to. */
  #rested(): void {
    if (!this.#hasMoved) return
    this.#hasMoved = false
    this.#events.moved()
  }

  /** Another generation is heard of: this log is no longer the group's. Its peer is another member from here on. */
  #beginAnew(generation: number): void {
    const found = this.#log.supersede(generation)
    this.#agreed.restore(found.recovered.snapshot)
    this.#log = this.#driving(found)
    const isAside = found.how === 'quarantined'
    if (isAside) this.opened = { ...this.opened, how: found.how, why: found.why }
    this.role = 'follower'
    this.leader = ''
    this.#log.start()
    this.#answers.superseded()
    if (isAside) this.#events.putAside()
    this.#events.restored()
    this.#events.role(this.role, this.leader)
    this.#events.moved()
  }

  #driving(found: Opened): Driving {
    const { timing = DEFAULT_TIMING } = this
    const terms = { group: this.name, cluster: this.#cluster, timing, level: this.known }
    return new Driving(terms, found, this.#ports, {
      perform: (effect) => this.#perform(effect),
      rested: () => this.#rested(),
      unwritable: (failure) => this.#answers.unwritable(failure),
      turned: (unwritable) => this.#events.turned(unwritable),
      appliedIndex: () => this.appliedIndex,
      capture: () => this.#agreed.captureIfItFits(),
    })
  }
}

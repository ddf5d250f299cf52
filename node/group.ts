/**
 * One Raft group on this peer: performs what the core asks for, keeps the agreed state, and answers proposals once they
 * are applied. The core decides everything; this shell only keeps its promises:
 *
 *   - a `send` with `after` leaves only when that write is durable;
 *   - a failed write (full disk) is tried again, in order: until it is durable nothing that depends on it leaves, who
 *     waits for it is told why, and nothing new is proposed; what was proposed may still be carried out later;
 *   - committed entries are applied in order, exactly once in a life; state is rebuilt from snapshot and log at start.
 */
import type { Codec } from '../protocols/codec.ts'
import type { Clock, Dice, Timer } from '../protocols/clock.ts'
import { describeFailure, type Failure, GodwitError } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { ELECTION_TICKS, PROPOSALS_MAX, SNAPSHOT_EVERY_ENTRIES, TICK_MS } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { decodeChange, isVoter, membersOf } from '../protocols/raft/configuration.ts'
import {
  applyEntry,
  type Asked,
  type Envelope,
  envelopeCodec,
  type EnvelopeCommand,
  envelopeCommand,
  type Machine,
  newEnvelope,
  type Timing,
} from '../protocols/raft/envelope.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { Message } from '../protocols/raft/messages.ts'
import { DEFAULT_TIMING } from '../protocols/raft/timing.ts'
import { create, dueInTicks, type Raft, type Status, status, step } from '../protocols/raft/raft.ts'
import type {
  ConfigurationChange,
  Entry,
  RaftEffect,
  RaftEvent,
  Role,
  Snapshot,
} from '../protocols/raft/types.ts'
import { type LogOwner, storeOps } from '../storage/raft-log.ts'
import { type Reason, recoverReason } from '../storage/raft-salvage.ts'
import type { Store } from '../storage/store.ts'
import { Copying } from './copying.ts'
import type { Followable } from './following.ts'
import { LogWriter } from './log-writer.ts'
import { type Mend, openLog, type Opened, supersede } from './opening.ts'
import { Ticker } from './ticker.ts'
import { Timers } from './timers.ts'

export type GroupTerms<State> = {
  readonly name: string
  /** The mesh's id. */
  readonly cluster: string
  readonly peer: PeerId
  /** See node/opening.ts; unless told nothing is mended. */
  readonly mend?: Mend<State>
}

export type GroupPorts = {
  readonly clock: Clock
  readonly dice: Dice
  readonly store: Store
  send(message: Message): void
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
}

type Answer = Done<Outcome<unknown>>
type Pending = { readonly index: number; readonly term: number; readonly done: Answer }

/** The core gives a transfer up after an election timeout; a far heir may need a little longer to be heard of. */
const TRANSFER_MS = ELECTION_TICKS * TICK_MS + 500

export class Group<State, Command> implements Followable {
  readonly name: string
  /** How its log was found at start, and the newest log that was put aside, if one was. */
  opened: Pick<Opened, 'how' | 'why'> & { readonly reason: Reason | undefined }
  /** Heard, or named by whom this peer follows; empty when none is known. */
  leader: PeerId = ''
  role: Role = 'follower'
  appliedIndex: number

  readonly #machine: Machine<State, Command>
  readonly #snapshots: Codec<Envelope<State>>
  #peers: { readonly of: readonly MemberId[]; readonly peers: ReadonlySet<PeerId> } = {
    of: [],
    peers: new Set(),
  }
  #envelope: Envelope<State>
  readonly #ports: GroupPorts
  readonly #events: GroupEvents<Command>
  #raft: Raft
  #log: LogWriter
  readonly #pending = new Map<number, Pending>()
  readonly #asked = new Map<number, Answer>()
  readonly #reads = new Map<number, Done<void>>()
  readonly #ticker: Ticker
  readonly #transfers = new Map<number, Done<void>>()
  readonly #timers: Timers
  readonly #cluster: string
  #owner: LogOwner
  #copying: Copying
  #appliedTerm: number
  #snapshotIndex: number
  #copyTimer: Timer | undefined
  #nextToken = 1
  #stopped = false

  constructor(
    { name, cluster, peer, mend = () => undefined }: GroupTerms<State>,
    machine: Machine<State, Command>,
    ports: GroupPorts,
    events: GroupEvents<Command>,
  ) {
    this.name = name
    this.#machine = machine
    this.#ports = ports
    this.#timers = new Timers(ports.clock)
    this.#events = events
    this.#cluster = cluster
    this.#snapshots = envelopeCodec(machine)
    const { clock, dice, store } = ports
    const terms = { group: name, peer, wallMs: clock.wallMs(), dice, mend }
    const found = openLog(store, terms, machine)
    this.opened = { how: found.how, why: found.why, reason: recoverReason(store, name) }
    const { snapshot } = found.recovered
    this.#envelope = this.#decoded(snapshot.data)
    const begun = this.#begun(found)
    this.#raft = begun.raft
    this.#log = begun.log
    this.#owner = found.owner
    this.#copying = new Copying(name, found.owner, found.recovered)
    this.appliedIndex = this.#snapshotIndex = snapshot.index
    this.#appliedTerm = snapshot.term
    this.#ticker = new Ticker(clock, {
      due: () => dueInTicks(this.#raft),
      tick: (count) => this.#step({ kind: 'tick', count }),
    })
  }

  /** As whom this peer keeps its log of the group. */
  get member(): MemberId {
    return this.#owner.member
  }

  start(): void {
    this.#ticker.start()
    // What is known to be agreed is applied before anybody looks; nothing else comes of it.
    this.#feed({ kind: 'applied', index: this.appliedIndex })
    this.#log.begin()
  }

  /** Nothing is heard, sent or answered after this. */
  stop(): void {
    this.#copy()
    this.#stopped = true
    this.#log.end()
    this.#ticker.stop()
    this.#timers.stop()
    this.#refuseAll({ code: 'STOPPING', peer: 'this peer' }, unknown(this.name, 'this peer stops'))
  }

  hear(message: Message): void {
    if (!this.#stopped) this.#feed({ kind: 'message', message })
  }

  unreachable(peer: PeerId): void {
    if (this.#stopped) return
    for (const member of membersOf(this.#raft.configuration)) {
      if (peerOf(member) === peer) this.#feed({ kind: 'unreachable', peer: member })
    }
  }

  /** The group's own part of what is agreed on. */
  get state(): State {
    return this.#envelope.state
  }

  /** As agreed; undefined while the defaults hold. */
  get timing(): Envelope<State>['timing'] {
    return this.#envelope.timing
  }

  /**
   * Appends what a session asks for (node/proposing.ts is the asker). A value is the answer of the group's state machine;
   * NOT_LEADER or NO_LEADER come at once when this peer does not lead, OUTCOME_UNKNOWN when another leader's log decides.
   */
  submit(asked: Asked, done: Done<Outcome<unknown>>): void {
    const command = { ...asked, nowMs: this.#ports.clock.wallMs() } as EnvelopeCommand
    this.#ask(done, (token) => ({ kind: 'propose', token, data: envelopeCommand.encode(command) }))
  }

  change(change: ConfigurationChange, done: Done<void>): void {
    this.#ask(
      (outcome) => done(outcome.ok ? ok(undefined) : outcome),
      (token) => ({ kind: 'propose-change', token, change }),
    )
  }

  /** Another timing than is agreed on, for this member alone: one without a leader may wait longer. */
  pace(timing: Timing): void {
    if (!this.#stopped) this.#feed({ kind: 'timing', ...timing })
  }

  /** Hands the lead to a voter. Ok once another leads; fails when it did not come to that. */
  transfer(to: MemberId, done: Done<void>): void {
    if (this.#stopped) return done(failed({ code: 'STOPPING', peer: 'this peer' }))
    const token = this.#nextToken++
    const end = (outcome: Outcome<void>): void => {
      if (!this.#transfers.delete(token)) return
      done(outcome)
    }
    this.#transfers.set(token, end)
    this.#feed({ kind: 'transfer', token, to })
    this.#timers.after(TRANSFER_MS, () =>
      end(failed({ code: 'TIMEOUT', what: `the transfer to ${peerOf(to)}`, afterMs: TRANSFER_MS })),
    )
  }

  /** `peer` is known to be gone: if it leads, votes may be given to others at once. */
  forget(peer: PeerId): void {
    if (!this.#stopped && this.role === 'follower' && this.leader === peer)
      this.#feed({ kind: 'forget-leader' })
  }

  /** Answers once this leader's state holds everything that was acknowledged before the call. */
  read(done: Done<void>): void {
    const token = this.#nextToken++
    this.#reads.set(token, done)
    this.#feed({ kind: 'read', token })
  }

  /** The state as it is now, as a snapshot of the log would have it. */
  capture(): Snapshot & { readonly generation: number } {
    return {
      generation: this.generation,
      index: this.appliedIndex,
      term: this.#appliedTerm,
      configuration: this.#raft.configuration,
      data: this.#snapshots.encode(this.#envelope),
    }
  }

  get generation(): number {
    return this.#owner.generation
  }

  status(): Status {
    return status(this.#raft)
  }

  /** A look at what this peer holds, for those who follow it. */
  held(): ReturnType<Followable['held']> {
    const { log, snapshot, term, config } = this.#raft
    return { generation: config.generation, log, snapshot, term }
  }

  /** The leader, if this peer leads or has heard it within two election timeouts. */
  heardLeader(): PeerId {
    // Who has no vote sleeps through its ticks.
    if (!this.#stopped) this.#ticker.catchUp()
    const { role, leader, electionElapsed, electionTimeout } = this.#raft
    const heard = role === 'leader' || electionElapsed < 2 * electionTimeout
    return heard ? peerOf(leader) : ''
  }

  isMember(peer: PeerId): boolean {
    const members = membersOf(this.#raft.configuration)
    // The same list as long as the configuration is the same; asked for every peer, again and again.
    if (this.#peers.of !== members) this.#peers = { of: members, peers: new Set(members.map(peerOf)) }
    return this.#peers.peers.has(peer)
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
    // What the state machine cannot read it refuses; a change of members must be one.
    const why = refusalOf(() =>
      entries.forEach(({ kind, data }) => kind === 'configuration' && decodeChange(data)),
    )
    if (why === undefined) this.#feed({ kind: 'learn', entries })
    return why
  }

  /** A snapshot, as others hold it; one of a newer generation instead of this log. @returns Why it cannot be read, if so. */
  install(generation: number, snapshot: Snapshot): string | undefined {
    if (this.#stopped) return undefined
    const why = refusalOf(() => this.#snapshots.decode(snapshot.data))
    if (why !== undefined) return why
    if (generation > this.#raft.config.generation) this.#beginAnew(generation)
    if (generation === this.#raft.config.generation) this.#feed({ kind: 'learn-snapshot', snapshot })
    return undefined
  }

  #ask(done: Answer, event: (token: number) => RaftEvent): void {
    if (this.#stopped) return done(failed({ code: 'STOPPING', peer: 'this peer' }))
    const { unwritable } = this.#log
    if (unwritable !== undefined) return done(failed(unwritable))
    if (this.#asked.size + this.#pending.size >= PROPOSALS_MAX) {
      return done(failed({ code: 'PROPOSAL_DROPPED', group: this.name, why: 'too many proposals wait' }))
    }
    const token = this.#nextToken++
    this.#asked.set(token, done)
    this.#feed(event(token))
  }

  #feed(event: RaftEvent): void {
    this.#ticker.catchUp()
    this.#step(event)
    this.#ticker.sleep()
  }

  #step(event: RaftEvent): void {
    const raft = this.#raft
    for (const effect of step(raft, event)) if (raft === this.#raft) this.#perform(effect)
  }

  #perform(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'send':
        return this.#log.send(effect.message, effect.after)
      case 'store':
        return this.#log.write(effect.token, [
          ...storeOps(this.name, effect),
          ...this.#copying.dropped(effect),
        ])
      case 'apply':
        for (const entry of effect.entries) this.#apply(entry)
        this.#feed({ kind: 'applied', index: this.appliedIndex })
        this.#compact()
        this.#copyLater()
        return this.#events.moved()
      case 'restore':
        this.#envelope = this.#decoded(effect.snapshot.data)
        this.appliedIndex = effect.snapshot.index
        this.#appliedTerm = effect.snapshot.term
        this.#snapshotIndex = effect.snapshot.index
        this.#loseProposals()
        this.#tellTiming()
        this.#events.restored()
        return this.#events.moved()
      case 'proposed': {
        const done = this.#asked.get(effect.token)
        this.#asked.delete(effect.token)
        if (done !== undefined)
          this.#pending.set(effect.index, { index: effect.index, term: effect.term, done })
        return
      }
      case 'read-ready': {
        const done = this.#reads.get(effect.token)
        this.#reads.delete(effect.token)
        return done?.(ok(undefined))
      }
      case 'refused':
        return this.#refuse(effect.token, refusal(this.name, effect))
      case 'superseded':
        return this.#beginAnew(effect.generation)
      case 'role':
        // What this peer proposed as leader may be overwritten, or committed by the next one: the asker cannot know.
        if (this.role === 'leader' && effect.role !== 'leader') this.#loseProposals()
        this.role = effect.role
        this.leader = peerOf(effect.leader)
        if (effect.leader !== '' && effect.leader !== this.member)
          for (const end of this.#transfers.values()) end(ok(undefined))
        this.#events.role(effect.role, this.leader)
        return
    }
  }

  /** A leader that cannot write applies nothing, though the others may agree: one of them is to lead. */
  #handOver(): void {
    const to = this.role === 'leader' ? successorOf(this.status()) : undefined
    if (to !== undefined) this.#feed({ kind: 'transfer', to })
  }

  /** Another generation is heard of: this log is no longer the group's. Its peer is another member from here on. */
  #beginAnew(generation: number): void {
    const { clock, dice } = this.#ports
    const { log, snapshot, term, vote } = this.#raft
    const held = { hardState: { term, vote, commit: log.commit }, snapshot, entries: log.entries }
    const terms = { group: this.name, peer: peerOf(this.member), dice, wallMs: clock.wallMs() }
    const found = supersede(terms, this.#owner, held, generation)
    this.#log.end()
    const why = unknown(this.name, 'the group began anew')
    this.#refuseAll(why, why)
    this.#envelope = this.#decoded(found.recovered.snapshot.data)
    const begun = this.#begun(found)
    this.#raft = begun.raft
    this.#log = begun.log
    this.#owner = found.owner
    this.#copying = new Copying(this.name, found.owner, found.recovered)
    this.appliedIndex = this.#snapshotIndex = this.#appliedTerm = 0
    const isAside = found.how === 'quarantined'
    if (isAside) this.opened = { ...this.opened, how: found.how, why: found.why }
    this.role = 'follower'
    this.leader = ''
    this.#log.begin()
    if (isAside) this.#events.putAside()
    this.#events.restored()
    this.#events.role(this.role, this.leader)
    this.#events.moved()
  }

  #begun({ owner, recovered, first }: Pick<Opened, 'owner' | 'recovered' | 'first'>): {
    raft: Raft
    log: LogWriter
  } {
    const { dice, store } = this.#ports
    const raft = create(
      {
        cluster: this.#cluster,
        group: this.name,
        generation: owner.generation,
        self: owner.member,
        ...(this.#envelope.timing ?? DEFAULT_TIMING),
        dice,
        // Of two hosts of a site the second learns, and holds an entry before that is acknowledged (DESIGN section 3).
        heldForLearner: this.name !== 'mesh',
      },
      recovered,
    )
    const log = new LogWriter(store, first, {
      send: (message) => this.#ports.send(message),
      later: (delayMs, run) => void this.#timers.after(delayMs, run),
      stored: (token) => this.#stopped || this.#feed({ kind: 'stored', token }),
      failed: (failure) => this.#stopped || this.#refuseAll(failure, pendingOf(this.name, failure)),
      stuck: () => this.#handOver(),
    })
    return { raft, log }
  }

  #apply(entry: Entry): void {
    this.appliedIndex = entry.index
    this.#appliedTerm = entry.term
    const pending = this.#pending.get(entry.index)
    this.#pending.delete(entry.index)
    // Another leader's entry stands where ours was to be: whether ours is anywhere is not known to us.
    if (pending !== undefined && pending.term !== entry.term) pending.done(failed(lost(this.name)))
    const answer = pending?.term === entry.term ? pending.done : undefined
    if (entry.kind === 'configuration' || entry.data.length === 0) return answer?.(ok(ok(undefined)))
    const { timing } = this.#envelope
    const applied = applyEntry(this.#envelope, this.#machine, entry.index, entry.data)
    if (this.#envelope.timing !== timing) this.#tellTiming()
    if (applied.kind !== 'answer') return answer?.(failed(unanswered(this.name, entry.data, applied.kind)))
    if (applied.command !== undefined) this.#events.applied(applied.command, applied.outcome)
    answer?.(ok(applied.outcome))
  }

  /** What the group has agreed on; the defaults hold until it has. */
  #tellTiming(): void {
    const { timing } = this.#envelope
    if (timing !== undefined) this.#feed({ kind: 'timing', ...timing })
  }

  #compact(): void {
    if (this.appliedIndex - this.#snapshotIndex < SNAPSHOT_EVERY_ENTRIES) return
    this.#snapshotIndex = this.appliedIndex
    const data = this.#encoded()
    if (data !== undefined) this.#feed({ kind: 'compact', index: this.appliedIndex, data })
  }

  /** While this peer decides alone: the state once more, apart from the log (storage/raft-salvage.ts). */
  #copyLater(): void {
    if (this.#copyTimer !== undefined || !this.#isCopyDue()) return
    this.#copyTimer = this.#timers.after(this.#copying.waitMs, () => {
      this.#copyTimer = undefined
      this.#copy()
    })
  }

  #copy(): void {
    if (!this.#isCopyDue()) return
    const [index, term] = [this.appliedIndex, this.#appliedTerm]
    const { configuration } = this.#raft
    const data = this.#encoded()
    if (data === undefined) return
    const op = this.#copying.copied({ index, term, configuration, data })
    // It rides along with the next fsync: an older copy, or none, is no worse than a damaged log.
    this.#ports.store.write([op], false, () => {})
  }

  #isCopyDue(): boolean {
    return this.#copying.isDue(this.appliedIndex, this.#raft.configuration)
  }

  #decoded(data: Uint8Array): Envelope<State> {
    return data.length === 0 ? newEnvelope(this.#machine.empty()) : this.#snapshots.decode(data)
  }

  /** Undefined for a state that has outgrown a snapshot: it keeps its log, and is slower to start, but nothing is lost. */
  #encoded(): Uint8Array | undefined {
    try {
      return this.#snapshots.encode(this.#envelope)
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error
      return undefined
    }
  }

  #refuse(token: number, failure: Failure): void {
    const asked = this.#asked.get(token) ?? this.#reads.get(token) ?? this.#transfers.get(token)
    this.#asked.delete(token)
    this.#reads.delete(token)
    asked?.(failed(failure))
  }

  #loseProposals(): void {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { done } of pending) done(failed(lost(this.name)))
  }

  /** `failure` for what is in no log, `open` for what may be in one. */
  #refuseAll(failure: Failure, open: Failure): void {
    const refused = [...this.#asked.values(), ...this.#reads.values(), ...this.#transfers.values()]
    const pending = [...this.#pending.values()]
    this.#asked.clear()
    this.#reads.clear()
    this.#pending.clear()
    for (const done of refused) done(failed(failure))
    for (const { done } of pending) done(failed(open))
  }
}

/** The voter that is heard and holds most. */
function successorOf({ configuration, progress, leader }: Status): MemberId | undefined {
  const heard = progress.filter(
    ({ peer, recentActive }) => peer !== leader && recentActive && isVoter(configuration, peer),
  )
  return heard.toSorted((a, b) => b.match - a.match)[0]?.peer
}

/** What a decoder has against something. */
function refusalOf(decode: () => unknown): string | undefined {
  try {
    decode()
    return undefined
  } catch (error) {
    if (!(error instanceof GodwitError)) throw error
    return error.message
  }
}

const unknown = (group: string, why: string): Failure => ({ code: 'OUTCOME_UNKNOWN', group, why })
const lost = (group: string): Failure => unknown(group, 'the leader changed')

/** What a failed write leaves of proposals that wait for it: they stay in the log, and are written again. */
const pendingOf = (group: string, failure: Failure): Failure =>
  failure.code === 'DISK_FULL' || failure.code === 'IO'
    ? { ...failure, pending: true }
    : unknown(group, describeFailure(failure))

function unanswered(group: string, data: Uint8Array, kind: 'expired' | 'forgotten'): Failure {
  if (kind === 'forgotten') return unknown(group, 'it was done, and its answer is no longer kept')
  const asked = envelopeCommand.decode(data)
  return { code: 'SESSION_EXPIRED', group, session: asked.kind === 'do' ? asked.session : 0 }
}

function refusal(group: string, { why, leader: member }: RaftEffect & { kind: 'refused' }): Failure {
  const leader = peerOf(member)
  // Another is about to lead: to whoever asks that is a group without a leader, for a round trip or two.
  if (why === 'transferring') return { code: 'NO_LEADER', group, afterMs: 0 }
  if (why === 'not-leader') {
    return leader === '' ? { code: 'NO_LEADER', group, afterMs: 0 } : { code: 'NOT_LEADER', group, leader }
  }
  return { code: 'PROPOSAL_DROPPED', group, why }
}

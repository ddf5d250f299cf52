/**
 * One member of one simulated group: the real core, and the thinnest shell that performs its effects on virtual disk,
 * network and time. Its promises are those of node/group.ts: a `send` with `after` leaves when that write is durable, a
 * failed write is tried again, committed entries are applied in order, each once in a life.
 */
import {
  type Applied,
  applyEntry,
  type Asked,
  envelopeCommand,
  type Timing,
} from '../../protocols/raft/envelope.ts'
import { emptyLog, genesis } from '../../protocols/raft/genesis.ts'
import { type MemberId, peerOf } from '../../protocols/raft/member.ts'
import type { Message } from '../../protocols/raft/messages.ts'
import { create, dueInTicks, type Raft, status, step } from '../../protocols/raft/raft.ts'
import { successorOf } from '../../protocols/raft/standing-aside.ts'
import type {
  ConfigurationChange,
  Entry,
  Proposal,
  RaftEffect,
  RaftEvent,
  Recovered,
  Snapshot,
} from '../../protocols/raft/types.ts'
import type { Pacing } from '../../node/pacing.ts'
import { Raising } from '../../node/raising.ts'
import { GodwitError } from '../../protocols/errors.ts'
import { ok } from '../../protocols/outcome.ts'
import { random } from '../random.ts'
import { before, type Before } from './checkers/look.ts'
import type { Durable } from './disk.ts'
import type { Group } from './group.ts'
import type { Host } from './host.ts'
import { pacingOf } from './pacing.ts'
import { emptyState, mixed } from './register.ts'
import { type Version, VERSIONS } from './version.ts'
import { Writes } from './writes.ts'

/** What became of a request, as its asker may know it. */
export type Answer =
  | { readonly kind: 'done'; readonly value: number; readonly index: number }
  /** Done by nobody, ever: it belongs to a feature that is not on. */
  | { readonly kind: 'unreadable' }
  /** Its session has ended, or its answer was given up: whether it was done it does not say. */
  | { readonly kind: 'expired' }
  /** Not done, for certain. */
  | { readonly kind: 'refused'; readonly why: string; readonly leader: MemberId }

type Waiting = { readonly done: (answer: Answer) => void; readonly committed: number; readonly key: string }
type Pending = { readonly term: number; readonly done: (answer: Answer) => void }

/** How often the links are looked at. */
const LOOK_US = 500_000
/** A turn of the event loop of a process that has much to do. */
const TURN_US = 2_000

export class Member {
  readonly id: MemberId
  readonly host: Host
  readonly group: Group
  raft: Raft
  state = emptyState()
  machineIndex = 0
  /** The level that the group is at, when its version does not know it. */
  halted: number | undefined
  life = 0
  /** Its log is lost: whatever it had promised, nobody may count on it, and it never speaks again. */
  gone = false
  /** The product's own; only where the setup says that links are measured. */
  #pacing: Pacing | undefined
  #raising: Raising | undefined
  /** Messages of other members heard since the term last changed. */
  heardInTerm = 0
  /** At which tick of the host the core was last told of time. */
  toldTicks = 0
  readonly before: Before
  readonly asked = new Map<number, Waiting>()
  readonly #founders: readonly MemberId[] | undefined
  /** Of this life. */
  #writes: Writes
  readonly #pending = new Map<number, Pending>()
  #gathered: { readonly data: Uint8Array; readonly done: (answer: Answer) => void }[] = []
  #lost: Durable | undefined
  #token = 1
  #snapshotIndex = 0
  #timing: Timing | undefined

  constructor(id: MemberId, host: Host, group: Group, founders: readonly MemberId[] | undefined) {
    this.id = id
    this.host = host
    this.group = group
    this.#founders = founders
    this.#writes = this.#written()
    this.raft = this.#born(this.#begun())
    this.before = before(this)
  }

  get digest(): number {
    return mixed(this.state.state.digest, this.state.level)
  }

  get version(): Version {
    return VERSIONS[this.host.version]
  }

  bytes(): Uint8Array {
    return this.version.states.encode(this.state)
  }

  /** What is on its disk; of a lost log, what was. */
  get durable(): Durable {
    return this.#lost ?? this.host.disk.durable(this.group.name)
  }

  /** Its log is gone, and with it whoever it was. */
  lose(): void {
    this.#lost = this.durable
    this.gone = true
    this.#writes.end()
  }

  /** A new life, from what is on the disk. @throws GodwitError DATA_CORRUPT */
  restart(): void {
    const recovered = this.host.disk.recover(this.group.name)
    this.life++
    this.#writes.end()
    this.#writes = this.#written()
    this.asked.clear()
    this.#pending.clear()
    this.#gathered = []
    this.raft = this.#born(recovered ?? this.#begun())
    this.group.checks.restarted(this, recovered)
    if (recovered !== undefined) this.durable.entries = [...recovered.entries]
  }

  /** Lets the core begin: what it does at once, it does now. */
  begin(): void {
    this.#timing = undefined
    this.#raising = new Raising(raisedOf(this), this.version.known)
    this.#pacing = this.group.setup.adaptive === true ? pacingOf(this) : undefined
    this.feed({ kind: 'tick' })
    if (this.halted !== undefined) this.feed({ kind: 'halt' })
    this.#goByAgreed()
    if (this.#pacing !== undefined) this.#pace()
  }

  #begun(): Recovered {
    const first = this.#founders === undefined ? emptyLog() : genesis(this.#founders)
    this.host.disk.begin(this.group.name, this.id, first)
    return first
  }

  #born(recovered: Recovered): Raft {
    const { group, host, id, life } = this
    this.#restore(recovered.snapshot)
    this.toldTicks = host.ticks
    return create(
      {
        cluster: 'simulated',
        group: group.name,
        generation: 0,
        self: id,
        dice: random(group.setup.seed, `${group.name}/${id}/${life}`),
        ...group.setup.timing,
        ...group.setup.bounds,
        level: this.version.known,
        preVote: host.preVote,
      },
      recovered,
    )
  }

  feed(event: RaftEvent): void {
    this.#catchUp()
    this.#step(event)
    this.host.wakeFor(this)
  }

  /** What its clock has counted since it was last told. */
  #catchUp(): void {
    const { ticks } = this.host
    const count = ticks - this.toldTicks
    this.toldTicks = ticks
    if (count > 0) this.#step({ kind: 'tick', count })
  }

  #step(event: RaftEvent, message?: Message): void {
    const effects = step(this.raft, event)
    this.group.trace?.stepped(this, event, effects)
    this.group.checks.stepped(this, message)
    for (const effect of effects) this.#perform(effect)
    this.group.checks.performed(this)
  }

  /** In how many ticks of the host it must be told of time. */
  dueInTicks(): number {
    return dueInTicks(this.raft) - (this.host.ticks - this.toldTicks)
  }

  /** The host's clock has moved. */
  tick(): void {
    if (this.dueInTicks() <= 0) this.#catchUp()
  }

  hear(message: Message): void {
    this.#catchUp()
    this.heardInTerm++
    this.#pacing?.heard(message)
    this.#step({ kind: 'message', message }, message)
    if (message.kind === 'MsgHeartbeatResp') this.#raising?.look()
    this.host.wakeFor(this)
  }

  /** A message leaves. */
  sends(message: Message): void {
    this.#pacing?.sent(message, true)
  }

  /** Its connection to `peer` is gone. */
  unreachable(peer: MemberId): void {
    this.#pacing?.lost(peerOf(peer))
    this.feed({ kind: 'unreachable', peer })
  }

  #pace(): void {
    this.#pacing?.look()
    this.group.after(this, LOOK_US, () => this.#pace())
  }

  propose(asked: Asked, done: (answer: Answer) => void): void {
    if (this.#writes.failing) return done(refused('disk', this.raft.leader))
    if (asked.kind === 'feature') this.group.features.proposes(this, asked.level)
    const data = envelopeCommand.encode({ ...asked, nowMs: this.host.wallMs })
    this.#gathered.push({ data, done })
    if (this.raft.role !== 'leader') this.#proposeGathered()
    // As node/driving.ts does: what comes in one turn of the event loop goes together.
    else if (this.#gathered.length === 1) this.group.after(this, TURN_US, () => this.#proposeGathered())
  }

  #proposeGathered(): void {
    const proposals = this.#gathered
      .splice(0)
      .map(({ data, done }): Proposal => ({ token: this.#ask(done, ''), data }))
    if (proposals.length > 0) this.feed({ kind: 'propose', proposals })
  }

  change(change: ConfigurationChange, done: (answer: Answer) => void = () => {}): void {
    const token = this.#ask(done, '')
    this.feed({ kind: 'propose-change', token, change })
  }

  read(key: string, done: (answer: Answer) => void): void {
    const token = this.#ask(done, key)
    this.feed({ kind: 'read', token })
  }

  /** A snapshot of the machine as it is. */
  compact(): void {
    const { machineIndex } = this
    if (machineIndex <= this.#snapshotIndex || machineIndex > this.raft.log.applied) return
    this.#snapshotIndex = machineIndex
    this.feed({ kind: 'compact', index: machineIndex, data: this.bytes() })
  }

  #ask(done: (answer: Answer) => void, key: string): number {
    // Time that went by before comes first: nobody is asked yet.
    this.#catchUp()
    const token = this.#token++
    this.asked.set(token, { done, committed: this.group.truth.committedTo, key })
    return token
  }

  #perform(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'send':
        return this.#writes.send(effect.message, effect.after)
      case 'store':
        return this.#writes.write(effect)
      case 'apply':
        for (const entry of effect.entries) if (this.halted === undefined) this.#apply(entry)
        if (this.halted !== undefined) return
        this.feed({ kind: 'applied', index: this.machineIndex })
        this.#goByAgreed()
        this.#raising?.look()
        if (this.machineIndex - this.#snapshotIndex >= this.group.setup.snapshotEvery) this.compact()
        return
      case 'restore':
        if (!this.#restore(effect.snapshot)) return this.feed({ kind: 'halt' })
        this.group.checks.restored(this)
        this.#goByAgreed()
        // Whatever it had proposed below the snapshot: it cannot know what became of it.
        this.#pending.clear()
        return
      case 'proposed': {
        const asked = this.#take(effect.token)
        if (asked !== undefined) this.#pending.set(effect.index, { term: effect.term, done: asked.done })
        return
      }
      case 'read-ready': {
        const asked = this.#take(effect.token)
        if (asked === undefined) return
        this.group.checks.answers(this, asked.committed)
        return asked.done({
          kind: 'done',
          value: this.state.state.values[asked.key] ?? 0,
          index: this.machineIndex,
        })
      }
      case 'refused':
        return this.#take(effect.token)?.done(refused(effect.why, effect.leader))
      case 'role':
        if (effect.role === 'leader') this.group.leads(this)
        return this.#pacing?.look()
      case 'superseded':
    }
  }

  #take(token: number): Waiting | undefined {
    const asked = this.asked.get(token)
    this.asked.delete(token)
    return asked
  }

  #written(): Writes {
    const { host, group } = this
    return new Writes({
      write: (effect, done) => host.disk.write(group.name, effect, done),
      after: (delayUs, run) => group.after(this, delayUs, run),
      whenAwake: (run) => host.whenAwake(run),
      send: (message) => group.post(this, message),
      stored: (token) => this.feed({ kind: 'stored', token }),
      stuck: () => this.#handOver(),
    })
  }

  /** As node/group.ts does it. */
  #handOver(): void {
    const to = this.raft.role === 'leader' ? successorOf(status(this.raft)) : undefined
    if (to !== undefined) this.feed({ kind: 'transfer', to })
  }

  /** @returns False when its version cannot read it: the state stays, and is all that it will have in this life. */
  #restore({ index, data }: Snapshot): boolean {
    try {
      this.state = data.length === 0 ? emptyState() : this.version.states.decode(data)
    } catch (error) {
      if (!(error instanceof GodwitError) || error.failure.code !== 'FEATURE_UNKNOWN') throw error
      this.#halt(error.failure.level)
      return false
    }
    this.halted = undefined
    this.machineIndex = index
    this.#snapshotIndex = index
    return true
  }

  #halt(level: number): void {
    this.halted = level
    this.group.features.halts(this, level)
  }

  #apply(entry: Entry): void {
    const { index, kind, data } = entry
    const { level } = this.state
    const { machine, known, takes } = this.version
    const hasCommand = kind === 'normal' && data.length > 0
    const applied = hasCommand ? applyEntry(this.state, machine, index, takes(data), known) : undefined
    if (applied?.kind === 'unknown') {
      this.#halt(applied.level)
      return this.feed({ kind: 'halt' })
    }
    this.machineIndex = index
    const { features, checks } = this.group
    if (this.state.level > level) features.raised(this, this.state.level)
    if (applied?.kind === 'answer' && applied.command !== undefined)
      features.tookEffect(this, applied.command)
    features.applied(this)
    const pending = this.#pending.get(index)
    this.#pending.delete(index)
    checks.applied(this, entry)
    if (pending === undefined) return
    // Another leader's entry stands at this index: ours is in no log that counts, and never will be.
    const isOurs = pending.term === entry.term
    pending.done(isOurs ? answerOf(applied, index) : refused('overwritten', this.raft.leader))
  }

  /** What the group has agreed on, if it has. */
  #goByAgreed(): void {
    const { timing } = this.state
    if (timing === this.#timing || timing === undefined) return
    this.#timing = timing
    this.feed({ kind: 'timing', ...timing })
    this.#pacing?.look()
  }
}

function answerOf(applied: Applied<unknown> | undefined, index: number): Answer {
  if (applied === undefined) return { kind: 'done', value: 0, index }
  if (applied.kind !== 'answer') return { kind: 'expired' }
  if (!applied.outcome.ok) return { kind: 'unreadable' }
  return { kind: 'done', value: Number(applied.outcome.value), index }
}

/** The product's own look at who knows what (node/raising.ts), over a simulated member instead of a peer's group. */
const raisedOf = (member: Member): ConstructorParameters<typeof Raising>[0] => ({
  get role() {
    return member.raft.role
  },
  get level() {
    return member.state.level
  },
  status: () => status(member.raft),
  submit: (asked, done) => member.propose(asked, () => done(ok(ok(null)))),
})

const refused = (why: string, leader: MemberId): Answer => ({ kind: 'refused', why, leader })

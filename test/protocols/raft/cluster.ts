/**
 * Members of one group in one process: the real core, codec and records, on a network and disks that the test steers.
 * Nothing happens by itself: messages lie in `network`, writes in each member's `disk`, until a test moves them.
 */
import { encodeChange, NOBODY } from '../../../protocols/raft/configuration.ts'
import { genesis as genesisOf } from '../../../protocols/raft/genesis.ts'
import { message, type Message } from '../../../protocols/raft/messages.ts'
import { create, type Raft, step } from '../../../protocols/raft/raft.ts'
import type {
  Configuration,
  ConfigurationChange,
  Entry,
  RaftConfig,
  RaftEffect,
  RaftEvent,
  Recovered,
  SingleChange,
  Snapshot,
} from '../../../protocols/raft/types.ts'
import { recover, storeOps } from '../../../storage/raft-log.ts'
import type { Op } from '../../../storage/store.ts'
import { random, type Random } from '../../../simulator/random.ts'

export const GROUP = 'mesh'
/** What every message of these tests bears. */
export const HEADER = { cluster: '01JZ0000000000000000000001', group: GROUP, generation: 0 }
export const ELECTION_TICKS = 10
export const HEARTBEAT_TICKS = 2

/** A peer id by a number: 1 -> `peer1peer1peer1peer1`. */
export const peer = (n: number): string => `peer${n}`.repeat(4)

export const configurationOf = (voters: number[], learners: number[] = []): Configuration => ({
  ...NOBODY,
  voters: voters.map(peer),
  learners: learners.map(peer),
})

/** A group as it begins in life, by its first entry; so that those who begin with nothing learn of all members. */
export function founded(voters: number[], learners: number[] = []): Recovered {
  const first = genesisOf(voters.map(peer))
  const changes = [
    ...voters.map((n) => ({ kind: 'add-node' as const, peer: peer(n) })),
    ...learners.map((n) => ({ kind: 'add-learner-node' as const, peer: peer(n) })),
  ]
  const data = encodeChange({ transition: 'auto', changes })
  return { ...first, entries: first.entries.map((entry) => ({ ...entry, data })) }
}

/** A group that begins with its members known, as after a snapshot at index 0: entries of tests begin at 1. */
export const genesis = (configuration: Configuration): Recovered => ({
  hardState: { term: 0, vote: '', commit: 0 },
  snapshot: { index: 0, term: 0, configuration, data: new Uint8Array() },
  entries: [],
})

type Write = { readonly token: number; readonly ops: readonly Op[]; readonly held: Message[] }
type Effect<K extends RaftEffect['kind']> = Extract<RaftEffect, { kind: K }>

export class Member {
  readonly id: string
  readonly cluster: Cluster
  raft!: Raft
  up = false
  /** What is on disk, and what is on its way there, in order. */
  stored = new Map<string, Uint8Array>()
  disk: Write[] = []
  /** The state machine: what was proposed, in order; and the entries it was made of in this life. */
  state: string[] = []
  machineIndex = 0
  applied: Entry[] = []
  /** Every effect but sends, writes and applies. */
  answers: Exclude<RaftEffect, { kind: 'send' | 'store' | 'apply' }>[] = []
  /** When false, writes wait in `disk` until `sync`. */
  autoSync = true
  lives = 0

  readonly #first: Recovered

  constructor(cluster: Cluster, id: string, first: Recovered) {
    this.cluster = cluster
    this.id = id
    this.#first = first
    // What a test says was there before is on disk.
    this.#write({ token: 0, ops: storeOps(GROUP, { kind: 'store', token: 0, ...first }), held: [] })
    this.start()
  }

  /** From what is on its disk, if anything is. */
  start(): void {
    const recovered = this.recovered() ?? this.#first
    this.lives++
    this.up = true
    this.applied = []
    this.answers = []
    this.state = machineOf(recovered.snapshot)
    this.machineIndex = recovered.snapshot.index
    this.raft = create(
      {
        ...HEADER,
        self: this.id,
        electionTicks: ELECTION_TICKS,
        heartbeatTicks: HEARTBEAT_TICKS,
        dice: random(this.cluster.seed, `${this.id}/${this.lives}`),
        ...this.cluster.options,
      },
      recovered,
    )
  }

  /** What a restart would find. */
  recovered(): Recovered | undefined {
    const pairs = [...this.stored].sort(([a], [b]) => (a < b ? -1 : 1))
    return recover({ recovered: (prefix) => pairs.filter(([key]) => key.startsWith(prefix)) }, GROUP)
  }

  feed(event: RaftEvent): RaftEffect[] {
    const effects = step(this.raft, event)
    for (const effect of effects) this.#perform(effect)
    this.cluster.check(this)
    if (this.autoSync) this.sync()
    return effects
  }

  tick(times = 1): void {
    for (let i = 0; i < times; i++) this.feed({ kind: 'tick' })
  }

  /** Until it campaigns. */
  campaign(): void {
    for (let i = 0; i < 2 * ELECTION_TICKS && this.raft.role === 'follower'; i++) this.tick()
  }

  /** Whether or not its time has come. */
  hup(): RaftEffect[] {
    return this.feed({ kind: 'campaign' })
  }

  change(change: ConfigurationChange, token = 0): RaftEffect[] {
    return this.feed({ kind: 'propose-change', token, change })
  }

  transfer(n: number, token = 0): RaftEffect[] {
    return this.feed({ kind: 'transfer', token, to: peer(n) })
  }

  propose(text: string, token = 0): RaftEffect[] {
    return this.feed({ kind: 'propose', proposals: [{ token, data: Uint8Array.from(Buffer.from(text)) }] })
  }

  /** Lets the disk finish what it has, oldest first. */
  sync(writes = Infinity): void {
    for (let i = 0; i < writes && this.up; i++) {
      const write = this.disk.shift()
      if (write === undefined) return
      this.#write(write)
      for (const held of write.held) this.cluster.post(held)
      this.feed({ kind: 'stored', token: write.token })
    }
  }

  /** Power goes: of the writes that were not acknowledged the first `kept` are on disk all the same. */
  crash(kept = 0): void {
    for (const write of this.disk.slice(0, kept)) this.#write(write)
    this.disk = []
    this.up = false
  }

  effects<K extends RaftEffect['kind']>(kind: K): Effect<K>[] {
    return this.answers.filter((effect): effect is typeof effect & Effect<K> => effect.kind === kind)
  }

  texts(): string[] {
    return this.state
  }

  takeAnswers(): Member['answers'] {
    const taken = this.answers
    this.answers = []
    return taken
  }

  /** A snapshot of the machine as it is. */
  compact(): void {
    this.feed({ kind: 'compact', index: this.raft.log.applied, data: Buffer.from(this.state.join('\n')) })
  }

  #perform(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'send': {
        const write = this.disk.find(({ token }) => token === effect.after)
        if (write === undefined) this.cluster.post(effect.message)
        else write.held.push(effect.message)
        return
      }
      case 'store':
        this.disk.push({ token: effect.token, ops: storeOps(GROUP, effect), held: [] })
        return
      case 'apply': {
        this.applied.push(...effect.entries)
        this.machineIndex = effect.entries.at(-1)?.index ?? 0
        for (const { kind, data } of effect.entries) {
          if (kind === 'normal' && data.length > 0) this.state.push(Buffer.from(data).toString())
        }
        this.cluster.onApply(this, effect.entries)
        this.feed({ kind: 'applied', index: effect.entries.at(-1)?.index ?? 0 })
        return
      }
      default:
        if (effect.kind === 'restore') {
          this.state = machineOf(effect.snapshot)
          this.machineIndex = effect.snapshot.index
        }
        this.answers.push(effect)
    }
  }

  #write({ ops }: Write): void {
    for (const op of ops) {
      if (op.kind === 'put') this.stored.set(op.key, op.value)
      else if (op.kind === 'del') this.stored.delete(op.key)
      else for (const key of this.stored.keys()) if (key >= op.gte && key < op.lt) this.stored.delete(key)
    }
  }
}

const machineOf = ({ data }: Snapshot): string[] =>
  data.length === 0 ? [] : Buffer.from(data).toString().split('\n')

export class Cluster {
  readonly seed: number
  readonly dice: Random
  /** What a test wants other than the product has it, for members that are added or started from now on. */
  options: Partial<RaftConfig> = {}
  readonly members = new Map<string, Member>()
  network: Message[] = []
  /** False: lost. Set by a test to cut links. */
  passes: (message: Message) => boolean = () => true
  check: (member: Member) => void = () => {}
  onPost: (message: Message) => void = () => {}
  onApply: (member: Member, entries: readonly Entry[]) => void = () => {}

  constructor(seed = 1) {
    this.seed = seed
    this.dice = random(seed, 'cluster')
  }

  /** Members 1..n; those in neither list know the group by its voters only. */
  static of(voters: number[], learners: number[] = [], others: number[] = [], seed = 1): Cluster {
    const cluster = new Cluster(seed)
    for (const n of [...voters, ...learners, ...others]) {
      cluster.add(n, genesis(configurationOf(voters, learners)))
    }
    return cluster
  }

  add(n: number, first: Recovered): Member {
    const member = new Member(this, peer(n), first)
    this.members.set(member.id, member)
    return member
  }

  member(n: number): Member {
    const member = this.members.get(peer(n))
    if (member === undefined) throw new Error(`no member ${n}`)
    return member
  }

  /** Everything that is sent goes through the codec, as in life. */
  post(sent: Message): void {
    const frame = message.encode(sent)
    this.network.push(message.decode(frame))
    this.onPost(sent)
  }

  deliver(sent: Message): void {
    const member = this.members.get(sent.to)
    if (member?.up === true && this.passes(sent)) member.feed({ kind: 'message', message: sent })
  }

  /** Delivers, in order, until nothing is on its way. */
  settle(rounds = 10_000): void {
    for (let i = 0; i < rounds; i++) {
      const sent = this.network.shift()
      if (sent === undefined) return
      this.deliver(sent)
    }
    throw new Error('the network does not come to rest')
  }

  /** All members tick, and everything is delivered after each. */
  tick(times = 1): void {
    for (let i = 0; i < times; i++) {
      for (const member of this.members.values()) if (member.up) member.tick()
      this.settle()
    }
  }

  /** Makes member `n` the leader, by its own timeout. */
  elect(n: number): Member {
    const member = this.member(n)
    member.campaign()
    this.settle()
    return member
  }

  cut(...alone: number[]): void {
    const side = new Set(alone.map(peer))
    this.passes = ({ from, to }) => side.has(from) === side.has(to)
  }

  heal(): void {
    this.passes = () => true
  }

  leaders(): Member[] {
    return [...this.members.values()].filter(({ up, raft }) => up && raft.role === 'leader')
  }
}

/** A change of one member. */
export const change = (kind: SingleChange['kind'], n: number): ConfigurationChange => ({
  transition: 'auto',
  changes: [{ kind, peer: peer(n) }],
})

type Fields<K extends Message['kind']> = Partial<Omit<Extract<Message, { kind: K }>, 'kind'>>

const BLANKS = {
  MsgPreVote: { index: 0, logTerm: 0 },
  MsgPreVoteResp: { reject: false },
  MsgVote: { index: 0, logTerm: 0, transfer: false },
  MsgVoteResp: { reject: false },
  MsgApp: { index: 0, logTerm: 0, entries: [], commit: 0 },
  MsgAppResp: { index: 0, reject: false, rejectHint: 0, logTerm: 0 },
  MsgHeartbeat: { commit: 0, read: 0, beat: 1 },
  MsgHeartbeatResp: { read: 0, beat: 0 },
  MsgTimeoutNow: {},
  MsgReadIndex: { life: 0, serial: 1 },
  MsgReadIndexResp: { life: 0, serial: 1, index: 0, reject: false },
  MsgSnapStatus: { index: 0, offset: 0 },
} as const

/** A message from member 2 to member 1, as far as `fields` do not say otherwise. */
export function says<K extends keyof typeof BLANKS>(kind: K, term: number, fields: Fields<K> = {}): Message {
  return {
    kind,
    ...HEADER,
    from: peer(2),
    to: peer(1),
    term,
    ...BLANKS[kind],
    ...fields,
  } as unknown as Message
}

/** Entries of a MsgApp, by their terms; their data says where they stand. */
export const entriesOf = (...terms: number[]): { term: number; kind: 'normal'; data: Uint8Array }[] =>
  terms.map((term) => ({ term, kind: 'normal', data: new Uint8Array([term]) }))

/** What a member has on its disk at start: entries from 1 on, by their terms. */
export function recoveredWith(
  voters: number[],
  terms: number[],
  hardState: Partial<Recovered['hardState']> = {},
): Recovered {
  const entries = entriesOf(...terms).map((entry, at) => ({ ...entry, index: at + 1 }))
  const first = genesis(configurationOf(voters))
  return { ...first, hardState: { term: terms.at(-1) ?? 0, vote: '', commit: 0, ...hardState }, entries }
}

/** The state of one member of a group: plain data, owned by whoever called `create`; and how its parts put out effects. */
import type { MemberId } from './member.ts'
import type { Log } from './log.ts'
import type { Message } from './messages.ts'
import type { Progress } from './progress.ts'
import type {
  Configuration,
  Entry,
  HardState,
  RaftConfig,
  RaftEffect,
  RefusalWhy,
  Role,
  Snapshot,
  Timing,
} from './types.ts'

export type Raft = {
  readonly config: RaftConfig
  /** Drawn at creation: tells the reads of this life from those of the lives before it. */
  readonly life: number
  role: Role
  term: number
  vote: MemberId
  /** Empty when none is known. */
  leader: MemberId
  readonly log: Log
  /** The newest that this peer has made or received. */
  snapshot: Snapshot
  /** In force: the snapshot's, changed by every entry that has been applied. */
  configuration: Configuration
  /** Those that came into force after the snapshot, so that the next snapshot names the one of its own index. */
  configurations: { readonly index: number; readonly configuration: Configuration }[]

  /** In ticks; as configured, until the group agrees on another. */
  timing: Timing
  /** Ticks since the leader was heard, a vote was given or a campaign began; on a leader, since the last look at the quorum. */
  electionElapsed: number
  heartbeatElapsed: number
  /** Heartbeats sent in this life: each has a number of its own, by which its answer is known. */
  beats: number
  /** Drawn from [electionTicks, 2 x electionTicks), or by the follower's place in line: see roles.ts. */
  electionTimeout: number
  votes: Map<MemberId, boolean>

  /** Leaders only: every member, this peer included. */
  progress: Map<MemberId, Progress>
  /** Leader: who is to lead next; empty when nobody is. */
  transferee: MemberId
  /** No change of configuration is proposed before this index is applied. */
  lastChangeIndex: number
  /** Of the entries that this leader has appended and its state machine has not applied. */
  uncommittedBytes: number

  /** Its host can apply nothing more. */
  isHalted: boolean

  readonly reading: Reading
  readonly writing: Writing
  incoming: Incoming | undefined
  /** As in the last `role` effect. */
  told: { readonly role: Role; readonly term: number; readonly leader: MemberId }
  out: Out
}

/** Linearizable reads, see reading.ts. */
type Reading = {
  /** Leader: the newest position that heartbeats carry, and the newest that a quorum has acknowledged. */
  asked: number
  confirmed: number
  /** Leader: reads that wait for the first entry of its term to be committed. */
  postponed: Asker[]
  /** Leader: reads that wait for their position to be confirmed, in order. */
  pending: { readonly position: number; readonly index: number; readonly asker: Asker }[]
  /** Follower: reads for which the leader was asked, by serial; sent again until answered. */
  forwarded: Map<number, number>
  nextSerial: number
  /** Confirmed, and waiting for the state machine to get there. */
  ready: { readonly token: number; readonly index: number }[]
}

export type Asker =
  | { readonly kind: 'local'; readonly token: number }
  | { readonly kind: 'remote'; readonly peer: MemberId; readonly life: number; readonly serial: number }

/** Writes to disk, in order, see writing.ts. */
type Writing = {
  nextToken: number
  /** On disk, and handed over to be written. */
  durable: HardState
  handed: HardState
  inFlight: Write[]
  /** To go with the next write. */
  snapshot: { readonly snapshot: Snapshot; readonly installs: boolean } | undefined
  /** The highest index that the disk may hold once the writes in flight are done. */
  storedTo: number
  /** Messages that may leave only when everything up to now is durable, and for which no write is under way yet. */
  waiting: Message[]
  /** Messages that were put out with the token of a write in flight. */
  promised: { readonly after: number; readonly message: Message }[]
}

export type Write = {
  readonly token: number
  readonly hardState: HardState
  /** Entries up to here become stable with it; lowered when they are replaced meanwhile. */
  upTo: number
  readonly installs: Snapshot | undefined
}

/** A snapshot of which some parts are here. */
export type Incoming = {
  readonly index: number
  readonly logTerm: number
  readonly total: number
  readonly checksum: number
  readonly parts: Uint8Array[]
  offset: number
}

export type Out = {
  messages: Message[]
  answers: RaftEffect[]
  restore: Snapshot | undefined
  apply: Entry[]
}

export const nothingOut = (): Out => ({ messages: [], answers: [], restore: undefined, apply: [] })

/** A message as its sender writes it: the header is filled in, with the own term unless another is given. */
export type Draft = Message extends infer M
  ? M extends Message
    ? Omit<M, 'cluster' | 'group' | 'generation' | 'from' | 'term'> & { term?: number }
    : never
  : never

/** Leaves at once: it promises nothing. */
export function send(raft: Raft, draft: Draft): void {
  raft.out.messages.push(addressed(raft, draft))
}

/** Leaves when everything that this peer has promised so far is on its disk. */
export function sendDurably(raft: Raft, draft: Draft): void {
  raft.writing.waiting.push(addressed(raft, draft))
}

function addressed({ config, term }: Raft, draft: Draft): Message {
  const { cluster, group, generation, self } = config
  return { term, ...draft, cluster, group, generation, from: self }
}

export function refuse(raft: Raft, token: number, why: RefusalWhy, detail?: string): void {
  const { leader } = raft
  raft.out.answers.push({ kind: 'refused', token, why, ...(detail !== undefined && { detail }), leader })
}

export const currentHardState = ({ term, vote, log }: Raft): HardState => ({ term, vote, commit: log.commit })

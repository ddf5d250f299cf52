/**
 * One member of a Raft group, as a pure core: `step(raft, event)` changes `raft` and returns what the host must do, in
 * order. Events and effects are in types.ts. After Ongaro and Ousterhout (2014) and Ongaro's thesis, with etcd's names.
 *
 * What it promises, whatever messages are lost, repeated or late, and whoever crashes with whatever was not synced:
 *
 *   election safety        at most one leader per term
 *   log matching           logs that agree on an entry agree on all before it
 *   leader completeness    what is committed is in every later leader's log
 *   state machine safety   no two members apply different entries at one index
 *
 * Effects come in this order: the write, messages, answers, the role, a snapshot to restore, reads, entries to apply.
 */
import {
  campaign,
  countOwnVote,
  forgetLeader,
  hearTimeoutNow,
  hearVoteRequest,
  hearVoteResponse,
  isLoyal,
} from './election.ts'
import { hearAppend, hearHeartbeat } from './follower.ts'
import { learn, learnSnapshot } from './learning.ts'
import * as logs from './log.ts'
import type { MemberId } from './member.ts'
import type { Message } from './messages.ts'
import { failReads, hearReadIndex, hearReadIndexResp, read, takeReady } from './reading.ts'
import { leaveJoint, proposeChange, switchConfiguration } from './reconfiguration.ts'
import * as replication from './replication.ts'
import { becomeFollower, drawElectionTimeout, follow } from './roles.ts'
import { hearSnapshot, hearSnapshotStatus, makeSnapshot } from './snapshot.ts'
import { nothingOut, type Raft, send } from './state.ts'
import { tick } from './ticking.ts'
import { transfer } from './transfer.ts'
import type { Configuration, Entry, RaftConfig, RaftEffect, RaftEvent, Recovered, Role } from './types.ts'
import { flushWrites, stored } from './writing.ts'

export type { Raft } from './state.ts'
export { dueInTicks } from './ticking.ts'

export function create(config: RaftConfig, recovered: Recovered): Raft {
  const { hardState, snapshot } = recovered
  const { term, vote } = hardState
  const log = logs.recoveredLog(recovered)
  const raft: Raft = {
    config,
    life: Math.floor(config.dice() * 2 ** 48),
    role: 'follower',
    term,
    vote,
    leader: '',
    log,
    snapshot,
    configuration: snapshot.configuration,
    configurations: [],
    timing: {
      heartbeatTicks: config.heartbeatTicks,
      electionTicks: config.electionTicks,
      ...(config.staggerTicks !== undefined && { staggerTicks: config.staggerTicks }),
    },
    electionElapsed: 0,
    heartbeatElapsed: 0,
    beats: 0,
    electionTimeout: 0,
    votes: new Map(),
    progress: new Map(),
    transferee: '',
    lastChangeIndex: 0,
    uncommittedBytes: 0,
    isHalted: false,
    reading: {
      asked: 0,
      confirmed: 0,
      postponed: [],
      pending: [],
      forwarded: new Map(),
      nextSerial: 1,
      ready: [],
    },
    writing: {
      nextToken: 1,
      durable: hardState,
      handed: hardState,
      inFlight: [],
      snapshot: undefined,
      storedTo: log.stable,
      waiting: [],
      promised: [],
    },
    incoming: undefined,
    told: { role: 'follower', term, leader: '' },
    out: nothingOut(),
  }
  becomeFollower(raft, term, '')
  return raft
}

export function step(raft: Raft, event: RaftEvent): RaftEffect[] {
  // After a restart: what is known to be committed is applied before anything is decided.
  apply(raft)
  hear(raft, event)
  apply(raft)
  return flush(raft)
}

/** `step` is made of `apply`, `hear` and `flush`; scripts (simulator/raft/script) pace them one by one. */
export function hear(raft: Raft, event: RaftEvent): void {
  switch (event.kind) {
    case 'tick':
      return tick(raft, event.count ?? 1)
    case 'message':
      return hearMessage(raft, event.message)
    case 'propose':
      return replication.propose(raft, event.proposals)
    case 'propose-change':
      return proposeChange(raft, event.token, event.change)
    case 'read':
      return read(raft, event.token)
    case 'stored':
      if (!stored(raft, event.token)) return
      countOwnVote(raft)
      return replication.hearOwnWrite(raft)
    case 'applied':
      return hearApplied(raft, event.index)
    case 'compact':
      return makeSnapshot(raft, event.index, event.data)
    case 'learn':
      return learn(raft, event.entries)
    case 'learn-snapshot':
      return learnSnapshot(raft, event.snapshot)
    case 'unreachable':
      return replication.hearUnreachable(raft, event.peer)
    case 'report-snapshot':
      return replication.hearSnapshotReport(raft, event.peer, event.status === 'finish')
    case 'transfer':
      return transfer(raft, event.to, event.token)
    case 'forget-leader':
      return forgetLeader(raft)
    case 'campaign':
      return campaign(raft)
    case 'halt':
      raft.isHalted = true
      // Whoever waits for a read is told, and the others need not wait for somebody who cannot lead.
      becomeFollower(raft, raft.term, raft.role === 'leader' ? '' : raft.leader)
      return failReads(raft)
    case 'timing': {
      const { kind: _, ...timing } = event
      raft.timing = timing
      return drawElectionTimeout(raft)
    }
  }
}

function hearApplied(raft: Raft, index: number): void {
  const { log } = raft
  const before = log.applied
  log.applied = Math.max(before, Math.min(index, log.applying))
  replication.countApplied(raft, before + 1, log.applied)
  leaveJoint(raft)
}

function hearMessage(raft: Raft, message: Message): void {
  if (!isAddressed(raft, message)) return
  if (message.term > raft.term) {
    if ((message.kind === 'MsgVote' || message.kind === 'MsgPreVote') && isLoyal(raft, message)) return
    // A term that is only talked about raises nobody's.
    const onlyTalk = message.kind === 'MsgPreVote' || (message.kind === 'MsgPreVoteResp' && !message.reject)
    if (!onlyTalk) becomeFollower(raft, message.term, isFromLeader(message) ? message.from : '')
  } else if (message.term < raft.term) {
    return hearOldTerm(raft, message)
  }
  if (isFromLeader(message)) return hearLeader(raft, message)
  hearPeer(raft, message)
}

/** Of another mesh, another group, another log: not for this member. A log that is over is told so. */
function isAddressed({ config, out }: Raft, { cluster, group, generation, to }: Message): boolean {
  if (cluster !== config.cluster || group !== config.group) return false
  if (generation > config.generation) out.answers.push({ kind: 'superseded', generation })
  return generation === config.generation && to === config.self
}

type FromLeader = Extract<Message, { kind: 'MsgApp' | 'MsgHeartbeat' | 'MsgSnap' }>

const isFromLeader = (message: Message): message is FromLeader =>
  message.kind === 'MsgApp' || message.kind === 'MsgHeartbeat' || message.kind === 'MsgSnap'

/**
 * A leader of an old term hears ours and steps down; without that a member with a higher term, whose votes nobody heeds
 * while there is a leader, would be cut off for ever. A pre-candidate that is behind hears ours likewise.
 */
function hearOldTerm(raft: Raft, message: Message): void {
  const { from: to } = message
  const { preVote, checkQuorum } = raft.config
  const tells = preVote !== false || checkQuorum !== false
  if (tells && (message.kind === 'MsgApp' || message.kind === 'MsgHeartbeat')) {
    send(raft, { kind: 'MsgAppResp', to, index: 0, reject: false, rejectHint: 0, logTerm: 0 })
  } else if (message.kind === 'MsgPreVote') {
    send(raft, { kind: 'MsgPreVoteResp', to, reject: true })
  }
}

/** The configuration is not asked: a member that was just added may not know who its leader is. */
function hearLeader(raft: Raft, message: FromLeader): void {
  if (raft.role === 'leader') return
  if (raft.role === 'follower') follow(raft, message.from)
  else becomeFollower(raft, raft.term, message.from)
  raft.electionElapsed = 0
  if (message.kind === 'MsgApp') hearAppend(raft, message)
  else if (message.kind === 'MsgHeartbeat') hearHeartbeat(raft, message)
  else hearSnapshot(raft, message)
}

function hearPeer(raft: Raft, message: Exclude<Message, FromLeader>): void {
  switch (message.kind) {
    case 'MsgVote':
    case 'MsgPreVote':
      return hearVoteRequest(raft, message)
    case 'MsgVoteResp':
    case 'MsgPreVoteResp':
      return hearVoteResponse(raft, message)
    case 'MsgReadIndex':
      return hearReadIndex(raft, message)
    case 'MsgReadIndexResp':
      return hearReadIndexResp(raft, message)
    case 'MsgAppResp':
      return replication.hearAppendResponse(raft, message)
    case 'MsgHeartbeatResp':
      return replication.hearHeartbeatResponse(raft, message)
    case 'MsgSnapStatus':
      return hearSnapshotStatus(raft, message)
    case 'MsgTimeoutNow':
      return hearTimeoutNow(raft)
    case 'MsgTransferLeader':
      return transfer(raft, message.transferee)
  }
}

/** Hands out what is committed and durable here, `upTo` an index; a change of configuration is in force from here on. */
export function apply(raft: Raft, upTo = Infinity): void {
  const { log } = raft
  const to = Math.min(log.commit, log.stable, upTo)
  if (log.applying < log.base.index || to <= log.applying) return
  const given = logs.slice(log, log.applied + 1, log.applying)
  for (const entry of handable(raft, given, logs.slice(log, log.applying + 1, to))) {
    log.applying = entry.index
    raft.out.apply.push(entry)
    if (entry.kind === 'configuration') switchConfiguration(raft, entry.index, entry.data)
  }
}

/** Those that fit, beside what it was given, the bound on what the state machine has to do; one at least, when that is nothing. */
export function handable({ config }: Raft, given: readonly Entry[], entries: Entry[]): Entry[] {
  const { maxCommittedSizePerReady: most = Infinity } = config
  if (most === Infinity) return entries
  let bytes = given.reduce((sum, { data }) => sum + data.length, 0)
  const end = entries.findIndex(({ data }, at) => (bytes += data.length) > most && given.length + at > 0)
  return end === -1 ? entries : entries.slice(0, end)
}

export function flush(raft: Raft): RaftEffect[] {
  const writes = flushWrites(raft)
  const { out, told, role, term, leader } = raft
  raft.out = nothingOut()
  const effects: RaftEffect[] = writes.filter(({ kind }) => kind === 'store')
  for (const message of out.messages) effects.push({ kind: 'send', message })
  effects.push(...writes.filter(({ kind }) => kind !== 'store'), ...out.answers)
  if (told.role !== role || told.term !== term || told.leader !== leader) {
    raft.told = { role, term, leader }
    effects.push({ kind: 'role', role, term, leader })
  }
  // Its shell may find that it cannot read the snapshot, and be halted: reads are shown what it brings with the next event.
  if (out.restore !== undefined) effects.push({ kind: 'restore', snapshot: out.restore })
  else effects.push(...takeReady(raft))
  if (out.apply.length > 0) effects.push({ kind: 'apply', entries: out.apply })
  return effects
}

export type Status = {
  readonly role: Role
  readonly term: number
  readonly leader: MemberId
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  readonly snapshotIndex: number
  readonly configuration: Configuration
  /** Leaders only, in order of ids. */
  readonly progress: readonly {
    readonly peer: MemberId
    readonly state: 'probe' | 'replicate' | 'snapshot'
    readonly match: number
    readonly recentActive: boolean
    /** The newest feature that it says it knows. */
    readonly level: number
  }[]
}

/** A look from outside; nothing in it changes afterwards. */
export function status(raft: Raft): Status {
  const { role, term, leader, log, snapshot, configuration, progress } = raft
  return {
    role,
    term,
    leader,
    commit: log.commit,
    applied: log.applied,
    lastIndex: logs.lastIndex(log),
    snapshotIndex: snapshot.index,
    configuration,
    progress: [...progress]
      .map(([peer, { state, match, recentActive, level }]) => ({ peer, state, match, recentActive, level }))
      .sort((a, b) => (a.peer < b.peer ? -1 : 1)),
  }
}

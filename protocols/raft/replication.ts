/**
 * The leader's side of replication (Raft section 5.3): what it appends, sends, and counts as committed. Entries go out
 * before they are on the leader's own disk; it counts itself, like everybody else, only once they are.
 *
 * Held for a learner (DESIGN section 3, two hosts): a leader that votes alone commits only what every learner in sight
 * holds as well. Out of sight is who was not heard for an election timeout, or did not store what it had for one, or whose
 * connection is gone; back in sight, who has everything that was committed, or all that was there an election timeout ago.
 */
import {
  INFLIGHT_APPEND_BYTES_MAX,
  INFLIGHT_APPENDS_MAX,
  PROPOSAL_BYTES_MAX,
  PROPOSALS_MAX,
  UNCOMMITTED_BYTES_MAX,
} from '../limits.ts'
import { isSoleVoter, membersOf } from './configuration.ts'
import * as logs from './log.ts'
import type { MemberId } from './member.ts'
import type { MessageOf } from './messages.ts'
import * as flow from './progress.ts'
import { committedIndex } from './quorum.ts'
import { acknowledgePosition, releasePostponed } from './reading.ts'
import { enter } from './roles.ts'
import { resumeTransfer, startTransfer } from './snapshot.ts'
import { type Raft, refuse, send } from './state.ts'
import type { Entry, Proposal } from './types.ts'
import { appendToLog } from './writing.ts'

export function becomeLeader(raft: Raft): void {
  enter(raft, 'leader', raft.config.self)
  const last = logs.lastIndex(raft.log)
  // Changes that are in the log and not committed would be in force once they are: none is added to them until then.
  raft.lastChangeIndex = last
  followMembers(raft, last + 1, false)
  // An empty entry of its own term, by which everything before it is committed (section 8).
  append(raft, 'normal', new Uint8Array())
  broadcastAppend(raft)
}

/**
 * Progress for every member of the configuration in force, and nobody else, in order of their ids. Of new ones, `next` is
 * where probing begins, and `heard` whether they count as heard until the next look at the quorum.
 */
export function followMembers(raft: Raft, next: number, heard: boolean): void {
  const { config, configuration, progress } = raft
  const known = new Map(progress)
  const {
    maxInflightMsgs: messages = INFLIGHT_APPENDS_MAX,
    maxInflightBytes: bytes = INFLIGHT_APPEND_BYTES_MAX,
  } = config
  progress.clear()
  for (const member of membersOf(configuration)) {
    progress.set(member, known.get(member) ?? flow.newProgress(next, heard, { messages, bytes }))
  }
  const own = progress.get(config.self)
  if (own?.state === 'probe') flow.becomeReplicate(own)
  if (own !== undefined) Object.assign(own, { recentActive: true, level: config.level ?? 0 })
  countOwn(raft)
}

/** Those that may be taken become one message to each follower, as far as one holds them; the rest goes as they answer. */
export function propose(raft: Raft, proposals: readonly Proposal[]): void {
  let taken = 0
  for (const { token, data } of proposals) {
    if (!mayPropose(raft, token, data)) continue
    accept(raft, token, 'normal', data)
    taken++
  }
  if (taken > 0) broadcastAppend(raft)
}

/** Refuses what a leader cannot take now, or ever. */
export function mayPropose(raft: Raft, token: number, data: Uint8Array): boolean {
  const why = whyNot(raft, data)
  if (why !== undefined) refuse(raft, token, why)
  return why === undefined
}

function whyNot(
  raft: Raft,
  data: Uint8Array,
): 'not-leader' | 'transferring' | 'too-large' | 'busy' | undefined {
  // A leader that is in the group no more leads on only until it is told of another.
  if (raft.role !== 'leader' || !raft.progress.has(raft.config.self)) return 'not-leader'
  if (raft.transferee !== '') return 'transferring'
  if (data.length > PROPOSAL_BYTES_MAX) return 'too-large'
  return isBusy(raft, data.length) ? 'busy' : undefined
}

/**
 * One proposal may always go, however large, so that a bound on bytes cannot stop a group for ever; and one without data,
 * which is how a joint configuration is left.
 */
function isBusy({ log, uncommittedBytes, config }: Raft, bytes: number): boolean {
  if (logs.lastIndex(log) - log.commit >= PROPOSALS_MAX) return true
  const most = config.maxUncommittedEntriesSize ?? UNCOMMITTED_BYTES_MAX
  return uncommittedBytes > 0 && bytes > 0 && uncommittedBytes + bytes > most
}

/** Takes a proposal that may be taken; it has yet to be sent. @returns Its index. */
export function accept(raft: Raft, token: number, kind: Entry['kind'], data: Uint8Array): number {
  const index = append(raft, kind, data)
  raft.out.answers.push({ kind: 'proposed', token, index, term: raft.term })
  return index
}

export function append(raft: Raft, kind: Entry['kind'], data: Uint8Array): number {
  const index = logs.lastIndex(raft.log) + 1
  appendToLog(raft, [{ kind, term: raft.term, index, data }])
  raft.uncommittedBytes += data.length
  return index
}

/** What was proposed counts as uncommitted until the state machine has it: a slow one slows its proposers down. */
export function countApplied(raft: Raft, from: number, to: number): void {
  if (raft.role !== 'leader') return
  const bytes = logs.slice(raft.log, from, to).reduce((sum, { data }) => sum + data.length, 0)
  // What earlier leaders proposed was never counted here.
  raft.uncommittedBytes = Math.max(0, raft.uncommittedBytes - bytes)
}

export function broadcastAppend(raft: Raft): void {
  for (const member of raft.progress.keys()) sendAppend(raft, member)
}

/** @returns Whether anything went out. `ifEmpty`: a message without entries too, which carries the commit index. */
export function sendAppend(raft: Raft, to: MemberId, ifEmpty = true): boolean {
  const progress = raft.progress.get(to)
  if (to === raft.config.self || progress === undefined || flow.isPaused(progress)) return false
  const { log, config } = raft
  const index = progress.next - 1
  const logTerm = logs.termAt(log, index)
  if (logTerm === undefined) return startTransfer(raft, to, progress)
  // With a full window a message without entries still goes once a heartbeat: its answer tells whether the others arrived.
  const full = progress.state === 'replicate' && flow.isFull(progress)
  const entries = full ? [] : logs.page(log, progress.next, config.maxSizePerMsg)
  if (entries.length === 0 && !ifEmpty) return false
  send(raft, {
    kind: 'MsgApp',
    to,
    index,
    logTerm,
    entries: entries.map(({ term, kind, data }) => ({ term, kind, data })),
    commit: log.commit,
  })
  const bytes = entries.reduce((sum, { data }) => sum + data.length, 0)
  flow.sentEntries(progress, entries.length, index + entries.length, bytes)
  progress.sentCommit = log.commit
  return true
}

export function hearAppendResponse(raft: Raft, message: MessageOf<'MsgAppResp'>): void {
  const { from, index } = message
  const progress = raft.progress.get(from)
  if (progress === undefined) return
  progress.recentActive = true
  if (message.reject) return hearRejection(raft, progress, message)

  const isNews = flow.maybeUpdate(progress, index)
  if (progress.match >= raft.log.commit || keepsPace(progress)) progress.inSight = true
  if (!isNews && !(progress.state === 'probe' && progress.match === index)) return
  meet(raft, progress, index)
  if (!advanceCommit(raft) && flow.canBumpCommit(progress, raft.log.commit)) sendAppend(raft, from)
  while (sendAppend(raft, from, false)) continue
  if (from === raft.transferee && progress.match === logs.lastIndex(raft.log)) {
    send(raft, { kind: 'MsgTimeoutNow', to: from })
  }
}

/** Of a busy group a member is never quite level: it is in sight by what would keep it there. */
const keepsPace = ({ match, owed }: flow.Progress): boolean => owed > 0 && match >= owed

/** The logs are known to meet: from now on entries may stream. */
function meet({ log }: Raft, progress: flow.Progress, index: number): void {
  if (progress.state === 'replicate') return flow.freeInflight(progress, index)
  const { transfer } = progress
  // A follower may have got past the need for a snapshot by other means than the one under way.
  if (transfer !== undefined && progress.match < Math.min(transfer.snapshot.index, log.base.index)) return
  flow.becomeReplicate(progress)
}

/** Fast: one answer skips all entries of the terms that cannot match, on both sides. */
function hearRejection(raft: Raft, progress: flow.Progress, message: MessageOf<'MsgAppResp'>): void {
  const { index, rejectHint, logTerm, from } = message
  const hint = logTerm > 0 ? logs.findConflictByTerm(raft.log, rejectHint, logTerm).index : rejectHint
  if (!flow.maybeDecrease(progress, index, hint)) return
  if (progress.state === 'replicate') flow.becomeProbe(progress)
  sendAppend(raft, from)
}

export function hearHeartbeatResponse(raft: Raft, message: MessageOf<'MsgHeartbeatResp'>): void {
  const { from, read, level = 0 } = message
  const progress = raft.progress.get(from)
  if (progress === undefined) return
  progress.recentActive = true
  progress.level = level
  progress.paused = false
  if (progress.transfer !== undefined) resumeTransfer(raft, from, progress.transfer)
  // Appends that were lost on the way to an otherwise silent follower are found out by this one.
  else if (progress.match < logs.lastIndex(raft.log) || progress.state === 'probe') sendAppend(raft, from)
  acknowledgePosition(raft, from, read)
}

/** The connection is gone, and with it whatever was in flight. */
export function hearUnreachable(raft: Raft, member: MemberId): void {
  const progress = raft.progress.get(member)
  if (progress === undefined) return
  if (progress.state === 'replicate') flow.becomeProbe(progress)
  // A transfer goes on from what was acknowledged, as soon as the peer answers a heartbeat again.
  if (progress.transfer !== undefined) progress.transfer.idleBeats = Infinity
  progress.inSight = false
  advanceCommit(raft)
}

/** The snapshot went another way, and either arrived or did not. What comes next waits for a word from the member. */
export function hearSnapshotReport(raft: Raft, member: MemberId, finished: boolean): void {
  const progress = raft.progress.get(member)
  if (progress?.transfer === undefined) return
  flow.becomeProbe(progress, finished ? progress.transfer.snapshot.index : 0)
  progress.paused = true
}

/** A write of this peer is done. */
export function hearOwnWrite(raft: Raft): void {
  if (raft.role !== 'leader') return
  countOwn(raft)
  advanceCommit(raft)
}

function countOwn({ progress, config, log }: Raft): void {
  const own = progress.get(config.self)
  if (own !== undefined && flow.maybeUpdate(own, log.stable) && own.state === 'probe')
    flow.becomeReplicate(own)
}

/** What is committed now goes to everybody. @returns Whether anything was. */
export function advanceCommit(raft: Raft): boolean {
  const { log, term } = raft
  const index = committable(raft)
  // Only entries of the own term are committed by counting; those before them come along (section 5.4.2).
  if (index <= log.commit || logs.termAt(log, index) !== term) return false
  log.commit = index
  releasePostponed(raft)
  broadcastAppend(raft)
  return true
}

function committable({ config, configuration, progress }: Raft): number {
  const index = committedIndex(configuration, (member) => progress.get(member)?.match ?? 0)
  if (config.heldForLearner !== true || !isSoleVoter(configuration, config.self)) return index
  const held = configuration.learners.map((learner) => progress.get(learner)).filter((each) => each?.inSight)
  return Math.min(index, ...held.map((each) => each?.match ?? 0))
}

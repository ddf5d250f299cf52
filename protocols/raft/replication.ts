/**
 * The leader's side of replication (Raft section 5.3): what it appends, sends, and counts as committed. Entries go out
 * before they are on the leader's own disk; it counts itself, like everybody else, only once they are.
 */
import type { MemberId } from './member.ts'
import { LEARNERS_MAX, PROPOSAL_BYTES_MAX, PROPOSALS_MAX, UNCOMMITTED_BYTES_MAX } from '../limits.ts'
import { encodeChange, membersOf } from './configuration.ts'
import * as logs from './log.ts'
import type { MessageOf } from './messages.ts'
import * as flow from './progress.ts'
import { committedIndex, isQuorum } from './quorum.ts'
import { acknowledgePosition, broadcastHeartbeat, hasCommittedInTerm } from './reading.ts'
import { changed } from './reconfiguration.ts'
import { becomeFollower, enter } from './roles.ts'
import { resumeTransfer, startTransfer } from './snapshot.ts'
import { type Raft, refuse, send } from './state.ts'
import type { ConfigurationChange, Entry } from './types.ts'
import { appendToLog } from './writing.ts'

export function becomeLeader(raft: Raft): void {
  enter(raft, 'leader', raft.config.self)
  // Changes that are in the log and not committed would be in force once they are: none is added to them until then.
  raft.lastChangeIndex = logs.lastIndex(raft.log)
  syncMembers(raft, false)
  // An empty entry of its own term, by which everything before it is committed (section 8).
  appendOwn(raft, 'normal', new Uint8Array())
  broadcastAppend(raft)
}

/** Progress for every member of the configuration in force, and nobody else. `heard`: whether new ones count as heard. */
export function syncMembers(raft: Raft, heard: boolean): void {
  const { progress, configuration, config, log } = raft
  const members = membersOf(configuration)
  for (const peer of progress.keys()) if (!members.includes(peer)) progress.delete(peer)
  for (const peer of members) {
    if (!progress.has(peer)) progress.set(peer, flow.newProgress(logs.lastIndex(log) + 1, heard))
  }
  const own = progress.get(config.self)
  if (own?.state === 'probe') flow.becomeReplicate(own)
  countOwn(raft)
}

export function tickLeader(raft: Raft): void {
  raft.electionElapsed++
  raft.heartbeatElapsed++
  if (raft.electionElapsed >= raft.config.electionTicks && !checkQuorum(raft)) {
    return becomeFollower(raft, raft.term, '')
  }
  if (raft.heartbeatElapsed < raft.config.heartbeatTicks) return
  raft.heartbeatElapsed = 0
  for (const { transfer } of raft.progress.values()) if (transfer !== undefined) transfer.idleBeats++
  broadcastHeartbeat(raft)
}

/** Once per election timeout: whether a quorum has been heard since the last time. */
function checkQuorum(raft: Raft): boolean {
  const { progress, configuration, config } = raft
  raft.electionElapsed = 0
  const heard = isQuorum(
    configuration,
    (peer) => peer === config.self || progress.get(peer)?.recentActive === true,
  )
  for (const each of progress.values()) each.recentActive = false
  return heard
}

export function propose(raft: Raft, token: number, data: Uint8Array): void {
  if (raft.role !== 'leader') return refuse(raft, token, 'not-leader')
  if (data.length > PROPOSAL_BYTES_MAX) return refuse(raft, token, 'too-large')
  if (isBusy(raft, data.length)) return refuse(raft, token, 'busy')
  accept(raft, token, 'normal', data)
}

export function proposeChange(raft: Raft, token: number, change: ConfigurationChange): void {
  if (raft.role !== 'leader') return refuse(raft, token, 'not-leader')
  // Without an entry of its own term committed, an older change may still come back to life (Ongaro's erratum, 2015).
  if (!hasCommittedInTerm(raft)) return refuse(raft, token, 'no-op')
  if (raft.lastChangeIndex > raft.log.applying) return refuse(raft, token, 'change-pending')
  const data = encodeChange(change)
  const full = changed(raft.configuration, change).learners.length > LEARNERS_MAX
  if (full || isBusy(raft, data.length)) return refuse(raft, token, 'busy')
  raft.lastChangeIndex = accept(raft, token, 'configuration', data)
}

/** One proposal may always go, however large, so that a bound on bytes cannot stop a group for ever. */
function isBusy({ log, uncommittedBytes }: Raft, bytes: number): boolean {
  if (logs.lastIndex(log) - log.commit >= PROPOSALS_MAX) return true
  return uncommittedBytes > 0 && uncommittedBytes + bytes > UNCOMMITTED_BYTES_MAX
}

function accept(raft: Raft, token: number, kind: Entry['kind'], data: Uint8Array): number {
  const index = appendOwn(raft, kind, data)
  raft.uncommittedBytes += data.length
  raft.out.answers.push({ kind: 'proposed', token, index, term: raft.term })
  broadcastAppend(raft)
  return index
}

function appendOwn(raft: Raft, kind: Entry['kind'], data: Uint8Array): number {
  const index = logs.lastIndex(raft.log) + 1
  appendToLog(raft, [{ kind, term: raft.term, index, data }])
  return index
}

function broadcastAppend(raft: Raft): void {
  for (const peer of raft.progress.keys()) sendAppend(raft, peer)
}

/** @returns Whether anything went out. `ifEmpty`: a message without entries too, which carries the commit index. */
export function sendAppend(raft: Raft, to: MemberId, ifEmpty = true): boolean {
  const progress = raft.progress.get(to)
  if (to === raft.config.self || progress === undefined || flow.isPaused(progress)) return false
  const { log } = raft
  const index = progress.next - 1
  const logTerm = logs.termAt(log, index)
  if (logTerm === undefined) return startTransfer(raft, to, progress)
  const full = progress.state === 'replicate' && flow.isFull(progress)
  const { entries, bytes } = full ? { entries: [], bytes: 0 } : logs.page(log, progress.next)
  if (entries.length === 0 && !ifEmpty) return false
  send(raft, {
    kind: 'MsgApp',
    to,
    index,
    logTerm,
    entries: entries.map(({ term, kind, data }) => ({ term, kind, data })),
    commit: log.commit,
  })
  flow.sentEntries(progress, entries.length, index + entries.length, bytes)
  return true
}

export function hearAppendResponse(raft: Raft, message: MessageOf<'MsgAppResp'>): void {
  const { from } = message
  const progress = raft.progress.get(from)
  if (progress === undefined) return
  progress.recentActive = true
  if (message.reject) return hearRejection(raft, progress, message)

  const wasPaused = flow.isPaused(progress)
  const isNews = flow.maybeUpdate(progress, message.index)
  if (!isNews && !(progress.state === 'probe' && progress.match === message.index)) return
  meet(raft, progress, message.index)
  // What is committed now goes to everybody; who was held up gets at least what it was held up from.
  if (maybeCommit(raft)) broadcastAppend(raft)
  else if (wasPaused) sendAppend(raft, from)
  while (sendAppend(raft, from, false)) continue
}

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

export function hearHeartbeatResponse(raft: Raft, { from, read }: MessageOf<'MsgHeartbeatResp'>): void {
  const progress = raft.progress.get(from)
  if (progress === undefined) return
  progress.recentActive = true
  progress.paused = false
  if (progress.transfer !== undefined) resumeTransfer(raft, from, progress.transfer)
  // Appends that were lost on the way to an otherwise silent follower are found out by this one.
  else if (progress.match < logs.lastIndex(raft.log) || progress.state === 'probe') sendAppend(raft, from)
  acknowledgePosition(raft, from, read)
}

/** The connection is gone, and with it whatever was in flight. */
export function hearUnreachable(raft: Raft, peer: MemberId): void {
  const progress = raft.progress.get(peer)
  if (progress?.state === 'replicate') flow.becomeProbe(progress)
  // A transfer goes on from what was acknowledged, as soon as the peer answers a heartbeat again.
  if (progress?.transfer !== undefined) progress.transfer.idleBeats = Infinity
}

/** A write of this peer is done. */
export function hearOwnWrite(raft: Raft): void {
  if (raft.role !== 'leader') return
  countOwn(raft)
  if (maybeCommit(raft)) broadcastAppend(raft)
}

function countOwn({ progress, config, log }: Raft): void {
  const own = progress.get(config.self)
  if (own !== undefined) flow.maybeUpdate(own, log.stable)
}

/** Only entries of the own term are committed by counting; those before them come along (section 5.4.2). */
function maybeCommit(raft: Raft): boolean {
  const { log, configuration, progress, term } = raft
  const index = committedIndex(configuration, (peer) => progress.get(peer)?.match ?? 0)
  if (index <= log.commit || logs.termAt(log, index) !== term) return false
  for (const { data } of logs.slice(log, log.commit + 1, index)) raft.uncommittedBytes -= data.length
  raft.uncommittedBytes = Math.max(0, raft.uncommittedBytes)
  log.commit = index
  return true
}

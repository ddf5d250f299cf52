/** The follower's side of replication: everything it hears is from the leader of its own term, known to it or not. */
import * as logs from './log.ts'
import type { MessageOf } from './messages.ts'
import { type Raft, send, sendDurably } from './state.ts'
import { appendToLog } from './writing.ts'

export function hearAppend(raft: Raft, message: MessageOf<'MsgApp'>): void {
  const { log } = raft
  const { from: to, index, logTerm, entries, commit } = message
  // Overtaken by what is committed meanwhile, which is the leader's log as well.
  if (index < log.commit) return acknowledge(raft, to, log.commit)
  if (!logs.matches(log, index, logTerm)) return reject(raft, message)

  const placed = entries.map(({ term, kind, data }, at) => ({ term, index: index + 1 + at, kind, data }))
  const conflict = logs.findConflict(log, placed)
  if (conflict !== undefined) appendToLog(raft, placed.slice(conflict - index - 1))
  const last = index + entries.length
  commitTo(raft, Math.min(commit, last))
  acknowledge(raft, to, last)
}

/** The hint skips the entries of this log that cannot match: those of later terms than the leader's at that place. */
function reject(raft: Raft, { from: to, index, logTerm }: MessageOf<'MsgApp'>): void {
  const hint = logs.findConflictByTerm(raft.log, Math.min(index, logs.lastIndex(raft.log)), logTerm)
  send(raft, { kind: 'MsgAppResp', to, index, reject: true, rejectHint: hint.index, logTerm: hint.term })
}

export function hearHeartbeat(raft: Raft, { from: to, commit, read, beat }: MessageOf<'MsgHeartbeat'>): void {
  commitTo(raft, commit)
  const { level = 0 } = raft.config
  send(raft, { kind: 'MsgHeartbeatResp', to, read, beat, ...(level > 0 && { level }) })
}

/** Says, once it is true on disk, that this log is the leader's up to `index`. */
export function acknowledge(raft: Raft, to: string, index: number): void {
  sendDurably(raft, { kind: 'MsgAppResp', to, index, reject: false, rejectHint: 0, logTerm: 0 })
}

/** A heartbeat may name an entry that a reordered append has yet to bring. */
export function commitTo({ log }: Raft, index: number): void {
  log.commit = Math.max(log.commit, Math.min(index, logs.lastIndex(log)))
}

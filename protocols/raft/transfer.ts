/**
 * Handing leadership over (Raft thesis 3.10):
 *
 *   leader ──MsgTimeoutNow, once its log is the leader's──▶ voter ──MsgVote, no pre-vote, heard in spite of the leader──▶ all
 *
 * Proposals are refused meanwhile, so that the log stands still. If nobody else leads within an election timeout, or the
 * other is a voter no more, the leader goes on.
 */
import * as logs from './log.ts'
import type { MemberId } from './member.ts'
import { sendAppend } from './replication.ts'
import { type Raft, refuse, send } from './state.ts'

export function transfer(raft: Raft, to: MemberId, token?: number): void {
  const { role, leader } = raft
  const refused = (why: 'not-leader' | 'not-voter'): void => {
    if (token !== undefined) refuse(raft, token, why)
  }
  if (role === 'leader') return handOver(raft, to) ? undefined : refused('not-voter')
  if (leader === '') return refused('not-leader')
  send(raft, { kind: 'MsgTransferLeader', to: leader, transferee: to })
}

/** Leader. @returns False when `to` cannot lead. */
function handOver(raft: Raft, to: MemberId): boolean {
  const { configuration, progress, transferee, config, log } = raft
  const theirs = progress.get(to)
  if (theirs === undefined || configuration.learners.includes(to)) return false
  if (transferee === to) return true
  raft.transferee = ''
  if (to === config.self) return true
  // It has one election timeout from now.
  raft.electionElapsed = 0
  raft.transferee = to
  if (theirs.match === logs.lastIndex(log)) send(raft, { kind: 'MsgTimeoutNow', to })
  else sendAppend(raft, to)
  return true
}

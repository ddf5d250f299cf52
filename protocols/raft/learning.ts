/**
 * How a log grows by what is known to be committed, whoever says so: the way of peers outside a group, and of members that
 * hear no leader (protocols/follow/). It is the log of a member all the same, so a peer that is taken in goes on with it.
 *
 * Why that is safe: an entry that is committed is in the log of every leader to come (leader completeness), so whatever
 * stands in its place here is committed nowhere. Nothing is acknowledged to anybody, and no vote is given; only what a
 * later MsgApp finds here is. The term goes up with the entries', as if a message of that term had been heard.
 */
import * as logs from './log.ts'
import { becomeFollower } from './roles.ts'
import { replaceBySnapshot } from './snapshot.ts'
import type { Raft } from './state.ts'
import type { Entry, Snapshot } from './types.ts'
import { appendToLog } from './writing.ts'

/** Entries that follow each other; those that are held already, or that leave a gap, change nothing. */
export function learn(raft: Raft, entries: readonly Entry[]): void {
  const { log } = raft
  const news = entries.filter(({ index }) => index > log.commit)
  const last = news.at(-1)
  if (last === undefined || news[0]?.index !== log.commit + 1) return
  if (!hearTerm(raft, last.term)) return
  const conflict = logs.findConflict(log, news)
  if (conflict !== undefined) appendToLog(raft, news.slice(conflict - log.commit - 1))
  log.commit = last.index
}

/** Instead of the whole log, unless that holds as much. */
export function learnSnapshot(raft: Raft, snapshot: Snapshot): void {
  const { log } = raft
  const { index, term } = snapshot
  if (index <= log.commit || !hearTerm(raft, term)) return
  if (logs.matches(log, index, term)) log.commit = index
  else replaceBySnapshot(raft, snapshot)
}

/** @returns False for a leader whose term is not over: it has all that is committed, and its log is only appended to. */
function hearTerm(raft: Raft, term: number): boolean {
  if (term > raft.term) becomeFollower(raft, term, '')
  return raft.role !== 'leader'
}

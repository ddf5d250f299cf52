/**
 * Time, in ticks. All that a member does by time alone is: campaign, look at its quorum, give up a transfer, send
 * heartbeats, and ask again for a read position. `dueInTicks` says when the next of these may be, so that a host can sleep
 * until then and tell of all ticks at once.
 */
import { isSoleVoter, isVoter } from './configuration.ts'
import { tickElection } from './election.ts'
import * as logs from './log.ts'
import { isQuorum } from './quorum.ts'
import { askAgain, broadcastHeartbeat } from './reading.ts'
import { leaveJoint } from './reconfiguration.ts'
import { advanceCommit } from './replication.ts'
import { becomeFollower } from './roles.ts'
import type { Raft } from './state.ts'

/** `count` ticks have passed; what was due in them happens once. */
export function tick(raft: Raft, count: number): void {
  raft.electionElapsed += count
  raft.heartbeatElapsed += count
  if (raft.role === 'leader') return tickLeader(raft)
  tickElection(raft)
  if (raft.heartbeatElapsed < raft.timing.heartbeatTicks) return
  raft.heartbeatElapsed %= raft.timing.heartbeatTicks
  askAgain(raft)
}

function tickLeader(raft: Raft): void {
  const { electionTicks, heartbeatTicks } = raft.timing
  if (raft.electionElapsed >= electionTicks) {
    raft.electionElapsed = 0
    if (!checkQuorum(raft)) return becomeFollower(raft, raft.term, '')
    raft.transferee = ''
    // Who is out of sight is not waited for; and a transfer that came to nothing may have kept the group joint.
    advanceCommit(raft)
    leaveJoint(raft)
  }
  if (raft.heartbeatElapsed < heartbeatTicks) return
  raft.heartbeatElapsed %= heartbeatTicks
  for (const { transfer } of raft.progress.values()) if (transfer !== undefined) transfer.idleBeats++
  broadcastHeartbeat(raft)
}

/** Once per election timeout: whether a quorum has been heard since the last time. */
function checkQuorum({ progress, configuration, config, log }: Raft): boolean {
  const heard = isQuorum(configuration, (member) => progress.get(member)?.recentActive === true)
  if (config.checkQuorum === false) return true
  for (const [member, each] of progress) {
    // Who answers, and in a whole election timeout has not stored what it was sent, has a disk that is stuck.
    each.inSight &&= each.recentActive && each.match >= each.owed
    each.owed = logs.lastIndex(log)
    each.recentActive = member === config.self
  }
  return heard
}

/**
 * Ticks until time alone can change anything; at least 1. Infinity for a leader without followers, and for whoever has no
 * vote: both sleep until they hear something. Ticks that were slept through are told before anything else is.
 */
export function dueInTicks(raft: Raft): number {
  const { role, timing, electionElapsed, electionTimeout, heartbeatElapsed, configuration, config } = raft
  // After a restart: whether it has a vote may be in what is to be applied.
  if (hasToApply(raft)) return 1
  const nextBeat = timing.heartbeatTicks - heartbeatElapsed
  if (role === 'leader') {
    if (raft.progress.size <= 1 && raft.progress.has(config.self)) return Infinity
    return atLeastOne(Math.min(nextBeat, timing.electionTicks - electionElapsed))
  }
  const asks = raft.reading.forwarded.size > 0 ? nextBeat : Infinity
  if (!isVoter(configuration, config.self) || raft.isHalted) return atLeastOne(asks)
  // Who decides alone campaigns at once; while its vote is on the way to disk, time changes nothing.
  if (isSoleVoter(configuration, config.self)) return role === 'candidate' ? Infinity : 1
  return atLeastOne(Math.min(asks, electionTimeout - electionElapsed))
}

const hasToApply = ({ log: { base, applying, commit, stable } }: Raft): boolean =>
  applying >= base.index && applying < Math.min(commit, stable)

const atLeastOne = (ticks: number): number => Math.max(1, ticks)

/** How a member steps into a role, the leader's excepted (replication.ts): what is reset, and what is kept. */
import type { MemberId } from './member.ts'
import { failReads } from './reading.ts'
import type { Raft } from './state.ts'

export function becomeFollower(raft: Raft, term: number, leader: MemberId): void {
  const changed = term !== raft.term || leader !== raft.leader || raft.role !== 'follower'
  if (term !== raft.term) raft.vote = ''
  raft.term = term
  enter(raft, 'follower', leader)
  if (changed) failReads(raft)
}

/** Asks whether it could win. Neither term, vote nor timer changes, so nobody is disturbed and nothing is written. */
export function becomePreCandidate(raft: Raft): void {
  raft.role = 'pre-candidate'
  raft.leader = ''
  raft.votes.clear()
  failReads(raft)
}

/** Another is the leader of this term, or nobody is known to be; the election timer runs on. */
export function follow(raft: Raft, leader: MemberId): void {
  if (raft.leader === leader) return
  raft.leader = leader
  // Its place in line behind this leader; without a stagger the draw of before stands.
  if (raft.timing.staggerTicks !== undefined) drawElectionTimeout(raft)
  failReads(raft)
}

export function becomeCandidate(raft: Raft): void {
  raft.term += 1
  raft.vote = raft.config.self
  enter(raft, 'candidate', '')
  failReads(raft)
}

export function enter(raft: Raft, role: Raft['role'], leader: MemberId): void {
  raft.role = role
  raft.leader = leader
  raft.votes.clear()
  raft.progress.clear()
  raft.uncommittedBytes = 0
  raft.transferee = ''
  raft.heartbeatElapsed = 0
  resetElectionTimer(raft)
}

/** Drawn anew each time, so that two who collided once do not collide again. */
function resetElectionTimer(raft: Raft): void {
  raft.electionElapsed = 0
  drawElectionTimeout(raft)
}

/**
 * At random; but with a stagger agreed on, followers of a leader stand in line: by the time it is the second one's turn it
 * has heard from the first, so that votes are seldom split. Who has stood in vain draws.
 */
export function drawElectionTimeout(raft: Raft): void {
  const { config, configuration, leader, role, timing } = raft
  const { electionTicks, staggerTicks } = timing
  const line = configuration.voters.filter((voter) => voter !== leader)
  const place = role === 'follower' && leader !== '' ? line.indexOf(config.self) : -1
  raft.electionTimeout =
    staggerTicks !== undefined && place >= 0
      ? electionTicks + place * staggerTicks
      : electionTicks + Math.floor(config.dice() * electionTicks)
}

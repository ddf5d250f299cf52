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

export function drawElectionTimeout(raft: Raft): void {
  const { electionTicks } = raft.timing
  raft.electionTimeout = electionTicks + Math.floor(raft.config.dice() * electionTicks)
}

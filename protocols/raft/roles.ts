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

/** Asks whether it could win. Neither term nor vote changes, so nobody is disturbed and nothing is written. */
export function becomePreCandidate(raft: Raft): void {
  enter(raft, 'pre-candidate', '')
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
  raft.heartbeatElapsed = 0
  resetElectionTimer(raft)
}

/** Drawn anew each time, so that two who collided once do not collide again. */
function resetElectionTimer(raft: Raft): void {
  const { electionTicks, dice } = raft.config
  raft.electionElapsed = 0
  raft.electionTimeout = electionTicks + Math.floor(dice() * electionTicks)
}

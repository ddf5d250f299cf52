/**
 * The arithmetic of majorities, and of two majorities at once while a change of voters is on (joint consensus). Pure:
 * a configuration and one number or vote per voter in, the group's number or verdict out.
 */
import type { MemberId } from './member.ts'
import type { Configuration } from './types.ts'

export type Voters = Pick<Configuration, 'voters' | 'votersOutgoing'>
export type VoteResult = 'won' | 'lost' | 'pending'

/**
 * The highest index that a quorum has reached, `reached` saying how far each voter is. An empty majority has no say:
 * Infinity, so that the other half of a joint configuration decides.
 */
export function committedIndex(
  { voters, votersOutgoing }: Voters,
  reached: (peer: MemberId) => number,
): number {
  return Math.min(majorityIndex(voters, reached), majorityIndex(votersOutgoing, reached))
}

/** Verdict on an election; a voter that is not in `votes` has not answered yet. */
export function voteResult(
  { voters, votersOutgoing }: Voters,
  votes: ReadonlyMap<MemberId, boolean>,
): VoteResult {
  const results = [majorityVote(voters, votes), majorityVote(votersOutgoing, votes)]
  if (results.includes('lost')) return 'lost'
  return results.includes('pending') ? 'pending' : 'won'
}

export const isQuorum = (voters: Voters, has: (peer: MemberId) => boolean): boolean =>
  committedIndex(voters, (peer) => (has(peer) ? 1 : 0)) >= 1

function majorityIndex(voters: readonly MemberId[], reached: (peer: MemberId) => number): number {
  if (voters.length === 0) return Infinity
  const indexes = voters.map(reached).sort((a, b) => b - a)
  return indexes[quorumOf(voters) - 1] as number
}

function majorityVote(voters: readonly MemberId[], votes: ReadonlyMap<MemberId, boolean>): VoteResult {
  if (voters.length === 0) return 'won'
  const quorum = quorumOf(voters)
  const granted = voters.filter((peer) => votes.get(peer) === true).length
  const open = voters.filter((peer) => !votes.has(peer)).length
  if (granted >= quorum) return 'won'
  return granted + open >= quorum ? 'pending' : 'lost'
}

const quorumOf = (voters: readonly MemberId[]): number => Math.floor(voters.length / 2) + 1

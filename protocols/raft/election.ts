/**
 * Elections (Raft section 5.2 and 5.4.1) with PreVote and CheckQuorum, both always on in the product:
 *
 *   follower ─timeout─▶ pre-candidate ─could win─▶ candidate ─won─▶ leader
 *      ▲                     │ lost                   │ lost           │ higher term, or no quorum heard for one timeout
 *      └─────────────────────┴────────────────────────┴────────────────┘
 *
 * Who has heard a leader within an election timeout gives neither vote nor pre-vote and does not even look at the term,
 * so a member behind a bad link cannot unseat a leader that the others hear well. An exception is whom the leader itself
 * asked to campaign (transfer.ts).
 */
import { isSoleVoter, isVoter, votersOf } from './configuration.ts'
import * as logs from './log.ts'
import type { MessageOf } from './messages.ts'
import { voteResult } from './quorum.ts'
import { becomeLeader } from './replication.ts'
import { becomeCandidate, becomeFollower, becomePreCandidate, follow } from './roles.ts'
import { type Raft, send, sendDurably } from './state.ts'

type VoteRequest = MessageOf<'MsgVote' | 'MsgPreVote'>
type VoteResponse = MessageOf<'MsgVoteResp' | 'MsgPreVoteResp'>

export function tickElection(raft: Raft): void {
  // Who decides alone need not wait for anybody. While its vote is on the way to disk it is a candidate already.
  const alone = isSoleVoter(raft.configuration, raft.config.self)
  const due = alone ? raft.role !== 'candidate' : raft.electionElapsed >= raft.electionTimeout
  // For who may not campaign the time goes on: to begin it anew would be to stay loyal to a leader that is gone.
  if (!due || !mayCampaign(raft)) return
  raft.electionElapsed = 0
  campaign(raft)
}

/** As the election timeout does it, wherever it stands. */
export function campaign(raft: Raft): void {
  if (raft.role === 'leader' || !mayCampaign(raft)) return
  if (raft.config.preVote === false) askForVotes(raft, false)
  else preCampaign(raft)
}

/** The leader asks for it: no pre-vote, as the leader is not lost, and nobody need wait until it seems so. */
export function hearTimeoutNow(raft: Raft): void {
  if (raft.role === 'follower' && mayCampaign(raft)) askForVotes(raft, true)
}

export function forgetLeader(raft: Raft): void {
  // A lease counts on followers that keep away from elections while they remember.
  if (raft.role === 'follower' && raft.config.readOnly !== 'lease-based') follow(raft, '')
}

/**
 * A voter that can apply what it would propose, and whose own view of who votes is up to date as far as it can know: with a committed change not applied, or a
 * snapshot not installed, it would count the votes of a configuration that is over.
 */
function mayCampaign({ configuration, config, log, isHalted }: Raft): boolean {
  if (isHalted || !isVoter(configuration, config.self) || log.applying < log.base.index) return false
  const unapplied = logs.slice(log, log.applying + 1, log.commit)
  return !unapplied.some(({ kind }) => kind === 'configuration')
}

function preCampaign(raft: Raft): void {
  becomePreCandidate(raft)
  raft.votes.set(raft.config.self, true)
  if (voteResult(raft.configuration, raft.votes) === 'won') return askForVotes(raft, false)
  for (const to of others(raft)) send(raft, { kind: 'MsgPreVote', to, term: raft.term + 1, ...end(raft) })
}

/** Its own vote counts, and others are asked for theirs, once term and vote are on disk. */
function askForVotes(raft: Raft, transfer: boolean): void {
  becomeCandidate(raft)
  for (const to of others(raft)) sendDurably(raft, { kind: 'MsgVote', to, ...end(raft), transfer })
}

/** A write is done: it may have been the candidate's own vote. */
export function countOwnVote(raft: Raft): void {
  const { role, term, writing, config } = raft
  if (role !== 'candidate' || writing.durable.term !== term || writing.durable.vote !== config.self) return
  raft.votes.set(config.self, true)
  tally(raft)
}

/** Whether a request for a vote is not even looked at. */
export const isLoyal = ({ leader, electionElapsed, timing, config }: Raft, request: VoteRequest): boolean =>
  config.checkQuorum !== false &&
  leader !== '' &&
  electionElapsed < timing.electionTicks &&
  !(request.kind === 'MsgVote' && request.transfer)

/**
 * Answers a request of this term or, for a pre-vote, a later one. Learners answer too: the asker may know of a
 * configuration in which they vote already.
 */
export function hearVoteRequest(raft: Raft, request: VoteRequest): void {
  const { kind, from: to, term, index, logTerm } = request
  const free = raft.vote === to || (raft.vote === '' && raft.leader === '')
  const grants =
    (free || (kind === 'MsgPreVote' && term > raft.term)) && logs.isUpToDate(raft.log, index, logTerm)
  if (kind === 'MsgPreVote') {
    if (grants) send(raft, { kind: 'MsgPreVoteResp', to, reject: false, term })
    else send(raft, { kind: 'MsgPreVoteResp', to, reject: true, ...agreed(raft) })
  } else if (grants) {
    raft.vote = to
    raft.electionElapsed = 0
    sendDurably(raft, { kind: 'MsgVoteResp', to, reject: false })
  } else {
    send(raft, { kind: 'MsgVoteResp', to, reject: true, ...agreed(raft) })
  }
}

/** Whose vote counts is decided by the configuration, in `voteResult`. */
export function hearVoteResponse(raft: Raft, response: VoteResponse): void {
  const { kind, from, term, reject } = response
  learnAgreed(raft, response)
  const asked = kind === 'MsgPreVoteResp' ? 'pre-candidate' : 'candidate'
  if (raft.role !== asked || raft.votes.has(from)) return
  // A granted pre-vote names the term that would be; one for an earlier campaign says nothing about this one.
  if (kind === 'MsgPreVoteResp' && !reject && term !== raft.term + 1) return
  raft.votes.set(from, !reject)
  tally(raft)
}

const agreed = ({ log }: Raft): { commit: number; commitTerm: number } => ({
  commit: log.commit,
  commitTerm: logs.termAt(log, log.commit) ?? 0,
})

/**
 * Whoever is asked may know more than the candidate of what is agreed, and may even have been removed by it: then its longer
 * log is in the way of a candidate that no longer needs it, and cannot know (raft-rs commits by votes for the same reason).
 */
function learnAgreed({ role, log }: Raft, { commit = 0, commitTerm = 0 }: VoteResponse): void {
  if (role !== 'leader' && commit > log.commit && logs.matches(log, commit, commitTerm)) log.commit = commit
}

function tally(raft: Raft): void {
  const result = voteResult(raft.configuration, raft.votes)
  if (result === 'lost') becomeFollower(raft, raft.term, '')
  if (result !== 'won') return
  if (raft.role === 'pre-candidate') askForVotes(raft, false)
  else becomeLeader(raft)
}

const others = ({ configuration, config }: Raft): string[] =>
  votersOf(configuration).filter((peer) => peer !== config.self)

const end = ({ log }: Raft): { index: number; logTerm: number } => ({
  index: logs.lastIndex(log),
  logTerm: logs.lastTerm(log),
})

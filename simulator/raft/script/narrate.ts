/**
 * What etcd's core would log about an event, told from the state before it and after it: our core logs nothing. Pure.
 * Only what can be seen from outside is told, so a line may be missing where a script sees more than the state shows.
 */
import { describeConfiguration } from '../../../protocols/raft/confchange.ts'
import { isVoter } from '../../../protocols/raft/configuration.ts'
import type { MemberId } from '../../../protocols/raft/member.ts'
import { lastIndex, lastTerm } from '../../../protocols/raft/log.ts'
import type { Message, MessageOf } from '../../../protocols/raft/messages.ts'
import type { Raft } from '../../../protocols/raft/raft.ts'
import type { RaftEvent } from '../../../protocols/raft/types.ts'
import { nameOf, nodeOf } from './members.ts'
import { append, appendResponse, restore, shown, snapshots } from './narrate-log.ts'
import { roleText, switchedText } from './text.ts'
import { saidSince, type View } from './view.ts'

export function narrate(before: View, event: RaftEvent, raft: Raft): string[] {
  switch (event.kind) {
    case 'campaign':
      return campaign(before, raft)
    case 'tick':
      return tick(before, raft)
    case 'message':
      return [...message(before, event.message, raft), ...snapshots(before, event.message, raft)]
    case 'stored':
      return ownVote(before, raft)
    case 'forget-leader':
      return forgetLeader(before, raft)
    case 'transfer':
      return transfer(before, event.to, raft)
    case 'unreachable':
      return unreachable(event.peer, raft)
    case 'applied':
      return leavesJoint(before, raft)
    default:
      return []
  }
}

const id = ({ config }: Raft): string => nameOf(config.self)
export const DROPPED = 'raft proposal dropped'
/** Why a leader takes no proposals. */
export const transferring = (raft: Raft): string =>
  `DEBUG ${id(raft)} [term ${raft.term}] transfer leadership to ${nameOf(raft.transferee)} is in progress; dropping proposal`
export const becameFollower = (raft: Raft): string => `INFO ${id(raft)} became follower at term ${raft.term}`

function leavesJoint(before: View, raft: Raft): string[] {
  const { log, configuration, role, transferee, lastChangeIndex } = raft
  const what = describeConfiguration(configuration, nameOf)
  if (role === 'leader' && configuration.autoLeave && transferee !== '' && lastChangeIndex <= log.applied) {
    return [
      transferring(raft),
      `DEBUG not initiating automatic transition out of joint configuration ${what}: ${DROPPED}`,
    ]
  }
  if (lastIndex(log) === before.lastIndex) return []
  return [`INFO initiating automatic transition out of joint configuration ${what}`]
}

/** As it comes up. */
export function born(raft: Raft): string[] {
  const { configuration, term, log } = raft
  const peers = configuration.voters.map(nameOf).join(',')
  const state = `term: ${term}, commit: ${log.commit}, applied: ${log.applied}`
  const end = `lastindex: ${lastIndex(log)}, lastterm: ${lastTerm(log)}`
  return [
    switchedText(raft, configuration),
    becameFollower(raft),
    `INFO newRaft ${id(raft)} [peers: [${peers}], ${state}, ${end}]`,
  ]
}

function campaign(before: View, raft: Raft): string[] {
  const name = id(raft)
  if (before.role === 'leader') return [`DEBUG ${name} ignoring MsgHup because already leader`]
  // A group of one has nobody to ask.
  if (raft.term !== before.term || requests(before, raft).length > 0) {
    return [`INFO ${name} is starting a new election at term ${before.term}`, ...candidacy(before, raft)]
  }
  if (!isVoter(raft.configuration, raft.config.self)) {
    return [`WARN ${name} is unpromotable and can not campaign`]
  }
  const why = 'since there are still pending configuration changes to apply'
  return [`WARN ${name} cannot campaign at term ${raft.term} ${why}`]
}

const requests = (before: View, raft: Raft): MessageOf<'MsgVote' | 'MsgPreVote'>[] =>
  saidSince(before, raft)
    .filter((each) => each.kind === 'MsgVote' || each.kind === 'MsgPreVote')
    .sort((a, b) => nodeOf(a.to) - nodeOf(b.to))

function candidacy(before: View, raft: Raft): string[] {
  const asks = requests(before, raft)
  const role = raft.role === 'pre-candidate' ? 'pre-candidate' : 'candidate'
  const end = `[logterm: ${before.lastTerm}, index: ${before.lastIndex}]`
  return [
    `INFO ${id(raft)} became ${role} at term ${raft.term}`,
    ...asks.map(
      ({ kind, to }) => `INFO ${id(raft)} ${end} sent ${kind} request to ${nameOf(to)} at term ${raft.term}`,
    ),
  ]
}

function tick(before: View, raft: Raft): string[] {
  if (before.role === 'leader' && raft.role === 'follower') {
    return [`WARN ${id(raft)} stepped down to follower since quorum is not active`, becameFollower(raft)]
  }
  const campaigns = raft.role !== 'leader' && requests(before, raft).length > 0
  return campaigns ? campaign(before, raft) : []
}

/** Its own vote counts once it is on disk. */
function ownVote(before: View, raft: Raft): string[] {
  const self = raft.config.self
  if (before.role !== 'candidate' || before.term !== raft.term || before.votes.has(self)) return []
  if (raft.role === 'candidate' && !raft.votes.has(self)) return []
  return polled(before, 'MsgVoteResp', self, true, raft)
}

/** A pre-candidate counts its own vote at once; etcd's does when it hears of it: then is the time for these. */
export const ownPreVote = (raft: Raft): string[] =>
  polledLines(new Map(), 'MsgPreVoteResp', raft.config.self, true, raft)

function polled(before: View, kind: Message['kind'], from: MemberId, granted: boolean, raft: Raft): string[] {
  const lines = polledLines(before.votes, kind, from, granted, raft)
  if (raft.role === 'leader') return [...lines, `INFO ${id(raft)} became leader at term ${raft.term}`]
  if (raft.role === 'follower') return [...lines, becameFollower(raft)]
  return before.role === raft.role ? lines : [...lines, ...candidacy(before, raft)]
}

function polledLines(
  votes: ReadonlyMap<MemberId, boolean>,
  kind: Message['kind'],
  from: MemberId,
  granted: boolean,
  raft: Raft,
): string[] {
  const term = kind === 'MsgPreVoteResp' && raft.role === 'candidate' ? raft.term - 1 : raft.term
  const all = [...new Map([[from, granted], ...votes]).values()]
  const yes = all.filter(Boolean).length
  return [
    `INFO ${id(raft)} received ${kind}${granted ? '' : ' rejection'} from ${nameOf(from)} at term ${term}`,
    `INFO ${id(raft)} has received ${yes} ${kind} votes and ${all.length - yes} vote rejections`,
  ]
}

function message(before: View, heard: Message, raft: Raft): string[] {
  if (heard.term < before.term) return oldTerm(before, heard, raft)
  const asksForVote = heard.kind === 'MsgVote' || heard.kind === 'MsgPreVote'
  if (asksForVote && isIgnored(before, heard, raft)) return [ignoredVote(before, heard, raft)]
  const lines = newTerm(before, heard, raft)
  switch (heard.kind) {
    case 'MsgVote':
    case 'MsgPreVote':
      return [...lines, ...votes(before, heard, raft)]
    case 'MsgVoteResp':
    case 'MsgPreVoteResp':
      return [...lines, ...voteResponse(before, heard, raft)]
    case 'MsgApp':
      return [...lines, ...append(before, heard, raft)]
    case 'MsgSnap':
      return [...lines, ...restore(before, heard, raft)]
    case 'MsgAppResp':
      return [...lines, ...appendResponse(before, heard, raft)]
    case 'MsgTimeoutNow':
      return [...lines, ...timeoutNow(before, heard, raft)]
    case 'MsgTransferLeader':
      return [...lines, ...transfer(before, heard.transferee, raft)]
    default:
      return lines
  }
}

function oldTerm(before: View, heard: Message, raft: Raft): string[] {
  const { kind, term } = heard
  // As it is printed, it comes from whom it is about.
  const from = heard.kind === 'MsgTransferLeader' ? heard.transferee : heard.from
  if (heard.kind === 'MsgPreVote') return votes(before, heard, raft)
  // Of term 0 is what etcd's core hears of its host. A leader of an old term is told of the new one.
  if (term === 0 || saidSince(before, raft).length > 0) return []
  const what = `ignored a ${kind} message with lower term from ${nameOf(from)} [term: ${term}]`
  return [`INFO ${id(raft)} [term: ${raft.term}] ${what}`]
}

const isIgnored = (before: View, { term }: Message, raft: Raft): boolean =>
  term > before.term && raft.term === before.term && saidSince(before, raft).length === 0

type VoteRequest = MessageOf<'MsgVote' | 'MsgPreVote'>

function ignoredVote(before: View, { kind, from, index, logTerm }: VoteRequest, raft: Raft): string {
  const own = `[logterm: ${before.lastTerm}, index: ${before.lastIndex}, vote: ${nameOf(before.vote)}]`
  const theirs = `[logterm: ${logTerm}, index: ${index}]`
  const left = raft.timing.electionTicks - before.electionElapsed
  const why = `lease is not expired (remaining ticks: ${left})`
  return `INFO ${id(raft)} ${own} ignored ${kind} from ${nameOf(from)} ${theirs} at term ${before.term}: ${why}`
}

function newTerm(before: View, heard: Message, raft: Raft): string[] {
  const { kind, from, term } = heard
  const cameDown = before.role !== 'follower' && raft.role === 'follower'
  const isOnlyTalk = kind === 'MsgPreVote' || (kind === 'MsgPreVoteResp' && !heard.reject)
  if (term > before.term && raft.term === term && !isOnlyTalk) {
    const what = `received a ${kind} message with higher term from ${nameOf(from)} [term: ${term}]`
    return [`INFO ${id(raft)} [term: ${before.term}] ${what}`, becameFollower(raft)]
  }
  const leads = kind === 'MsgApp' || kind === 'MsgHeartbeat' || kind === 'MsgSnap'
  return leads && cameDown ? [becameFollower(raft)] : []
}

function votes(before: View, { kind, from, index, logTerm }: VoteRequest, raft: Raft): string[] {
  const answer = saidSince(before, raft).find(
    (each) => each.kind === 'MsgVoteResp' || each.kind === 'MsgPreVoteResp',
  )
  if (answer === undefined || !('reject' in answer)) return []
  const vote = before.term === raft.term ? before.vote : ''
  const own = `[logterm: ${before.lastTerm}, index: ${before.lastIndex}, vote: ${nameOf(vote)}]`
  const what = answer.reject ? `rejected ${kind} from` : `cast ${kind} for`
  return [
    `INFO ${id(raft)} ${own} ${what} ${nameOf(from)} [logterm: ${logTerm}, index: ${index}] at term ${raft.term}`,
  ]
}

function voteResponse(
  before: View,
  { kind, from, term, reject }: MessageOf<'MsgVoteResp' | 'MsgPreVoteResp'>,
  raft: Raft,
): string[] {
  const asked = kind === 'MsgPreVoteResp' ? 'pre-candidate' : 'candidate'
  const isNewTerm = kind === 'MsgVoteResp' ? raft.term !== before.term : reject && raft.term !== before.term
  // A pre-vote that was granted to an earlier campaign is not counted.
  const isOld = kind === 'MsgPreVoteResp' && !reject && term !== before.term + 1
  if (before.role !== asked || isNewTerm || isOld) return []
  return polled(before, kind, from, !reject, raft)
}

function timeoutNow(before: View, { from }: Message, raft: Raft): string[] {
  if (raft.role === before.role && before.role.endsWith('candidate')) {
    const where = `[term ${raft.term} state ${roleText(raft.role)}]`
    return [`DEBUG ${id(raft)} ${where} ignored MsgTimeoutNow from ${nameOf(from)}`]
  }
  if (before.role !== 'follower') return []
  const what = `received MsgTimeoutNow from ${nameOf(from)} and starts an election to get leadership.`
  return [`INFO ${id(raft)} [term ${before.term}] ${what}`, ...campaign(before, raft)]
}

function forgetLeader(before: View, raft: Raft): string[] {
  if (before.role !== 'follower') return []
  if (raft.config.readOnly === 'lease-based') {
    return ['ERROR ignoring MsgForgetLeader due to ReadOnlyLeaseBased']
  }
  if (before.leader === '' || raft.leader !== '') return []
  return [`INFO ${id(raft)} forgetting leader ${nameOf(before.leader)} at term ${raft.term}`]
}

function transfer(before: View, to: MemberId, raft: Raft): string[] {
  const [self, name, term] = [id(raft), nameOf(to), raft.term]
  if (raft.role !== 'leader') {
    return raft.role === 'follower' && raft.leader === ''
      ? [`INFO ${self} no leader at term ${term}; dropping leader transfer msg`]
      : []
  }
  if (!raft.progress.has(to)) return [`DEBUG ${self} no progress available for ${name}`]
  if (raft.configuration.learners.includes(to)) {
    return [`DEBUG ${self} is learner. Ignored transferring leadership`]
  }
  if (before.transferee === to) {
    const what = `transfer leadership to ${name} is in progress, ignores request to same node ${name}`
    return [`INFO ${self} [term ${term}] ${what}`]
  }
  const lines: string[] = []
  if (before.transferee !== '') {
    lines.push(
      `INFO ${self} [term ${term}] abort previous transferring leadership to ${nameOf(before.transferee)}`,
    )
  }
  if (to === raft.config.self) {
    return [...lines, `DEBUG ${self} is already leader. Ignored transferring leadership to self`]
  }
  lines.push(`INFO ${self} [term ${term}] starts to transfer leadership to ${name}`)
  if (saidSince(before, raft).some(({ kind }) => kind === 'MsgTimeoutNow')) {
    lines.push(
      `INFO ${self} sends MsgTimeoutNow to ${name} immediately as ${name} already has up-to-date log`,
    )
  }
  return lines
}

function unreachable(peer: MemberId, raft: Raft): string[] {
  const progress = raft.progress.get(peer)
  if (raft.role !== 'leader') return []
  if (progress === undefined) return [`DEBUG ${id(raft)} no progress available for ${nameOf(peer)}`]
  const state = shown(progress, peer, raft)
  return [`DEBUG ${id(raft)} failed to send message to ${nameOf(peer)} because it is unreachable [${state}]`]
}

/** How entries, messages, progress and states are printed: in etcd's words, to the letter. */
import { describeConfiguration } from '../../../protocols/raft/confchange.ts'
import { decodeChange } from '../../../protocols/raft/configuration.ts'
import { termAt } from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { isFull, isPaused, type Progress } from '../../../protocols/raft/progress.ts'
import type { Raft } from '../../../protocols/raft/raft.ts'
import type { Configuration, Entry, HardState, Role, Snapshot } from '../../../protocols/raft/types.ts'
import { describeChanges, nameOf, nodeOf } from './members.ts'

/** Entries that were proposed as etcd's older kind of change, `v1=true`: our core has one kind only. */
export type V1Changes = ReadonlySet<string>
export const keyOf = ({ term, index }: { term: number; index: number }): string => `${term}/${index}`

const ROLES: Readonly<Record<Role, string>> = {
  follower: 'StateFollower',
  'pre-candidate': 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
}
export const roleText = (role: Role): string => ROLES[role]

export const hardStateText = ({ term, vote, commit }: HardState): string =>
  `Term:${term}${vote === '' ? '' : ` Vote:${nodeOf(vote)}`} Commit:${commit}`

const quoted = (data: Uint8Array): string => JSON.stringify(new TextDecoder().decode(data))

function entryText(entry: Entry, v1: V1Changes, isV1 = v1.has(keyOf(entry))): string {
  if (entry.kind === 'normal') return `${keyOf(entry)} EntryNormal ${quoted(entry.data)}`
  const type = isV1 ? 'EntryConfChange' : 'EntryConfChangeV2'
  return `${keyOf(entry)} ${type} ${describeChanges(decodeChange(entry.data).changes)}`.trimEnd()
}

export const entriesText = (entries: readonly Entry[], v1: V1Changes): string =>
  entries.map((entry) => `${entryText(entry, v1)}\n`).join('')

const numbers = (members: readonly string[]): string => `[${members.map(nodeOf).join(' ')}]`

export function snapshotText({ index, term, configuration }: Omit<Snapshot, 'data'>): string {
  return `Index:${index} Term:${term} ConfState:${confStateText(configuration)}`
}

function confStateText(configuration: Configuration): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = configuration
  const lists = [
    `Voters:${numbers(voters)} VotersOutgoing:${numbers(votersOutgoing)}`,
    `Learners:${numbers(learners)} LearnersNext:${numbers(learnersNext)}`,
  ]
  return `${lists.join(' ')} AutoLeave:${autoLeave}`
}

/** What a message says in the words that etcd prints of any message; where ours has none, zero. */
export type Said = {
  readonly from: string
  readonly to: string
  readonly type: string
  readonly term?: number
  readonly logTerm?: number
  readonly index?: number
  readonly reject?: boolean
  readonly rejectHint?: number
  readonly commit?: number
  readonly vote?: number
  readonly entries?: readonly Entry[]
  /** Proposed as etcd's older kind of change, and in no log yet. */
  readonly isV1?: boolean
  readonly snapshot?: Omit<Snapshot, 'data'>
  readonly responses?: readonly Said[]
}

export function saidText(said: Said, v1: V1Changes, indent = ''): string {
  const { term = 0, logTerm = 0, index = 0, rejectHint = 0, entries = [], responses = [] } = said
  let text = `${indent}${said.from}->${said.to} ${said.type} Term:${term} Log:${logTerm}/${index}`
  if (said.reject === true) text += ` Rejected (Hint: ${rejectHint})`
  if ((said.commit ?? 0) !== 0) text += ` Commit:${said.commit}`
  if ((said.vote ?? 0) !== 0) text += ` Vote:${said.vote}`
  const lines = entries.map((entry) => entryText(entry, v1, said.isV1))
  if (lines.length === 1) text += ` Entries:[${lines[0]}]`
  if (lines.length > 1)
    text += ` Entries:[\n${lines.map((line) => `${indent}  ${line}\n`).join('')}${indent}]`
  if (said.snapshot !== undefined) text += `\n${indent}  Snapshot: ${snapshotText(said.snapshot)}`
  if (responses.length > 0) {
    const inner = responses.map((response) => `${saidText(response, v1, `${indent}  `)}\n`)
    text += ` Responses:[\n${inner.join('')}${indent}]`
  }
  return text
}

/** A message of the core. */
export function saidOf(message: Message): Said {
  const base = {
    from: nameOf(message.from),
    to: nameOf(message.to),
    type: message.kind as string,
    term: message.term,
  }
  switch (message.kind) {
    case 'MsgVote':
    case 'MsgPreVote':
    case 'MsgAppResp':
    case 'MsgHeartbeat':
      return { ...message, ...base }
    case 'MsgVoteResp':
    case 'MsgPreVoteResp':
      return { ...base, reject: message.reject }
    case 'MsgApp': {
      const { index, logTerm, commit } = message
      const entries = message.entries.map((entry, at) => ({ ...entry, index: index + 1 + at }))
      return { ...base, index, logTerm, commit, entries }
    }
    // etcd's comes from whom it is about.
    case 'MsgTransferLeader':
      return { ...base, from: nameOf(message.transferee) }
    case 'MsgSnap': {
      const { index, logTerm: term, configuration } = message
      return { ...base, snapshot: { index, term, configuration } }
    }
    default:
      return base
  }
}

const STATES = { probe: 'StateProbe', replicate: 'StateReplicate', snapshot: 'StateSnapshot' } as const

export type Shown = Progress & { readonly isLearner: boolean }

export function progressText(progress: Shown): string {
  const { state, match, next, isLearner, recentActive, inflight, transfer } = progress
  const parts = [`${STATES[state]} match=${match} next=${next}`]
  if (isLearner) parts.push('learner')
  if (isPaused(progress)) parts.push('paused')
  if (transfer !== undefined) parts.push(`pendingSnap=${transfer.snapshot.index}`)
  if (!recentActive) parts.push('inactive')
  if (inflight.length > 0) parts.push(`inflight=${inflight.length}${isFull(progress) ? '[full]' : ''}`)
  return parts.join(' ')
}

/** What the leader keeps of everybody, as `status` prints it; of a node that does not lead, nothing. */
export function statusText({ progress, configuration }: Raft): string {
  const lines = [...progress].sort(([a], [b]) => (a < b ? -1 : 1))
  return lines
    .map(([member, each]) => {
      const shown = { ...each, isLearner: configuration.learners.includes(member) }
      return `${nodeOf(member)}: ${progressText(shown)}\n`
    })
    .join('')
}

/** 0 where the log does not reach, as etcd prints it. */
export const termOrZero = ({ log }: Raft, index: number): number => termAt(log, index) ?? 0

export const switchedText = ({ config }: Raft, configuration: Configuration): string =>
  `INFO ${nameOf(config.self)} switched to configuration ${describeConfiguration(configuration, nameOf)}`

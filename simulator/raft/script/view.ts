/** What of a core has to be known from before an event to tell, afterwards, what the event did. */
import type { MemberId } from '../../../protocols/raft/member.ts'
import { lastIndex, lastTerm } from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import type { Progress } from '../../../protocols/raft/progress.ts'
import type { Raft } from '../../../protocols/raft/raft.ts'
import type { Configuration, Entry, Role } from '../../../protocols/raft/types.ts'

export type View = {
  readonly term: number
  readonly vote: MemberId
  readonly role: Role
  readonly leader: MemberId
  readonly lastIndex: number
  readonly lastTerm: number
  readonly commit: number
  readonly applied: number
  readonly applying: number
  readonly stable: number
  readonly written: number
  readonly electionElapsed: number
  readonly configuration: Configuration
  readonly transferee: MemberId
  readonly votes: ReadonlyMap<MemberId, boolean>
  readonly progress: ReadonlyMap<MemberId, Progress>
  readonly entries: readonly Entry[]
  readonly base: number
  readonly queued: ReadonlySet<Message>
}

export function viewOf(raft: Raft): View {
  const { term, vote, role, leader, log, electionElapsed, configuration, votes, progress, transferee } = raft
  return {
    term,
    vote,
    role,
    leader,
    lastIndex: lastIndex(log),
    lastTerm: lastTerm(log),
    commit: log.commit,
    applied: log.applied,
    applying: log.applying,
    stable: log.stable,
    written: Math.max(log.stable, ...raft.writing.inFlight.map(({ upTo }) => upTo)),
    electionElapsed,
    configuration,
    transferee,
    votes: new Map(votes),
    progress: new Map(
      [...progress].map(([member, each]) => [member, { ...each, inflight: [...each.inflight] }]),
    ),
    entries: [...log.entries],
    base: log.base.index,
    queued: new Set([...raft.out.messages, ...raft.writing.waiting]),
  }
}

/** What the event made the core say, in order. */
export const saidSince = (before: View, { out, writing }: Raft): Message[] =>
  [...out.messages, ...writing.waiting].filter((message) => !before.queued.has(message))

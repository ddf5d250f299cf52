/**
 * What one group does, line by line, in the shape of etcd's trace validation (state_trace.go, Traceetcdraft.tla): so that
 * a TLA+ model that others wrote can follow it. Members are numbers there. A pre-candidate is a follower to that model,
 * which knows no pre-votes; a leader's and a candidate's own log and vote appear as messages to itself, as in etcd.
 *
 * Each event is told with the state after it; what a step did comes in the order: heard, roles, entries, commit,
 * configuration, sends. Only as many lines as a model checker can take are kept.
 */
import { decodeChange } from '../../protocols/raft/configuration.ts'
import * as logs from '../../protocols/raft/log.ts'
import type { MemberId } from '../../protocols/raft/member.ts'
import type { Message } from '../../protocols/raft/messages.ts'
import type { RaftEffect, RaftEvent } from '../../protocols/raft/types.ts'
import type { Look } from './checkers/look.ts'

const ROLES = {
  follower: 'StateFollower',
  'pre-candidate': 'StateFollower',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
} as const

const SENT: Partial<Record<Message['kind'], string>> = {
  MsgApp: 'SendAppendEntriesRequest',
  MsgHeartbeat: 'SendAppendEntriesRequest',
  MsgSnap: 'SendAppendEntriesRequest',
  MsgAppResp: 'SendAppendEntriesResponse',
  MsgHeartbeatResp: 'SendAppendEntriesResponse',
  MsgVote: 'SendRequestVoteRequest',
  MsgVoteResp: 'SendRequestVoteResponse',
}

const ACTIONS = {
  'add-node': 'AddNewServer',
  'add-learner-node': 'AddLearner',
  'remove-node': 'RemoveServer',
  'update-node': 'UpdateServer',
} as const

const LINES_MAX = 1_000_000

export class RaftTrace {
  readonly lines: string[] = []
  readonly #numbers = new Map<MemberId, string>()

  init(m: Look): void {
    this.#line('InitState', m)
    this.#line('BecomeFollower', m)
  }

  /** After a step, before anything of it is performed. */
  stepped(m: Look, event: RaftEvent, effects: readonly RaftEffect[]): void {
    const { raft, before: was } = m
    if (event.kind === 'message') this.#heard(m, event.message)
    const role = raft.role === 'pre-candidate' ? 'follower' : raft.role
    const wasRole = was.role === 'pre-candidate' ? 'follower' : was.role
    const grew = raft.term > was.term
    const campaigned = raft.vote === m.id && grew && role !== 'follower'
    if (campaigned) {
      this.#line('BecomeCandidate', m, undefined, { role: 'StateCandidate' })
      this.#line('SendRequestVoteResponse', m, this.#own(m, 'MsgVoteResp', 0))
    }
    if (role === 'leader' && (wasRole !== 'leader' || grew)) this.#line('BecomeLeader', m)
    if (role === 'follower' && (wasRole !== 'follower' || grew)) this.#line('BecomeFollower', m)
    if (role === 'leader') this.#appended(m)
    if (role === 'leader' && raft.log.commit > was.commit) this.#line('Commit', m)
    if (raft.configuration !== was.configuration) {
      this.#line(
        'ApplyConfChange',
        m,
        undefined,
        {},
        { cc: { newconf: this.#all(raft.configuration.voters) } },
      )
    }
    if (effects.length > 0) this.#line('Ready', m)
  }

  sent(m: Look, message: Message): void {
    const name = SENT[message.kind]
    if (name === undefined) return
    const progress = message.kind === 'MsgApp' ? m.raft.progress.get(message.to) : undefined
    const prop = progress && { match: progress.match, next: progress.next }
    this.#line(name, m, this.#message(message), {}, prop)
  }

  #heard(m: Look, message: Message): void {
    const name = SENT[message.kind]
    if (name === undefined) return
    const { term, vote, role, commit } = m.before
    const state = { term, vote: this.#number(vote), commit }
    const log = m.before.base + m.before.entries.length
    this.#line(name.replace('Send', 'Receive'), m, this.#message(message), { state, role: ROLES[role], log })
  }

  /** Entries that a leader has put into its own log. */
  #appended(m: Look): void {
    const { raft, before: was } = m
    const from = was.base + was.entries.length + 1
    for (const { index, kind, data } of raft.log.entries) {
      if (index < from || index <= raft.log.base.index) continue
      if (kind === 'normal') this.#line('Replicate', m, undefined, { log: index })
      else {
        const changes = decodeChange(data).changes.map(({ kind: what, peer }) => ({
          nid: this.#number(peer),
          action: ACTIONS[what],
        }))
        if (changes.length > 0) this.#line('ChangeConf', m, undefined, { log: index }, { cc: { changes } })
      }
      this.#line('SendAppendEntriesResponse', m, this.#own(m, 'MsgAppResp', index), { log: index })
    }
  }

  #own({ id, raft: { term } }: Look, type: string, index: number): object {
    const self = this.#number(id)
    return {
      type,
      term,
      from: self,
      to: self,
      entries: 0,
      logTerm: 0,
      index,
      commit: 0,
      vote: '0',
      reject: false,
      rejectHint: 0,
    }
  }

  #message(message: Message): object {
    const { kind: type, term, from, to } = message
    const isSnap = message.kind === 'MsgSnap'
    return {
      type,
      term,
      from: this.#number(from),
      to: this.#number(to),
      entries: isSnap ? message.index : message.kind === 'MsgApp' ? message.entries.length : 0,
      logTerm: !isSnap && 'logTerm' in message ? message.logTerm : 0,
      index: !isSnap && 'index' in message ? message.index : 0,
      commit: 'commit' in message ? message.commit : 0,
      vote: '0',
      reject: 'reject' in message ? message.reject : false,
      rejectHint: 'rejectHint' in message ? message.rejectHint : 0,
    }
  }

  #line(name: string, m: Look, msg?: object, instead: object = {}, prop?: object): void {
    if (this.lines.length >= LINES_MAX) return
    const { id, raft } = m
    const { term, vote, role, log, configuration } = raft
    const event = {
      name,
      nid: this.#number(id),
      state: { term, vote: this.#number(vote), commit: log.commit },
      role: ROLES[role],
      log: logs.lastIndex(log),
      conf: [this.#all(configuration.voters), this.#all(configuration.votersOutgoing)],
      ...(msg !== undefined && { msg }),
      ...(prop !== undefined && { prop }),
      ...instead,
    }
    this.lines.push(JSON.stringify({ tag: 'trace', event }))
  }

  #all(members: readonly MemberId[]): string[] {
    return members.map((id) => this.#number(id))
  }

  /** Nobody is 0. */
  #number(id: MemberId): string {
    if (id === '') return '0'
    const known = this.#numbers.get(id) ?? String(this.#numbers.size + 1)
    this.#numbers.set(id, known)
    return known
  }
}

/**
 * What one group does, line by line, in the shape of etcd's trace validation (state_trace.go, Traceetcdraft.tla): so that
 * a TLA+ model that others wrote can follow it. Members are numbers there. A pre-candidate is a follower to that model,
 * which knows no pre-votes.
 *
 * What a step did comes in the order: heard, on disk, roles, entries, commit, configuration, sends, and Ready, after which
 * what it said is under way. Each line has the state that the model is in there: before a message for `Receive`, else after
 * the line. As in etcd's, a leader's and a candidate's own log and vote are messages to itself: said when they come up,
 * heard when they are on disk. A message that was not looked at has no line, as if it were lost. Only as many lines as a
 * model checker can take are kept.
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

/** `index` 0: its vote. */
type Own = { readonly name: string; readonly term: number; readonly index: number; readonly msg: object }

const lastIndexOf = ({ base, entries }: Look['before']): number => base + entries.length

/** Of a MsgApp, as far as it can be told by: nobody goes beyond its last entry. */
function commitOf(message: Message): number {
  if (message.kind === 'MsgApp') return Math.min(message.commit, message.index + message.entries.length)
  return message.kind === 'MsgHeartbeat' ? message.commit : 0
}

export class RaftTrace {
  readonly lines: string[] = []
  readonly #numbers = new Map<MemberId, string>()
  /** What members have said to themselves, and have not heard yet. */
  readonly #said = new Map<MemberId, Own[]>()
  /** Members that have had lines since their last Ready. */
  readonly #busy = new Set<MemberId>()

  init(m: Look): void {
    this.#said.set(m.id, [])
    this.#line('InitState', m)
    this.#line('BecomeFollower', m)
    this.#busy.delete(m.id)
  }

  /** After a step, before anything of it is performed. */
  stepped(m: Look, event: RaftEvent, effects: readonly RaftEffect[]): void {
    const { raft, before: was } = m
    if (event.kind === 'message') this.#heard(m, event.message)
    if (event.kind === 'stored') this.#stored(m)
    const role = raft.role === 'pre-candidate' ? 'follower' : raft.role
    const wasRole = was.role === 'pre-candidate' ? 'follower' : was.role
    const grew = raft.term > was.term
    const old = { log: lastIndexOf(was) }
    const state = this.#state(raft.term, raft.vote, was.commit)
    if (raft.vote === m.id && grew && role !== 'follower') {
      this.#line('BecomeCandidate', m, { ...old, state, role: 'StateCandidate' })
      this.#say(m, 'SendRequestVoteResponse', 'MsgVoteResp', 0, { ...old, state, role: 'StateCandidate' })
    }
    if (role === 'leader' && (wasRole !== 'leader' || grew)) this.#line('BecomeLeader', m, { ...old, state })
    if (role === 'follower' && (wasRole !== 'follower' || grew)) this.#line('BecomeFollower', m)
    if (role === 'leader') this.#appended(m, state)
    if (role === 'leader' && raft.log.commit > was.commit) this.#line('Commit', m)
    if (raft.configuration !== was.configuration) {
      const cc = { newconf: this.#all(raft.configuration.voters) }
      this.#line('ApplyConfChange', m, { prop: { cc } })
      this.#busy.delete(m.id)
    }
    for (const effect of effects) if (effect.kind === 'send') this.#sent(m, effect.message)
    if (this.#busy.has(m.id)) this.#line('Ready', m)
    this.#busy.delete(m.id)
  }

  #sent(m: Look, message: Message): void {
    const name = SENT[message.kind]
    // A snapshot in parts is one message: said with the first, heard with the last.
    if (name === undefined || (message.kind === 'MsgSnap' && message.offset > 0)) return
    const progress = message.kind === 'MsgApp' ? m.raft.progress.get(message.to) : undefined
    const prop = progress && { prop: { match: progress.match, next: progress.next } }
    this.#line(name, m, { msg: this.#message(message), ...prop })
  }

  #heard(m: Look, message: Message): void {
    const name = SENT[message.kind]
    if (name === undefined || (message.kind === 'MsgSnap' && !message.last)) return
    // Of an old term, or a vote for which there is no need while there is a leader.
    if (message.term < m.before.term || m.raft.term < message.term) return
    this.#receive(m, name, this.#message(message))
  }

  /** What a member said to itself is on disk: it hears of it. */
  #stored(m: Look): void {
    const { raft } = m
    const { durable } = raft.writing
    const isHeard = ({ term, index }: Own): boolean =>
      index === 0 ? durable.term === term && durable.vote === m.id : index <= raft.log.stable
    const said = (this.#said.get(m.id) ?? []).filter(({ term }) => term === raft.term)
    for (const own of said) if (isHeard(own)) this.#receive(m, own.name, own.msg)
    this.#said.set(
      m.id,
      said.filter((own) => !isHeard(own)),
    )
  }

  /** With the state before it. */
  #receive(m: Look, sent: string, msg: object): void {
    const { term, vote, role, commit, configuration } = m.before
    const { voters, votersOutgoing } = configuration
    this.#line(sent.replace('Send', 'Receive'), m, {
      state: this.#state(term, vote, commit),
      role: ROLES[role],
      log: lastIndexOf(m.before),
      conf: [this.#all(voters), this.#all(votersOutgoing)],
      msg,
    })
  }

  /** Entries that a leader has put into its own log. */
  #appended(m: Look, state: object): void {
    const { raft, before: was } = m
    const from = lastIndexOf(was) + 1
    for (const { index, kind, data } of raft.log.entries) {
      if (index < from || index <= raft.log.base.index) continue
      const at = { state, log: index }
      if (kind === 'normal') this.#line('Replicate', m, at)
      else {
        const changes = decodeChange(data).changes.map(({ kind: what, peer }) => ({
          nid: this.#number(peer),
          action: ACTIONS[what],
        }))
        if (changes.length > 0) this.#line('ChangeConf', m, { ...at, prop: { cc: { changes } } })
      }
      this.#say(m, 'SendAppendEntriesResponse', 'MsgAppResp', index, at)
    }
  }

  #say(m: Look, name: string, type: Message['kind'], index: number, instead: object): void {
    const msg = this.#own(m, type, index)
    this.#line(name, m, { ...instead, msg })
    this.#said.get(m.id)?.push({ name, term: m.raft.term, index, msg })
  }

  #state(term: number, vote: MemberId, commit: number): object {
    return { term, vote: this.#number(vote), commit }
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
      commit: commitOf(message),
      vote: '0',
      reject: 'reject' in message ? message.reject : false,
      rejectHint: 'rejectHint' in message ? message.rejectHint : 0,
    }
  }

  #line(name: string, m: Look, instead: object = {}): void {
    this.#busy.add(m.id)
    if (this.lines.length >= LINES_MAX) return
    const { id, raft } = m
    const { term, vote, role, log, configuration } = raft
    const event = {
      name,
      nid: this.#number(id),
      state: this.#state(term, vote, log.commit),
      role: ROLES[role],
      log: logs.lastIndex(log),
      conf: [this.#all(configuration.voters), this.#all(configuration.votersOutgoing)],
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

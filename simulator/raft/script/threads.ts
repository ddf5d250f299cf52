/**
 * The two threads of an async node, as etcd has them: one writes, the other applies. What is to be done and what is to be
 * said when it is done go to a thread as one message, MsgStorageAppend or MsgStorageApply; what it says arrives like any
 * other message. Our core has effects and tokens for that: here they are told in etcd's messages.
 */
import { lastIndex, lastTerm, termAt } from '../../../protocols/raft/log.ts'
import type { Entry } from '../../../protocols/raft/types.ts'
import { type Environment, log, print } from './environment.ts'
import { applyCommitted, heardOfItself, tell } from './hearing.ts'
import { nameOf, nodeOf } from './members.ts'
import { type Mail, type Own, type ScriptNode, type Work, write } from './node.ts'
import type { Ready } from './taking.ts'
import { saidText } from './text.ts'

export function handToThreads(
  environment: Environment,
  node: ScriptNode,
  ready: Ready,
  committed: readonly Entry[],
): void {
  const { hardState, entries, snapshot, promises, messages } = ready
  const shown = (work: Work): Mail => ({ to: 0, said: work.said, isLocal: true, arrive: () => undefined })
  if (entries.length + promises.length > 0 || hardState !== undefined || snapshot !== undefined) {
    const work = appendWork(environment, node, ready)
    node.appendWork.push(work)
    messages.push(shown(work))
  }
  if (committed.length > 0) {
    const work = applyWork(environment, node, committed)
    node.applyWork.push(work)
    messages.push(shown(work))
  }
}

function appendWork(environment: Environment, node: ScriptNode, ready: Ready): Work {
  const { hardState, entries, snapshot, promises, store } = ready
  let isTold = store === undefined
  const stored = (): void => {
    if (isTold || store === undefined) return
    isTold = true
    log(environment, tell(node, { kind: 'stored', token: store.token }))
  }
  const own = promises.filter((each) => 'lines' in each)
  const nothing = (): void => undefined
  const completions = completion(environment, node, ready, own.length === 0 ? stored : nothing)
  const answers = promises.map((each) => {
    if (!('lines' in each)) return each
    return toItself(environment, node, each, each === own.at(-1) ? stored : nothing)
  })
  const responses = [...answers, ...completions]
  const state = hardState && { ...hardState, vote: nodeOf(hardState.vote) }
  const said = {
    from: nameOf(node.raft.config.self),
    to: 'AppendThread',
    type: 'MsgStorageAppend',
    ...state,
    entries,
    ...(snapshot && { snapshot }),
    responses: responses.map((each) => each.said),
  }
  const perform = (): void => {
    if (store !== undefined) write(node.disk, store)
    // Where nothing of it comes back to the node as a message, the core hears of it at once.
    if (own.length + completions.length === 0) stored()
  }
  return { said, perform, responses }
}

/** Its own vote, and its own entries: the core counts all of them when it hears of the last, that the write is done. */
function toItself(environment: Environment, node: ScriptNode, own: Own, stored: () => void): Mail {
  const arrive = (): void => {
    log(environment, heardOfItself(node, own))
    stored()
  }
  return { to: node.id, said: own.said, isLocal: true, arrive }
}

/** MsgStorageAppendResp, while anything is not on disk that is to be. */
function completion(
  environment: Environment,
  node: ScriptNode,
  { snapshot }: Ready,
  stored: () => void,
): Mail[] {
  const { raft, id } = node
  const isBehind = Math.max(node.appendedTo, raft.log.base.index) < lastIndex(raft.log)
  if (!isBehind && snapshot === undefined) return []
  const end = isBehind
    ? { index: lastIndex(raft.log), logTerm: lastTerm(raft.log) }
    : { index: 0, logTerm: 0 }
  const done = { term: raft.term, ...end }
  const to = nameOf(raft.config.self)
  const said = {
    from: 'AppendThread',
    to,
    type: 'MsgStorageAppendResp',
    ...done,
    ...(snapshot && { snapshot }),
  }
  const arrive = (): void => {
    log(environment, appended(node, done))
    stored()
  }
  return [{ to: id, said, isLocal: true, arrive }]
}

/** What etcd's core says of a write that is done, where it counts for nothing. */
function appended(node: ScriptNode, done: { index: number; logTerm: number; term: number }): string[] {
  const { raft } = node
  const { index, logTerm, term } = done
  if (index === 0) return []
  if (term < raft.term) {
    const what = `ignored entry appends from a MsgStorageAppendResp message with lower term [term: ${term}]`
    return [`INFO ${nameOf(raft.config.self)} [term: ${raft.term}] ${what}`]
  }
  if (index <= node.appendedTo) return [`INFO entry at index ${index} missing from unstable log; ignoring`]
  const held = termAt(raft.log, index) ?? 0
  if (held !== logTerm) {
    const what = `entry at (index,term)=(${index},${logTerm}) mismatched with entry at (${index},${held})`
    return [`INFO ${what} in unstable log; ignoring`]
  }
  node.appendedTo = index
  return []
}

function applyWork(environment: Environment, node: ScriptNode, entries: readonly Entry[]): Work {
  const name = nameOf(node.raft.config.self)
  const index = entries.at(-1)?.index ?? 0
  const said = { from: 'ApplyThread', to: name, type: 'MsgStorageApplyResp', entries }
  const response: Mail = {
    to: node.id,
    said,
    isLocal: true,
    arrive: () => log(environment, tell(node, { kind: 'applied', index })),
  }
  return {
    said: { from: name, to: 'ApplyThread', type: 'MsgStorageApply', entries, responses: [said] },
    perform: () => log(environment, applyCommitted(node, index).lines),
    responses: [response],
  }
}

export const processAppend = (environment: Environment, { appendWork: work }: ScriptNode): void =>
  workOff(environment, work, 'no append work to perform')

export const processApply = (environment: Environment, { applyWork: work }: ScriptNode): void =>
  workOff(environment, work, 'no apply work to perform')

/** One piece of work of a thread. */
function workOff(environment: Environment, work: Work[], nothing: string): void {
  const next = work.shift()
  if (next === undefined) return print(environment, nothing)
  const { responses: _, ...said } = next.said
  print(environment, `Processing:\n${saidText(said, environment.v1)}\n`)
  next.perform()
  const lines = next.responses.map((each) => `${saidText(each.said, environment.v1)}\n`)
  print(environment, `Responses:\n${lines.join('')}`)
  environment.mail.push(...next.responses)
}

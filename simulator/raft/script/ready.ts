/**
 * `process-ready`: everything that came of what a node has heard, as etcd's Ready has it: state that changed, entries to
 * write, entries to apply, messages. A node whose host does all of it at once has written and applied it when this is
 * over; an `async` one has been given the work for its append and apply threads.
 *
 * Of what the core says about the order of messages and disk (`after`), one thing is not kept for async nodes: a MsgVote
 * leaves at once. Ours waits for term and vote to be on disk, because an answer to it may come in a later life in which
 * they, and the end of the log, are lost; in a script nobody crashes.
 */
import { lastIndex, lastTerm } from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { apply, flush, hear } from '../../../protocols/raft/raft.ts'
import { currentHardState } from '../../../protocols/raft/state.ts'
import type { Entry, HardState, RaftEvent, Snapshot } from '../../../protocols/raft/types.ts'
import { type Environment, log, print } from './environment.ts'
import { nameOf, nodeOf } from './members.ts'
import { becameFollower, narrate, switched } from './narrate.ts'
import { type Mail, type ScriptNode, type StoreEffect, take, type Work, write } from './node.ts'
import { entriesText, hardStateText, roleText, saidOf, saidText, snapshotText } from './text.ts'
import { viewOf } from './view.ts'

/** The core hears an event. @returns What etcd's core would have logged. */
export function tell({ raft }: ScriptNode, event: RaftEvent): string[] {
  const before = viewOf(raft)
  hear(raft, event)
  return narrate(before, event, raft)
}

export function hasReady({ raft, told, outbox, isAsync }: ScriptNode): boolean {
  const { out, writing } = raft
  const says = out.messages.length + writing.waiting.length + outbox.length > 0
  const isNew = told.leader !== raft.leader || told.role !== raft.role
  return says || isNew || hasNewHardState(raft, told) || hasUnwritten(raft) || hasCommitted(raft, isAsync)
}

type Core = ScriptNode['raft']

const isSame = (a: HardState, b: HardState): boolean =>
  a.term === b.term && a.vote === b.vote && a.commit === b.commit

const hasNewHardState = (raft: Core, { hardState }: ScriptNode['told']): boolean =>
  !isSame(currentHardState(raft), hardState)

function hasUnwritten({ log: { stable, ...rest }, writing }: Core): boolean {
  if (writing.snapshot?.installs === true) return true
  return lastIndex({ stable, ...rest }) > Math.max(stable, ...writing.inFlight.map(({ upTo }) => upTo))
}

/** A host that writes at once may be given entries to apply that it is to write just now. */
function hasCommitted({ log: { commit, stable, applying, base } }: Core, isAsync: boolean): boolean {
  return applying >= base.index && Math.min(commit, isAsync ? stable : commit) > applying
}

type Ready = {
  readonly isSynced: boolean
  readonly softState: string | undefined
  readonly hardState: HardState | undefined
  readonly entries: readonly Entry[]
  readonly snapshot: Snapshot | undefined
  readonly messages: readonly Mail[]
  committed: readonly Entry[]
}

export function processReady(environment: Environment, node: ScriptNode): void {
  const taken = takeReady(environment, node)
  const lines = node.isAsync ? hand(environment, node, taken) : perform(node, taken)
  environment.mail.push(...taken.ready.messages.filter(({ to }) => to !== 0))
  print(environment, readyText(environment, taken.ready))
  log(environment, [...lines, ...node.after.splice(0)])
}

type Taken = {
  readonly ready: Ready & { messages: Mail[] }
  readonly store: StoreEffect | undefined
  /** Messages that promise what is being written. */
  readonly late: Mail[]
}

function takeReady(environment: Environment, node: ScriptNode): Taken {
  const { raft, told } = node
  const hardState = currentHardState(raft)
  const isNew = told.leader !== raft.leader || told.role !== raft.role
  const changed = !isSame(hardState, told.hardState)
  const effects = flush(raft)
  const store = effects.find((each) => each.kind === 'store')
  const sends = effects.flatMap((each) => (each.kind === 'send' ? [each.message] : []))
  const entries = store?.entries ?? []
  const installs = store?.dropFrom === 0 ? store.snapshot : undefined
  const promises = (message: Message): boolean =>
    ['MsgAppResp', 'MsgVoteResp', 'MsgPreVoteResp'].includes(message.kind)
  const mail = (message: Message): Mail => mailOf(environment, message)
  const isSynced =
    entries.length > 0 || hardState.term !== told.hardState.term || hardState.vote !== told.hardState.vote
  const ready = {
    isSynced,
    softState: isNew ? `Lead:${nodeOf(raft.leader)} State:${roleText(raft.role)}` : undefined,
    hardState: changed ? hardState : undefined,
    entries,
    snapshot: installs,
    messages: [...sends.filter((each) => !promises(each)).map(mail), ...node.outbox.splice(0)],
    committed: [],
  }
  node.told = { leader: raft.leader, role: raft.role, hardState }
  return { ready, store, late: sends.filter(promises).map(mail) }
}

export function mailOf(environment: Environment, message: Message): Mail {
  return {
    to: nodeOf(message.to),
    said: saidOf(message),
    isLocal: false,
    arrive: (node) => log(environment, tell(node, { kind: 'message', message })),
  }
}

/** A host that does everything at once; the order in which the core hears of it is etcd's. */
function perform(node: ScriptNode, { ready, store, late }: Taken): string[] {
  ready.messages.push(...late)
  if (store !== undefined) write(node.disk, store)
  const written = (): string[] =>
    store === undefined ? [] : tell(node, { kind: 'stored', token: store.token })
  // A leader has what is committed on disk, and may commit more by what it writes now: that is for the next time.
  const leads = node.raft.role === 'leader'
  const early = leads ? [] : written()
  const lines = applyTo(node, ready)
  const late2 = leads ? written() : []
  const index = ready.committed.at(-1)?.index
  const done = index === undefined ? [] : tell(node, { kind: 'applied', index })
  return [...early, ...lines, ...late2, ...done]
}

/** What the core hands out to be applied. A change of configuration is in force from here on. */
function applyTo(node: ScriptNode, ready: Ready): string[] {
  const { raft } = node
  const role = raft.role
  apply(raft)
  ready.committed = raft.out.apply.splice(0)
  take(node, ready.committed)
  const lines = ready.committed
    .filter(({ kind }) => kind === 'configuration')
    .map(({ index }) =>
      switched(raft, node.history.find((each) => each.index === index)?.configuration ?? raft.configuration),
    )
  return role === 'leader' && raft.role === 'follower' ? [...lines, becameFollower(raft)] : lines
}

/** Two threads get what there is to do, each with what it is to say when it is done. */
function hand(environment: Environment, node: ScriptNode, { ready, store, late }: Taken): string[] {
  const { raft } = node
  const lines = applyTo(node, ready)
  const { hardState, entries, snapshot, messages } = ready
  if (entries.length > 0 || hardState !== undefined || snapshot !== undefined || late.length > 0) {
    const work = appendWork(environment, node, store, ready, late)
    node.appendWork.push(work)
    messages.push({ to: 0, said: work.said, isLocal: true, arrive: () => undefined })
  }
  if (ready.committed.length > 0) {
    const work = applyWork(environment, node, ready.committed)
    node.applyWork.push(work)
    messages.push({ to: 0, said: work.said, isLocal: true, arrive: () => undefined })
  }
  raft.out.restore = undefined
  return lines
}

function appendWork(
  environment: Environment,
  node: ScriptNode,
  store: StoreEffect | undefined,
  { hardState, entries, snapshot }: Ready,
  late: readonly Mail[],
): Work {
  const { raft } = node
  const name = nameOf(raft.config.self)
  const { term, log: held } = raft
  const own: Mail[] = []
  const stored = (): void => {
    if (store !== undefined) log(environment, tell(node, { kind: 'stored', token: store.token }))
  }
  const local = (said: Mail['said'], arrive: () => void): Mail => ({
    to: node.id,
    said,
    isLocal: true,
    arrive,
  })
  // The core counts itself when it hears that the write is done: that is what the first of these says.
  let once = stored
  const first = (): void => {
    const now = once
    once = () => undefined
    now()
  }
  const last = { index: lastIndex(held), logTerm: lastTerm(held) }
  if (
    raft.role === 'candidate' &&
    hardState !== undefined &&
    hardState.term === term &&
    store?.hardState !== undefined
  ) {
    own.push(local({ from: name, to: name, type: 'MsgVoteResp', term }, first))
  }
  if (raft.role === 'leader' && entries.length > 0) {
    own.push(local({ from: name, to: name, type: 'MsgAppResp', term, index: last.index }, first))
  }
  if (held.stable < last.index || snapshot !== undefined) {
    const { index, logTerm } = held.stable < last.index ? last : { index: 0, logTerm: 0 }
    const said = {
      from: 'AppendThread',
      to: name,
      type: 'MsgStorageAppendResp',
      term,
      index,
      logTerm,
      ...(snapshot && { snapshot }),
    }
    own.push(
      local(said, () => {
        if (index !== 0 && term < raft.term) log(environment, [ignoredAppend(node, term)])
        first()
      }),
    )
  }
  const isAck = ({ said }: Mail): boolean => said.type !== 'MsgStorageAppendResp'
  const responses = [...own.filter(isAck), ...late, ...own.filter((each) => !isAck(each))]
  const vote = nodeOf(hardState?.vote ?? '')
  const said = {
    from: name,
    to: 'AppendThread',
    type: 'MsgStorageAppend',
    ...(hardState !== undefined && { term: hardState.term, commit: hardState.commit, vote }),
    entries,
    ...(snapshot !== undefined && { snapshot }),
    responses: responses.map((each) => each.said),
  }
  const perform = (): void => {
    if (store !== undefined) write(node.disk, store)
    if (own.length === 0) stored()
  }
  return { said, perform, responses }
}

const ignoredAppend = ({ raft }: ScriptNode, term: number): string =>
  `INFO ${nameOf(raft.config.self)} [term: ${raft.term}] ignored entry appends from a MsgStorageAppendResp message with lower term [term: ${term}]`

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
    perform: () => undefined,
    responses: [response],
  }
}

/** One piece of work of a thread. */
export function processThread(environment: Environment, work: Work[], nothing: string): void {
  const next = work.shift()
  if (next === undefined) return print(environment, nothing)
  const { responses: _, ...said } = next.said
  print(environment, `Processing:\n${saidText(said, environment.v1)}\n`)
  next.perform()
  const lines = next.responses.map((each) => `${saidText(each.said, environment.v1)}\n`)
  print(environment, `Responses:\n${lines.join('')}`)
  environment.mail.push(...next.responses)
}

function readyText({ v1 }: Environment, ready: Ready): string {
  const { softState, hardState, entries, snapshot, committed, messages } = ready
  const parts: string[] = []
  if (softState !== undefined) parts.push(`${softState}\n`)
  if (hardState !== undefined) parts.push(`HardState ${hardStateText(hardState)}\n`)
  if (entries.length > 0) parts.push(`Entries:\n${entriesText(entries, v1)}`)
  if (snapshot !== undefined) parts.push(`Snapshot ${snapshotText(snapshot)}\n`)
  if (committed.length > 0) parts.push(`CommittedEntries:\n${entriesText(committed, v1)}`)
  if (messages.length > 0) {
    parts.push(`Messages:\n${messages.map(({ said }) => `${saidText(said, v1)}\n`).join('')}`)
  }
  return parts.length === 0 ? '<empty Ready>' : `Ready MustSync=${ready.isSynced}:\n${parts.join('')}`
}

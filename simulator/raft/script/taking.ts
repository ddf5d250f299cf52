/**
 * What comes out of a core since it was last asked, as etcd's Ready has it: state that changed, entries to write, entries
 * to apply, messages.
 */
import { lastIndex, slice } from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { flush, handable } from '../../../protocols/raft/raft.ts'
import { currentHardState } from '../../../protocols/raft/state.ts'
import type { Entry, HardState, Snapshot } from '../../../protocols/raft/types.ts'
import type { Environment } from './environment.ts'
import { mailOf } from './hearing.ts'
import { nodeOf } from './members.ts'
import type { Mail, Own, ScriptNode, StoreEffect } from './node.ts'
import { entriesText, hardStateText, roleText, saidText, snapshotText } from './text.ts'

export type Ready = {
  /** Whether the disk has to be waited for: a commit index alone may be lost. */
  readonly isSynced: boolean
  readonly softState: string | undefined
  readonly hardState: HardState | undefined
  readonly entries: readonly Entry[]
  readonly snapshot: Snapshot | undefined
  readonly messages: Mail[]
  /** Messages that promise what is to be written, in the order in which they were said; some the core says to itself. */
  readonly promises: readonly (Mail | Own)[]
  /** Undefined when there is nothing to write but, maybe, a commit index. */
  readonly store: StoreEffect | undefined
}

export function hasReady(node: ScriptNode): boolean {
  const { raft, told, outbox, isAsync } = node
  const { out, writing } = raft
  const says = out.messages.length + writing.waiting.length + outbox.length > 0
  const isNew = told.leader !== raft.leader || told.role !== raft.role
  if (says || isNew || hasNewHardState(raft, told) || hasUnwritten(raft)) return true
  return isAsync ? toBeGiven(node).length > 0 : hasCommitted(raft)
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
const hasCommitted = ({ log: { commit, applying, base } }: Core): boolean =>
  applying >= base.index && commit > applying

/** What is committed and, by the word of the append thread, on disk, and not given to the apply thread yet. */
export function toBeGiven({ raft, givenTo, appendedTo }: ScriptNode): Entry[] {
  const { log } = raft
  if (log.applying < log.base.index) return []
  const to = Math.max(givenTo, log.applying)
  const end = Math.min(log.commit, log.stable, Math.max(appendedTo, log.base.index))
  return handable(raft, slice(log, log.applied + 1, to), slice(log, to + 1, end))
}

/** The same message twice is two messages: what is not said again in the product, is in scripts. */
export function takeReady(environment: Environment, node: ScriptNode): Ready {
  const { raft, told } = node
  const hardState = currentHardState(raft)
  const isNew = told.leader !== raft.leader || told.role !== raft.role
  const effects = flush(raft)
  const store = effects.find((each) => each.kind === 'store')
  const order = [...node.spoken]
  const inOrder = <Each>(all: Each[]): Each[] => all.sort((a, b) => order.indexOf(a) - order.indexOf(b))
  node.spoken.clear()
  const said = inOrder([
    ...effects.flatMap((each) => (each.kind === 'send' ? [each.message] : [])),
    ...node.outbox.splice(0),
    ...node.own.splice(0),
  ])
  const mail = (each: Message | Mail): Mail => ('said' in each ? each : mailOf(environment, each))
  const entries = store?.entries ?? []
  const ready = {
    isSynced:
      entries.length > 0 || hardState.term !== told.hardState.term || hardState.vote !== told.hardState.vote,
    softState: isNew ? `Lead:${nodeOf(raft.leader)} State:${roleText(raft.role)}` : undefined,
    hardState: isSame(hardState, told.hardState) ? undefined : hardState,
    entries,
    snapshot: store?.dropFrom === 0 ? store.snapshot : undefined,
    messages: said.flatMap((each) => ('lines' in each || isPromise(each) ? [] : [mail(each)])),
    promises: said.filter(isPromise).map((each) => ('lines' in each ? each : mail(each))),
    store,
  }
  node.appendedTo = Math.min(node.appendedTo, (entries[0]?.index ?? Infinity) - 1)
  node.told = { leader: raft.leader, role: raft.role, hardState }
  return ready
}

/** Of etcd's core these wait for the disk, refusals too; of ours, refusals need not. */
const isPromise = (each: Message | Mail | Own): each is Message | Own =>
  'lines' in each || ('kind' in each && PROMISES.includes(each.kind))

const PROMISES: readonly string[] = ['MsgAppResp', 'MsgVoteResp', 'MsgPreVoteResp']

export function readyText({ v1 }: Environment, ready: Ready, committed: readonly Entry[]): string {
  const { softState, hardState, entries, snapshot, messages } = ready
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

/**
 * `propose` and `propose-conf-change`. The host of a follower passes a proposal on to the leader, printed as etcd's MsgProp;
 * and in place of a change that the core refuses the host proposes an empty entry, as etcd's core does, so that what comes
 * after it stands at the same index.
 */
import { encodeChange } from '../../../protocols/raft/configuration.ts'
import { describeConfiguration } from '../../../protocols/raft/confchange.ts'
import { lastIndex } from '../../../protocols/raft/log.ts'
import { hear } from '../../../protocols/raft/raft.ts'
import type { ConfigurationChange, Entry, RaftEffect, RaftEvent } from '../../../protocols/raft/types.ts'
import { nodeIn, readBoolean, valueOf } from './arguments.ts'
import type { Command } from './data-driven.ts'
import { type Environment, log, rememberV1 } from './environment.ts'
import { listen } from './hearing.ts'
import { nameOf, nodeOf, parseChanges, ScriptError } from './members.ts'
import { DROPPED, transferring } from './narrate.ts'
import type { ScriptNode } from './node.ts'
import { viewOf } from './view.ts'

const TOKEN = 0

/** @returns Why the core did not take it. */
function offer(node: ScriptNode, event: RaftEvent): Extract<RaftEffect, { kind: 'refused' }> | undefined {
  const { raft } = node
  const before = viewOf(raft)
  hear(raft, event)
  listen(node, before)
  const answers = raft.out.answers.splice(0)
  return answers.find((each) => each.kind === 'refused')
}

export function propose(environment: Environment, command: Command): void {
  const [first, what] = command.arguments
  if (first === undefined || what === undefined) throw new ScriptError('expected a node and what it proposes')
  const data = new TextEncoder().encode(what.key)
  proposeData(environment, nodeIn(environment, { ...command, arguments: [first] }), data)
}

/** `by`: who was asked first; a proposal that is passed on twice still comes from there. */
function proposeData(environment: Environment, each: ScriptNode, data: Uint8Array, by = each): void {
  const refused = offer(each, { kind: 'propose', proposals: [{ token: TOKEN, data }] })
  if (refused === undefined) return
  const entry = { term: 0, index: 0, kind: 'normal' as const, data }
  if (!passOn(each, { entry, by, isV1: false }, (leader) => proposeData(environment, leader, data, by))) {
    drop(environment, each, refused.why)
  }
}

function drop(environment: Environment, { raft }: ScriptNode, why: string): never {
  const id = nameOf(raft.config.self)
  if (raft.leader === '') log(environment, [`INFO ${id} no leader at term ${raft.term}; dropping proposal`])
  if (why === 'transferring') {
    log(environment, [transferring(raft)])
  }
  throw new ScriptError(DROPPED)
}

type Asked = { readonly entry: Entry; readonly by: ScriptNode; readonly isV1: boolean }

/** @returns Whether there is a leader elsewhere. */
function passOn(each: ScriptNode, { entry, by, isV1 }: Asked, arrive: (leader: ScriptNode) => void): boolean {
  const { leader, role } = each.raft
  if (leader === '' || role === 'leader') return false
  const said = {
    from: nameOf(by.raft.config.self),
    to: nameOf(leader),
    type: 'MsgProp',
    entries: [entry],
    isV1,
  }
  const mail = { to: nodeOf(leader), said, isLocal: false, arrive }
  each.outbox.push(mail)
  each.spoken.add(mail)
  return true
}

const isTransition = (value: string): value is ConfigurationChange['transition'] =>
  ['auto', 'implicit', 'explicit'].includes(value)

const CHANGE_WORDS = ['v1', 'transition']

/** `propose-conf-change 1 v1=true` or `transition=explicit`, and `v2 l3` on the next line. */
export function proposeChange(environment: Environment, command: Command): void {
  const strange = command.arguments.find(
    ({ key, values }) => values.length > 0 && !CHANGE_WORDS.includes(key),
  )
  if (strange !== undefined) throw new ScriptError(`unknown command ${strange.key}`)
  const transition = valueOf(command, 'transition') ?? 'auto'
  if (!isTransition(transition)) throw new ScriptError(`unknown transition ${transition}`)
  const isV1 = readBoolean(valueOf(command, 'v1') ?? 'false')
  const changes = parseChanges(command.input)
  if (isV1 && (changes.length > 1 || transition !== 'auto')) {
    throw new ScriptError('v1 conf change can only have one operation and no transition')
  }
  changeAt(environment, nodeIn(environment, command), { transition, changes }, isV1)
}

function changeAt(
  environment: Environment,
  each: ScriptNode,
  change: ConfigurationChange,
  isV1: boolean,
  by = each,
): void {
  const { raft } = each
  const refused = offer(each, { kind: 'propose-change', token: TOKEN, change })
  if (refused === undefined) {
    if (isV1) rememberV1(environment, { term: raft.term, index: lastIndex(raft.log) })
    return
  }
  const entry = { term: 0, index: 0, kind: 'configuration' as const, data: encodeChange(change) }
  if (passOn(each, { entry, by, isV1 }, (leader) => changeAt(environment, leader, change, isV1, by))) return
  const reason = whyRefused(each, refused)
  if (reason === undefined) return drop(environment, each, refused.why)
  const text = `${describeChange(change)} at config ${describeConfiguration(raft.configuration, nameOf)}`
  log(environment, [`INFO ${nameOf(raft.config.self)} ignoring conf change ${text}: ${reason}`])
  proposeData(environment, each, new Uint8Array())
}

/** Undefined for reasons that have nothing to do with what is changed. */
function whyRefused(
  { raft }: ScriptNode,
  { why, detail }: Extract<RaftEffect, { kind: 'refused' }>,
): string | undefined {
  const pending = `possible unapplied conf change at index ${raft.lastChangeIndex} (applied to ${raft.log.applied})`
  if (why === 'change-pending') return pending
  return why === 'no-op' ? `no entry of term ${raft.term} is committed yet` : detail
}

const KIND_TEXTS = {
  'add-node': 'ConfChangeAddNode',
  'add-learner-node': 'ConfChangeAddLearnerNode',
  'remove-node': 'ConfChangeRemoveNode',
  'update-node': 'ConfChangeUpdateNode',
} as const
const TRANSITION_TEXTS = {
  auto: 'ConfChangeTransitionAuto',
  implicit: 'ConfChangeTransitionJointImplicit',
  explicit: 'ConfChangeTransitionJointExplicit',
} as const

function describeChange({ transition, changes }: ConfigurationChange): string {
  const each = changes.map(({ kind, peer }) => `changes:{type:${KIND_TEXTS[kind]} node_id:${nodeOf(peer)}}`)
  return [`transition:${TRANSITION_TEXTS[transition]}`, ...each].join(' ')
}

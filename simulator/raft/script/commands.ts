/**
 * The commands of interaction scripts: nodes come up, messages are delivered or lost, time passes, all when the script
 * says so. Commands, arguments and what is printed are those of etcd's raft (its rafttest package).
 */
import { crc32 } from 'node:zlib'
import { encodeChange, isVoter, NOBODY } from '../../../protocols/raft/configuration.ts'
import { compact, lastIndex } from '../../../protocols/raft/log.ts'
import { create, hear } from '../../../protocols/raft/raft.ts'
import type {
  Configuration,
  ConfigurationChange,
  RaftConfig,
  RaftEffect,
  RaftEvent,
} from '../../../protocols/raft/types.ts'
import { describeConfiguration } from '../../../protocols/raft/confchange.ts'
import type { Argument, Command } from './data-driven.ts'
import {
  describeMail,
  type Environment,
  indented,
  type Level,
  LEVELS,
  log,
  nodeAt,
  print,
  rememberV1,
} from './environment.ts'
import { memberOf, nameOf, nodeOf, parseChanges, parseNumber, ScriptError } from './members.ts'
import { born, ownPreVote } from './narrate.ts'
import { compactDisk, type Mail, type ScriptNode } from './node.ts'
import { hasReady, mailOf, processReady, processThread, tell } from './ready.ts'
import { entriesText, roleText, statusText } from './text.ts'

/** Prints into `environment`. @throws ScriptError with what etcd's runner would print as an error. */
type Perform = (environment: Environment, command: Command) => void

const COMMANDS: Readonly<Record<string, Perform>> = {
  'add-nodes': addNodes,
  campaign: (environment, command) => campaign(environment, node(environment, command)),
  compact: compactLog,
  'deliver-msgs': deliverMessages,
  'forget-leader': (environment, command) =>
    log(environment, tell(node(environment, command), { kind: 'forget-leader' })),
  'log-level': (environment, { arguments: [level] }) => setLevel(environment, level?.key ?? ''),
  'process-append-thread': (environment, command) =>
    forEach(environment, command, 'processing append thread', appendThread),
  'process-apply-thread': (environment, command) =>
    forEach(environment, command, 'processing apply thread', applyThread),
  'process-ready': (environment, command) => forEach(environment, command, 'handling Ready', processReady),
  propose,
  'propose-conf-change': proposeChange,
  'raft-log': (environment, command) => raftLog(environment, node(environment, command)),
  'raft-state': raftState,
  'report-unreachable': reportUnreachable,
  'send-snapshot': sendSnapshot,
  'set-randomized-election-timeout': (environment, command) => {
    node(environment, command).raft.electionTimeout = parseNumber(valueOf(command, 'timeout') ?? '')
  },
  stabilize,
  status: (environment, command) => print(environment, statusText(node(environment, command).raft)),
  'tick-election': (environment, command) => tick(environment, node(environment, command), ELECTION_TICKS),
  'tick-heartbeat': (environment, command) => tick(environment, node(environment, command), HEARTBEAT_TICKS),
  'transfer-leadership': transferLeadership,
  _breakpoint: () => undefined,
}

/** @returns What the command printed; `ok` when that is nothing. */
export function performInteraction(environment: Environment, command: Command): string {
  environment.output = ''
  try {
    const perform = Object.hasOwn(COMMANDS, command.name) ? COMMANDS[command.name] : undefined
    if (perform === undefined) throw new ScriptError('unknown command')
    perform(environment, command)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    environment.output += error.message
  }
  return environment.output === '' ? 'ok' : environment.output
}

// Arguments.

const idsOf = ({ arguments: all }: Command): number[] =>
  all.filter(({ values }) => values.length === 0).map(({ key }) => parseNumber(key))

const node = (environment: Environment, command: Command): ScriptNode =>
  nodeAt(environment, idsOf(command)[0] ?? 0)

const valueOf = ({ arguments: all }: Command, key: string): string | undefined =>
  all.find((each) => each.key === key)?.values[0]

function forEach(
  environment: Environment,
  command: Command,
  doing: string,
  perform: (environment: Environment, node: ScriptNode) => void,
): void {
  const ids = idsOf(command)
  for (const id of ids) {
    const each = nodeAt(environment, id)
    if (ids.length === 1) perform(environment, each)
    else under(environment, `> ${id} ${doing}`, () => perform(environment, each))
  }
}

function under(environment: Environment, title: string, action: () => void): void {
  print(environment, `${title}\n`)
  indented(environment, action)
}

// Nodes.

const ELECTION_TICKS = 3
const HEARTBEAT_TICKS = 1

/** Settings that scripts were written for, and what each word of `add-nodes` changes about them. */
const DEFAULTS: Omit<RaftConfig, 'self'> = {
  cluster: 'script',
  group: 'script',
  generation: 0,
  electionTicks: ELECTION_TICKS,
  heartbeatTicks: HEARTBEAT_TICKS,
  // The longest timeout: nobody campaigns that the script did not tell to.
  dice: () => 0.999,
  entriesKept: Number.MAX_SAFE_INTEGER,
  // As many as a script has patience for.
  writesInFlight: Number.MAX_SAFE_INTEGER,
  repeatPromises: true,
  preVote: false,
  checkQuorum: false,
  stepDownOnRemoval: false,
  maxInflightMsgs: Number.MAX_SAFE_INTEGER,
  maxInflightBytes: Number.MAX_SAFE_INTEGER,
  maxSizePerMsg: Number.MAX_SAFE_INTEGER,
}

const isTrue = (value: string): boolean => ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)

const SETTINGS: Readonly<Record<string, (value: string) => Partial<RaftConfig>>> = {
  inflight: (value) => ({ maxInflightMsgs: parseNumber(value) }),
  'max-inflight': (value) => ({ maxInflightMsgs: parseNumber(value) }),
  'max-size-per-msg': (value) => ({ maxSizePerMsg: parseNumber(value) }),
  'max-committed-size-per-ready': (value) => ({ maxCommittedSizePerReady: parseNumber(value) }),
  prevote: (value) => ({ preVote: isTrue(value) }),
  checkquorum: (value) => ({ checkQuorum: isTrue(value) }),
  'step-down-on-removal': (value) => ({ stepDownOnRemoval: isTrue(value) }),
  'disable-conf-change-validation': (value) => ({ disableConfChangeValidation: isTrue(value) }),
  'read-only': (value) => ({ readOnly: readOnly(value) }),
  read_only: (value) => ({ readOnly: readOnly(value) }),
}

function readOnly(value: string): 'safe' | 'lease-based' {
  if (value === 'safe' || value === 'lease-based') return value
  throw new ScriptError(`invalid read-only option "${value}"`)
}

/** `add-nodes 3 voters=(1,2,3) index=10`: new nodes, numbered on, that begin with a snapshot or, without one, empty. */
function addNodes(environment: Environment, command: Command): void {
  const members = (key: string): string[] =>
    command.arguments
      .filter((each) => each.key === key)
      .flatMap(({ values }) => values.map((id) => memberOf(parseNumber(id))))
      .sort()
  const configuration: Configuration = { ...NOBODY, voters: members('voters'), learners: members('learners') }
  const index = parseNumber(valueOf(command, 'index') ?? '0')
  const data = new TextEncoder().encode(valueOf(command, 'content') ?? '')
  const isEmpty = index + data.length + configuration.voters.length + configuration.learners.length === 0
  if (!isEmpty && index <= 1) throw new ScriptError('index must be specified as > 1 due to bootstrap')
  const settings = command.arguments.map(settingOf)
  const snapshot = { index, term: isEmpty ? 0 : 1, configuration, data }
  for (let count = idsOf(command)[0] ?? 0; count > 0; count--) {
    const id = environment.nodes.length + 1
    const config: RaftConfig = Object.assign({ ...DEFAULTS, self: memberOf(id) }, ...settings)
    const hardState = { term: 0, vote: '', commit: isEmpty ? 0 : index }
    const raft = create(config, { hardState, snapshot, entries: [] })
    environment.nodes.push({
      id,
      raft,
      isAsync: isTrue(valueOf(command, 'async-storage-writes') ?? 'false'),
      disk: { first: index + 1, entries: [] },
      history: [snapshot],
      told: { leader: '', role: 'follower', hardState },
      outbox: [],
      appendWork: [],
      applyWork: [],
      after: [],
    })
    log(environment, born(raft))
  }
}

function settingOf({ key, values }: Argument): Partial<RaftConfig> {
  const value = values[0]
  const set = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined
  return set === undefined || value === undefined ? {} : set(value)
}

// Time and elections.

function campaign(environment: Environment, each: ScriptNode): void {
  log(environment, tell(each, { kind: 'campaign' }))
  if (each.raft.role === 'pre-candidate') each.after.push(...ownPreVote(each.raft))
}

function tick(environment: Environment, each: ScriptNode, count: number): void {
  for (let at = 0; at < count; at++) log(environment, tell(each, { kind: 'tick' }))
}

function transferLeadership(environment: Environment, command: Command): void {
  const from = nodeAt(environment, parseNumber(valueOf(command, 'from') ?? ''))
  const to = nodeAt(environment, parseNumber(valueOf(command, 'to') ?? ''))
  log(environment, tell(from, { kind: 'transfer', to: memberOf(to.id) }))
}

function reportUnreachable(environment: Environment, command: Command): void {
  const [on, peer] = idsOf(command)
  if (on === undefined || peer === undefined) {
    throw new ScriptError('must specify exactly two node indexes: node on which to report, and reported node')
  }
  log(environment, tell(nodeAt(environment, on), { kind: 'unreachable', peer: memberOf(peer) }))
}

// Proposals.

const DROPPED = 'raft proposal dropped'
const TOKEN = 0

/** @returns Why the core did not take it. */
function offer({ raft }: ScriptNode, event: RaftEvent): Extract<RaftEffect, { kind: 'refused' }> | undefined {
  hear(raft, event)
  const answers = raft.out.answers.splice(0)
  return answers.find((each) => each.kind === 'refused')
}

function propose(environment: Environment, command: Command): void {
  const [first, what] = command.arguments
  if (first === undefined || what === undefined) throw new ScriptError('expected a node and what it proposes')
  const data = new TextEncoder().encode(what.key)
  proposeData(environment, node(environment, { ...command, arguments: [first] }), data)
}

/** A follower's host passes it on to the leader: the core has no message for that. */
function proposeData(environment: Environment, each: ScriptNode, data: Uint8Array): void {
  const refused = offer(each, { kind: 'propose', token: TOKEN, data })
  if (refused === undefined) return
  const entry = { term: 0, index: 0, kind: 'normal' as const, data }
  if (!passOn(each, entry, (leader) => proposeData(environment, leader, data))) {
    drop(environment, each, refused.why)
  }
}

function drop(environment: Environment, { raft }: ScriptNode, why: string): never {
  const id = nameOf(raft.config.self)
  if (raft.leader === '') log(environment, [`INFO ${id} no leader at term ${raft.term}; dropping proposal`])
  if (why === 'transferring') {
    log(environment, [
      `DEBUG ${id} [term ${raft.term}] transfer leadership is in progress; dropping proposal`,
    ])
  }
  throw new ScriptError(DROPPED)
}

/** @returns Whether there is a leader elsewhere. */
function passOn(
  each: ScriptNode,
  entry: NonNullable<Mail['said']['entries']>[number],
  arrive: (leader: ScriptNode) => void,
): boolean {
  const { leader, role, config } = each.raft
  if (leader === '' || role === 'leader') return false
  const said = { from: nameOf(config.self), to: nameOf(leader), type: 'MsgProp', entries: [entry] }
  each.outbox.push({ to: nodeOf(leader), said, isLocal: false, arrive })
  return true
}

const isTransition = (value: string): value is ConfigurationChange['transition'] =>
  ['auto', 'implicit', 'explicit'].includes(value)

/** `propose-conf-change 1 v1=true` or `transition=explicit`, and `v2 l3` on the next line. */
function proposeChange(environment: Environment, command: Command): void {
  const transition = valueOf(command, 'transition') ?? 'auto'
  if (!isTransition(transition)) throw new ScriptError(`unknown transition ${transition}`)
  const isV1 = isTrue(valueOf(command, 'v1') ?? 'false')
  const changes = parseChanges(command.input)
  if (isV1 && (changes.length > 1 || transition !== 'auto')) {
    throw new ScriptError('v1 conf change can only have one operation and no transition')
  }
  changeAt(environment, node(environment, command), { transition, changes }, isV1)
}

function changeAt(
  environment: Environment,
  each: ScriptNode,
  change: ConfigurationChange,
  isV1: boolean,
): void {
  const { raft } = each
  const refused = offer(each, { kind: 'propose-change', token: TOKEN, change })
  if (refused === undefined) {
    if (isV1) rememberV1(environment, { term: raft.term, index: lastIndex(raft.log) })
    return
  }
  const entry = { term: 0, index: 0, kind: 'configuration' as const, data: encodeChange(change) }
  if (passOn(each, entry, (leader) => changeAt(environment, leader, change, isV1))) return
  const reason = whyRefused(each, refused)
  if (reason === undefined) return drop(environment, each, refused.why)
  // etcd's core writes an empty entry in place of a change that it refuses; here the proposer does.
  const text = `${describeChange(change)} at config ${describeConfiguration(raft.configuration, nameOf)}`
  log(environment, [`INFO ${nameOf(raft.config.self)} ignoring conf change ${text}: ${reason}`])
  proposeData(environment, each, new Uint8Array())
}

function whyRefused(
  { raft }: ScriptNode,
  { why, detail }: Extract<RaftEffect, { kind: 'refused' }>,
): string | undefined {
  if (why === 'change-pending' || why === 'no-op') {
    return `possible unapplied conf change at index ${raft.lastChangeIndex} (applied to ${raft.log.applied})`
  }
  if (why !== 'change-invalid') return undefined
  if (detail === 'config is already joint' || detail?.startsWith("can't apply simple") === true) {
    return 'must transition out of joint config first'
  }
  return detail === "can't leave a non-joint config"
    ? 'not in joint state; refusing empty conf change'
    : detail
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

// Messages.

/** `deliver-msgs 1 2 drop=(3) type=MsgApp` */
function deliverMessages(environment: Environment, command: Command): void {
  const type = valueOf(command, 'type')
  const dropped = command.arguments
    .filter(({ key }) => key === 'drop')
    .flatMap(({ values }) => values.map(parseNumber))
  const ids = idsOf(command)
  const both = ids.find((each) => dropped.includes(each))
  if (both !== undefined) throw new ScriptError(`can't both deliver and drop msgs to ${both}`)
  const order = command.arguments.flatMap(({ key, values }) =>
    key === 'drop'
      ? values.map((value) => ({ to: parseNumber(value), drop: true }))
      : values.length === 0
        ? [{ to: parseNumber(key), drop: false }]
        : [],
  )
  let count = 0
  for (const { to, drop: isDropped } of order) count += deliver(environment, to, type, isDropped)
  if (count === 0) print(environment, 'no messages\n')
}

/** @returns How many were delivered or lost. */
function deliver(environment: Environment, to: number, type: string | undefined, isDropped: boolean): number {
  const due = (each: Mail): boolean =>
    each.to === to && !(isDropped && each.isLocal) && (type === undefined || each.said.type === type)
  const mail = environment.mail.filter(due)
  environment.mail = environment.mail.filter((each) => !due(each))
  for (const each of mail) {
    print(environment, `${isDropped ? 'dropped: ' : ''}${describeMail(environment, each)}\n`)
    if (!isDropped) arrive(environment, nodeAt(environment, to), each)
  }
  return mail.length
}

function arrive(environment: Environment, each: ScriptNode, mail: Mail): void {
  try {
    mail.arrive(each)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    print(environment, `${error.message}\n`)
  }
}

/** `send-snapshot 1 3`: the newest one, which the sender's core knows nothing of. */
function sendSnapshot(environment: Environment, command: Command): void {
  const [from, to] = idsOf(command)
  const { raft, history } = nodeAt(environment, from ?? 0)
  const snapshot = history.at(-1)
  if (snapshot === undefined || to === undefined) throw new ScriptError('nothing to send')
  const { cluster, group, generation, self } = raft.config
  const header = { cluster, group, generation, from: self, to: memberOf(to), term: raft.term }
  const { index, term: logTerm, configuration, data } = snapshot
  const body = { index, logTerm, configuration, data, offset: 0, total: data.length, last: true }
  const mail = mailOf(environment, { kind: 'MsgSnap', ...header, ...body, checksum: crc32(data) })
  environment.mail.push(mail)
  print(environment, describeMail(environment, mail))
}

// Threads.

const appendThread = (environment: Environment, { appendWork }: ScriptNode): void =>
  processThread(environment, appendWork, 'no append work to perform')

const applyThread = (environment: Environment, { applyWork }: ScriptNode): void =>
  processThread(environment, applyWork, 'no apply work to perform')

/** Readies, deliveries and threads, round after round, until nothing happens any more. */
function stabilize(environment: Environment, command: Command): void {
  const ids = idsOf(command)
  const nodes = ids.length === 0 ? environment.nodes : ids.map((each) => nodeAt(environment, each))
  const before = environment.level
  const level = valueOf(command, 'log-level')
  if (level !== undefined) setLevel(environment, level)
  for (let round = 0; settle(environment, nodes); round++) {
    if (round === ROUNDS_MAX) throw new ScriptError(`still busy after ${ROUNDS_MAX} rounds`)
  }
  environment.level = before
}

/** More rounds than any script needs: two nodes that never end saying the same to each other are a fault. */
const ROUNDS_MAX = 1_000

function settle(environment: Environment, nodes: readonly ScriptNode[]): boolean {
  let busy = false
  const each = (
    isDue: (each: ScriptNode) => boolean,
    title: string,
    perform: (each: ScriptNode) => void,
  ): void => {
    for (const one of nodes.filter(() => true)) {
      if (!isDue(one)) continue
      busy = true
      print(environment, `> ${one.id} ${title}\n`)
      perform(one)
    }
  }
  const inside = (action: () => void): void => indented(environment, action)
  each(hasReady, 'handling Ready', (one) => inside(() => processReady(environment, one)))
  each(
    ({ id }) => environment.mail.some(({ to }) => to === id),
    'receiving messages',
    ({ id }) => inside(() => deliver(environment, id, undefined, false)),
  )
  each(
    ({ appendWork }) => appendWork.length > 0,
    'processing append thread',
    (one) => {
      while (one.appendWork.length > 0) inside(() => appendThread(environment, one))
    },
  )
  each(
    ({ applyWork }) => applyWork.length > 0,
    'processing apply thread',
    (one) => {
      while (one.applyWork.length > 0) inside(() => applyThread(environment, one))
    },
  )
  return busy
}

// What is printed.

function setLevel(environment: Environment, name: string): void {
  const level = LEVELS.find((each) => each === name.toUpperCase())
  if (level === undefined) throw new ScriptError(`log levels must be either of [${LEVELS.join(' ')}]`)
  environment.level = level satisfies Level
}

function raftState(environment: Environment): void {
  for (const { id, raft } of environment.nodes) {
    const votes = isVoter(raft.configuration, raft.config.self) ? '(Voter)' : '(Non-Voter)'
    print(
      environment,
      `${id}: ${roleText(raft.role)} ${votes} Term:${raft.term} Lead:${nodeOf(raft.leader)}\n`,
    )
  }
}

function raftLog(environment: Environment, { disk }: ScriptNode): void {
  const { first, entries } = disk
  if (entries.length > 0) return print(environment, entriesText(entries, environment.v1))
  print(environment, `log is empty: first index=${first}, last index=${first - 1}`)
}

/** `compact 1 12`: entries up to 12 are gone, from the disk and from the core. */
function compactLog(environment: Environment, command: Command): void {
  const [id, index] = idsOf(command)
  const each = nodeAt(environment, id ?? 0)
  if (index === undefined) throw new ScriptError('expected an index')
  compactDisk(each.disk, index + 1)
  compact(each.raft.log, index)
  raftLog(environment, each)
}

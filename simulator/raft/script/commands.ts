/**
 * The commands of interaction scripts: nodes come up, messages are delivered or lost, time passes, all when the script
 * says so. Commands, arguments and what is printed are those of etcd's raft (its rafttest package).
 */
import { isVoter } from '../../../protocols/raft/configuration.ts'
import { compact } from '../../../protocols/raft/log.ts'
import { addNodes, ELECTION_TICKS, HEARTBEAT_TICKS } from './add-nodes.ts'
import { idsOf, nodeIn, valueOf } from './arguments.ts'
import type { Command } from './data-driven.ts'
import { type Environment, indented, log, nodeAt, print, setLevel } from './environment.ts'
import { tell } from './hearing.ts'
import { deliverMessages, sendSnapshot } from './mail.ts'
import { memberOf, nodeOf, parseNumber, ScriptError } from './members.ts'
import { compactDisk, type ScriptNode } from './node.ts'
import { propose, proposeChange } from './proposing.ts'
import { processReady } from './ready.ts'
import { stabilize } from './stabilize.ts'
import { entriesText, roleText, statusText } from './text.ts'
import { processAppend, processApply } from './threads.ts'

/** Prints into `environment`. @throws ScriptError with what is printed as an error. */
type Perform = (environment: Environment, command: Command) => void
type PerformAt = (environment: Environment, node: ScriptNode) => void

/** At the one node that is named. */
const at =
  (perform: PerformAt): Perform =>
  (environment, command) =>
    perform(environment, nodeIn(environment, command))

/** At each node that is named; when there are several, under a title for each. */
const atEach =
  (doing: string, perform: PerformAt): Perform =>
  (environment, command) => {
    const nodes = idsOf(command).map((id) => nodeAt(environment, id))
    for (const node of nodes) {
      if (nodes.length === 1) return perform(environment, node)
      print(environment, `> ${node.id} ${doing}\n`)
      indented(environment, () => perform(environment, node))
    }
  }

const COMMANDS: Readonly<Record<string, Perform>> = {
  'add-nodes': addNodes,
  campaign: at((environment, node) => log(environment, tell(node, { kind: 'campaign' }))),
  compact: compactLog,
  'deliver-msgs': deliverMessages,
  'forget-leader': at((environment, node) => log(environment, tell(node, { kind: 'forget-leader' }))),
  'log-level': (environment, { arguments: [level] }) => setLevel(environment, level?.key ?? ''),
  'process-append-thread': atEach('processing append thread', processAppend),
  'process-apply-thread': atEach('processing apply thread', processApply),
  'process-ready': atEach('handling Ready', processReady),
  propose,
  'propose-conf-change': proposeChange,
  'raft-log': at(raftLog),
  'raft-state': raftState,
  'report-unreachable': reportUnreachable,
  'send-snapshot': sendSnapshot,
  'set-randomized-election-timeout': (environment, command) => {
    nodeIn(environment, command).raft.electionTimeout = parseNumber(valueOf(command, 'timeout') ?? '')
  },
  stabilize,
  status: at((environment, { raft }) => print(environment, statusText(raft))),
  'tick-election': at((environment, node) => tick(environment, node, ELECTION_TICKS)),
  'tick-heartbeat': at((environment, node) => tick(environment, node, HEARTBEAT_TICKS)),
  'transfer-leadership': transferLeadership,
  /** Where somebody stops a debugger. */
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

function tick(environment: Environment, node: ScriptNode, count: number): void {
  for (let at = 0; at < count; at++) log(environment, tell(node, { kind: 'tick' }))
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
  const [id = 0, index = 0] = idsOf(command)
  const node = nodeAt(environment, id)
  const { log: held } = node.raft
  if (index < node.disk.first) throw new ScriptError('requested index is unavailable due to compaction')
  if (index > held.applied) throw new ScriptError(`cannot compact to ${index}`)
  compactDisk(node.disk, index + 1)
  compact(held, index)
  raftLog(environment, node)
}

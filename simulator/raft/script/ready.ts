/**
 * `process-ready`: what came out of a node's core is printed, and done. A host that does everything at once has written
 * and applied it when this is over; of an async one the append and apply threads have been given the work.
 *
 * Of what the core says about the order of messages and disk (`after`), one thing is not kept for async nodes: a MsgVote
 * leaves at once. Ours waits for term and vote to be on disk, because an answer to it may come in a later life in which
 * they, and the end of the log, are lost; in a script nobody crashes.
 */
import type { Entry } from '../../../protocols/raft/types.ts'
import { type Environment, log, print } from './environment.ts'
import { applyCommitted, heardOfItself, tell } from './hearing.ts'
import { type ScriptNode, write } from './node.ts'
import { type Ready, readyText, takeReady, toBeGiven } from './taking.ts'
import { handToThreads } from './threads.ts'

type Done = { readonly committed: readonly Entry[]; readonly lines: readonly string[] }

export function processReady(environment: Environment, node: ScriptNode): void {
  const ready = takeReady(environment, node)
  const { committed, lines } = node.isAsync ? hand(environment, node, ready) : perform(node, ready)
  environment.mail.push(...ready.messages.filter(({ to }) => to !== 0))
  print(environment, readyText(environment, ready, committed))
  log(environment, lines)
}

/** The order in which the core hears of what is done is that in which etcd's does. */
function perform(node: ScriptNode, { store, messages, promises }: Ready): Done {
  messages.push(...promises.filter((each) => 'arrive' in each))
  if (store !== undefined) write(node.disk, store)
  const written = (): string[] =>
    store === undefined ? [] : tell(node, { kind: 'stored', token: store.token })
  // A leader has what is committed on disk, and may commit more by what it writes now: that is for the next time.
  const leads = node.raft.role === 'leader'
  const first = leads ? [] : written()
  const { committed, lines } = applyCommitted(node)
  const then = leads ? written() : []
  const index = committed.at(-1)?.index
  const done = index === undefined ? [] : tell(node, { kind: 'applied', index })
  // Of what it said to itself the last is what the core hears of as written.
  const own = promises.filter((each) => 'lines' in each)
  const early = own.slice(0, -1).flatMap((each) => heardOfItself(node, each))
  const late = own.slice(-1).flatMap((each) => heardOfItself(node, each))
  const all = leads ? [...lines, ...early, ...then] : [...early, ...first, ...lines]
  return { committed, lines: [...all, ...done, ...late] }
}

function hand(environment: Environment, node: ScriptNode, ready: Ready): Done {
  const committed = toBeGiven(node)
  node.givenTo = committed.at(-1)?.index ?? node.givenTo
  handToThreads(environment, node, ready, committed)
  return { committed, lines: [] }
}

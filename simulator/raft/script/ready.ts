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
import { applyCommitted, tell } from './hearing.ts'
import { type ScriptNode, write } from './node.ts'
import { type Ready, readyText, takeReady } from './taking.ts'
import { handToThreads } from './threads.ts'

type Done = { readonly committed: readonly Entry[]; readonly lines: readonly string[] }

export function processReady(environment: Environment, node: ScriptNode): void {
  const ready = takeReady(environment, node)
  const { committed, lines } = node.isAsync ? hand(environment, node, ready) : perform(node, ready)
  environment.mail.push(...ready.messages.filter(({ to }) => to !== 0))
  print(environment, readyText(environment, ready, committed))
  log(environment, [...lines, ...node.after.splice(0)])
}

/** The order in which the core hears of what is done is that in which etcd's does. */
function perform(node: ScriptNode, { store, messages, promises }: Ready): Done {
  messages.push(...promises)
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
  return { committed, lines: [...first, ...lines, ...then, ...done] }
}

function hand(environment: Environment, node: ScriptNode, ready: Ready): Done {
  const done = applyCommitted(node)
  handToThreads(environment, node, ready, done.committed)
  return done
}

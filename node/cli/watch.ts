/**
 * `--watch`: a list again and again. A terminal is redrawn; elsewhere each change is one line of JSON. It outlives the
 * peer's restarts, and Ctrl-C ends it with 130.
 */
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import { SCHEMA } from '../control/envelope.ts'
import { identity, VIEWS } from './columns/columns.ts'
import { INTERRUPTED } from './follow.ts'
import { select } from './select.ts'
import type { Session } from './session.ts'

const LOOK_MS = 1_000
const ANSWER_MS = 5_000

type Item = Readonly<Record<string, unknown>>

export async function watch(session: Session, method: string, kind: string): Promise<number> {
  const { io, output } = session
  const redraw = io.stdoutTty && (output.format === 'table' || output.format === 'wide')
  const endMs =
    session.text('timeout') === undefined ? Number.POSITIVE_INFINITY : io.nowMs() + session.timeoutMs
  const interrupted = Promise.withResolvers<void>()
  const watching = { on: true }
  const ignore = io.onInterrupt(() => {
    watching.on = false
    interrupted.resolve()
  })
  let before = new Map<string, string>()
  let lost = false
  try {
    while (watching.on) {
      try {
        const answered = await session.ask(method, {}, ANSWER_MS)
        if (lost) session.note('the peer is back')
        lost = false
        if (redraw) {
          io.out('\u001b[H\u001b[2J')
          await session.show(kind, answered)
        } else {
          before = changes(session, kind, answered.value as Item[], before)
        }
      } catch (error) {
        const { code } = failureOf(error)
        if (code !== 'DAEMON_UNREACHABLE' && code !== 'STOPPING' && code !== 'TIMEOUT') throw error
        if (!lost) session.note('the peer does not answer; still trying')
        lost = true
        session.close()
      }
      if (io.nowMs() >= endMs)
        throw new GodwitError({ code: 'TIMEOUT', what: 'the watch', afterMs: session.timeoutMs })
      await Promise.race([io.sleep(LOOK_MS), interrupted.promise])
    }
    return INTERRUPTED
  } finally {
    ignore()
  }
}

/** Says what came, went or changed since `before`; ages alone are no change. */
function changes(
  session: Session,
  kind: string,
  all: Item[],
  before: Map<string, string>,
): Map<string, string> {
  const view = VIEWS[kind] ?? { columns: [], name: String }
  const { items } = select(all, view, session.selection())
  const say = (change: string, item: unknown): void =>
    session.io.out(`${JSON.stringify({ schema: SCHEMA, kind, change, item })}\n`)
  const now = new Map<string, string>()
  for (const item of items as readonly Item[]) {
    const id = identity(view, item)
    const { ageMs: _, rttMs: __, ...rest } = item
    const text = JSON.stringify(rest)
    now.set(id, text)
    const old = before.get(id)
    if (old !== text) say(old === undefined ? 'added' : 'changed', item)
  }
  for (const [id, text] of before) if (!now.has(id)) say('removed', JSON.parse(text))
  return now
}

import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { codec } from '../../../protocols/codec.ts'
import {
  ANSWER_LENGTH_MAX,
  ANSWERS_LENGTH_MAX,
  CLOCK_STEP_MS_MAX,
  SESSION_MS,
  SESSION_WINDOW,
  SESSIONS_MAX,
} from '../../../protocols/limits.ts'
import { failed, ok } from '../../../protocols/outcome.ts'
import {
  type Applied,
  applyEntry,
  type Envelope,
  envelopeCodec,
  type EnvelopeCommand,
  envelopeCommand,
  type Machine,
  newEnvelope,
} from '../../../protocols/raft/envelope.ts'
import { list, record, text } from '../../../protocols/shape.ts'
import { golden, sturdy } from '../golden.ts'

type Written = { word: string }

/** Writes words down; its answers say how many there were before, so that no two are alike. */
const notebook: Machine<string[], Written> = {
  empty: () => [],
  state: codec('notebook', list(text(8_192), 100_000), 8 * 1024 ** 2),
  command: codec('word', record({ word: text(64) })),
  apply(state, { word }) {
    if (word === 'long') return ok('x'.repeat(ANSWER_LENGTH_MAX))
    state.push(word)
    if (word === 'nothing') return ok(undefined)
    return word === 'no'
      ? failed({ code: 'NOT_FOUND', what: 'word', name: String(state.length) })
      : ok(state.length)
  },
}
const snapshots = envelopeCodec(notebook)

/** A group's log that a test writes, and the envelope that comes of it. */
class Log {
  envelope: Envelope<string[]> = newEnvelope<string[]>([])
  readonly entries: Uint8Array[] = []
  nowMs = 1_000_000

  add(command: EnvelopeCommand): Applied<Written> {
    return this.addBytes(envelopeCommand.encode(command))
  }

  addBytes(data: Uint8Array): Applied<Written> {
    this.entries.push(data)
    return applyEntry(this.envelope, notebook, this.entries.length, data)
  }

  open(): number {
    const opened = this.add({ kind: 'open', nowMs: this.nowMs })
    if (opened.kind !== 'answer' || !opened.outcome.ok) throw new Error('not opened')
    return Number(opened.outcome.value)
  }

  do(session: number, serial: number, word: string, acknowledged = 0): Applied<Written> {
    return this.add(doing(session, serial, word, acknowledged, this.nowMs))
  }
}

const doing = (
  session: number,
  serial: number,
  word: string,
  acknowledged = 0,
  nowMs = 1_000_000,
): EnvelopeCommand => ({
  kind: 'do',
  session,
  serial,
  acknowledged,
  command: notebook.command.encode({ word }),
  nowMs,
})

const examples: readonly EnvelopeCommand[] = [
  { kind: 'open', nowMs: 1_800_000_000_123 },
  doing(41, 7, 'heron', 5, 1_800_000_000_124),
  { kind: 'timing', timing: { heartbeatTicks: 10, electionTicks: 45 }, nowMs: 1_800_000_000_125 },
  { kind: 'feature', level: 1, nowMs: 1_800_000_000_126 },
]
for (const example of examples) {
  golden(`envelope-${example.kind}`, envelopeCommand, example)
  sturdy(`envelope ${example.kind}`, envelopeCommand, example)
}

test('a command is done once, and every copy gets the first answer', (t) => {
  const log = new Log()
  const session = log.open()
  t.deepEqual(log.do(session, 0, 'heron'), {
    kind: 'answer',
    outcome: ok(1),
    command: { word: 'heron' },
  })
  t.deepEqual(log.do(session, 0, 'heron'), { kind: 'answer', outcome: ok(1) })
  t.deepEqual(log.envelope.state, ['heron'])
})

test('a refusal is an answer too, and so is none at all', (t) => {
  const log = new Log()
  const session = log.open()
  for (const again of [false, true]) {
    t.like(log.do(session, 0, 'no'), { outcome: { ok: false, failure: { code: 'NOT_FOUND', name: '1' } } })
    t.deepEqual(log.do(session, 1, 'nothing').kind === 'answer' && log.do(session, 1, 'nothing'), {
      kind: 'answer',
      outcome: ok(null),
    })
    t.is(log.envelope.state.length, 2, String(again))
  }
})

test('sessions are named by the index of their entry, and count for themselves', (t) => {
  const log = new Log()
  const [one, other] = [log.open(), log.open()]
  t.deepEqual([one, other], [1, 2])
  log.do(one, 0, 'heron')
  t.like(log.do(other, 0, 'stilt'), { outcome: ok(2) })
  t.deepEqual(log.envelope.state, ['heron', 'stilt'])
})

test('serials may come in any order', (t) => {
  const log = new Log()
  const session = log.open()
  for (const serial of [2, 0, 1]) log.do(session, serial, `word-${serial}`)
  t.like(log.do(session, 1, 'word-1'), { outcome: ok(3) })
  t.deepEqual(log.envelope.state, ['word-2', 'word-0', 'word-1'])
})

test('acknowledged answers are gone, and what comes late is not done', (t) => {
  const log = new Log()
  const session = log.open()
  for (const serial of [0, 1, 2]) log.do(session, serial, 'heron')
  log.do(session, 3, 'stilt', 2)
  t.deepEqual(log.envelope.kept.answers, 2)
  t.deepEqual(log.do(session, 1, 'heron', 0), { kind: 'forgotten' })
  t.like(log.do(session, 2, 'heron', 0), { outcome: ok(3) }, 'an older acknowledgement takes nothing back')
  // Serial 4 was given up by its asker before any copy of it arrived.
  log.do(session, 5, 'stilt', 5)
  t.deepEqual(log.do(session, 4, 'late', 3), { kind: 'forgotten' })
  t.false(log.envelope.state.includes('late'))
})

test('an answer that is too long is given once', (t) => {
  const log = new Log()
  const session = log.open()
  t.like(log.do(session, 0, 'long'), { kind: 'answer' })
  t.deepEqual(log.do(session, 0, 'long'), { kind: 'forgotten' })
})

test('a session that never was, and one past its window, do nothing', (t) => {
  const log = new Log()
  const session = log.open()
  t.deepEqual(log.do(session + 7, 0, 'heron'), { kind: 'expired' })
  t.like(log.do(session, SESSION_WINDOW, 'heron', 1), { kind: 'answer' })
  t.deepEqual(log.do(session, SESSION_WINDOW + 1, 'stilt', 1), { kind: 'expired' })
  t.deepEqual(log.do(session, 2, 'stilt', 2), { kind: 'expired' }, 'whoever breaks the rule has no session')
  t.deepEqual(log.envelope.state, ['heron'])
})

test('a session ends when it was not used for SESSION_MS of agreed time', (t) => {
  const log = new Log()
  const [idle, used] = [log.open(), log.open()]
  log.do(idle, 0, 'heron')
  for (let serial = 0; serial * CLOCK_STEP_MS_MAX <= SESSION_MS; serial++) {
    log.nowMs += CLOCK_STEP_MS_MAX
    t.is(log.envelope.sessions.has(idle), true, String(serial))
    log.do(used, serial, 'stilt', serial)
  }
  t.deepEqual([...log.envelope.sessions.keys()], [used])
  t.deepEqual(log.do(idle, 0, 'heron'), { kind: 'expired' })
  t.is(log.envelope.state.filter((word) => word === 'heron').length, 1)
})

test('a clock that jumps moves agreed time by one step, and never back', (t) => {
  const log = new Log()
  const session = log.open()
  log.nowMs += 365 * 86_400_000
  log.do(session, 0, 'heron')
  t.is(log.envelope.clockMs, 1_000_000 + CLOCK_STEP_MS_MAX)
  log.nowMs = 5
  log.do(session, 1, 'heron')
  t.is(log.envelope.clockMs, 1_000_000 + CLOCK_STEP_MS_MAX)
})

test('past SESSIONS_MAX the least recently used session ends', (t) => {
  const log = new Log()
  const [first, second] = [log.open(), log.open()]
  while (log.envelope.sessions.size < SESSIONS_MAX) log.open()
  log.do(first, 0, 'heron')
  log.open()
  t.true(log.envelope.sessions.has(first))
  t.false(log.envelope.sessions.has(second))
  t.is(log.envelope.sessions.size, SESSIONS_MAX)
})

test('past ANSWERS_LENGTH_MAX the least recently used session with answers ends', (t) => {
  const long = 'x'.repeat(ANSWER_LENGTH_MAX - 40)
  const machine: Machine<string[], Written> = { ...notebook, apply: () => ok(long) }
  const envelope = newEnvelope<string[]>([])
  let index = 0
  const add = (command: EnvelopeCommand): Applied<Written> =>
    applyEntry(envelope, machine, ++index, envelopeCommand.encode(command))
  for (let n = 0; n < 4; n++) add({ kind: 'open', nowMs: 1 })
  // The second is idle, and the first was used longest ago.
  const perSession = Math.ceil(ANSWERS_LENGTH_MAX / long.length / 3)
  for (const session of [1, 3, 4])
    for (let serial = 0; serial < perSession; serial++) add(doing(session, serial, 'heron', 0, 1))
  t.deepEqual([...envelope.sessions.keys()], [2, 3, 4])
  t.true(envelope.kept.length <= ANSWERS_LENGTH_MAX)
  t.is(envelope.kept.answers, 2 * perSession)
})

test('timing is agreed on', (t) => {
  const log = new Log()
  t.is(log.envelope.timing, undefined)
  const timing = { heartbeatTicks: 20, electionTicks: 90 }
  t.like(log.add({ kind: 'timing', timing, nowMs: 1 }), { outcome: ok(null) })
  t.deepEqual(log.envelope.timing, timing)
  t.deepEqual(snapshots.decode(snapshots.encode(log.envelope)).timing, timing)
})

type Move =
  | { readonly kind: 'ask' | 'learn' | 'open' | 'snapshot'; readonly client: number }
  | { readonly kind: 'retry' | 'echo'; readonly client: number; readonly which: number }
  | { readonly kind: 'wait'; readonly ms: number }

const client = fc.nat(2)
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('ask' as const), client }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('retry' as const), client, which: fc.nat(9) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('echo' as const), client, which: fc.nat(99) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('learn' as const), client }) },
  fc.record({ kind: fc.constantFrom('open' as const, 'snapshot' as const), client }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: -20_000, max: SESSION_MS }) }),
)

testProp(
  'whatever is repeated in whatever order, each command is done at most once and answered alike',
  [fc.array(move, { maxLength: 120 })],
  (t, moves) => {
    const log = new Log()
    const clients = [0, 1, 2].map(() => ({ session: log.open(), next: 0, open: new Set<number>() }))
    const answers = new Map<string, unknown>()
    const sent: EnvelopeCommand[] = []
    const send = (command: EnvelopeCommand & { kind: 'do' }): void => {
      sent.push(command)
      const { session, serial } = command
      const applied = log.add(command)
      if (applied.kind !== 'answer') return
      const word = `${session}/${serial}`
      if (answers.has(word)) t.deepEqual(applied.outcome, answers.get(word), word)
      else t.deepEqual(applied.command, { word })
      answers.set(word, applied.outcome)
    }
    for (const each of moves) {
      if (each.kind === 'wait') {
        log.nowMs = Math.max(1, log.nowMs + each.ms)
        continue
      }
      const me = clients[each.client] as (typeof clients)[number]
      const acknowledged = Math.min(me.next, ...me.open)
      const ask = (serial: number): void => {
        const word = `${me.session}/${serial}`
        send(doing(me.session, serial, word, acknowledged, log.nowMs) as EnvelopeCommand & { kind: 'do' })
      }
      const serials = [...me.open]
      if (each.kind === 'ask') {
        me.open.add(me.next)
        ask(me.next++)
      } else if (each.kind === 'retry' && serials.length > 0) {
        ask(serials[each.which % serials.length] as number)
      } else if (each.kind === 'echo' && sent.length > 0) {
        send(sent[each.which % sent.length] as EnvelopeCommand & { kind: 'do' })
      } else if (each.kind === 'learn') {
        me.open.delete(serials[0] ?? -1)
      } else if (each.kind === 'open') {
        Object.assign(me, { session: log.open(), next: 0, open: new Set() })
      } else if (each.kind === 'snapshot') {
        log.envelope = snapshots.decode(snapshots.encode(log.envelope))
      }
    }
    t.is(new Set(log.envelope.state).size, log.envelope.state.length, 'a word was written twice')
    t.deepEqual(log.envelope.state.length, answers.size)

    const again = newEnvelope<string[]>([])
    for (const [at, data] of log.entries.entries()) applyEntry(again, notebook, at + 1, data)
    t.deepEqual(snapshots.encode(again), snapshots.encode(log.envelope), 'the same entries, another state')
    t.deepEqual(again, snapshots.decode(snapshots.encode(again)))
  },
  { numRuns: 300 },
)

testProp(
  'whatever an entry holds, it is applied or refused',
  [fc.array(fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.nat(2)), { maxLength: 20 }), fc.nat(), fc.nat(255)],
  (t, entries, place, change) => {
    const log = new Log()
    log.open()
    for (const entry of entries) {
      const data =
        typeof entry === 'number' ? envelopeCommand.encode(examples[entry] as EnvelopeCommand) : entry
      const bent = Uint8Array.from(data)
      if (bent.length > 0) bent[place % bent.length] = (bent[place % bent.length] as number) ^ change
      t.true(['answer', 'expired', 'forgotten'].includes(log.addBytes(bent).kind))
    }
    const kept = { answers: 0, length: 0 }
    for (const { answers } of log.envelope.sessions.values()) {
      kept.answers += answers.size
      for (const answer of answers.values()) kept.length += answer.length
    }
    t.deepEqual(log.envelope.kept, kept)
  },
)

test('a command that the machine cannot read is refused, and stays refused', (t) => {
  const log = new Log()
  const session = log.open()
  const bad = { ...doing(session, 0, 'heron'), command: Uint8Array.of(0xc1) } as EnvelopeCommand
  t.like(log.add(bad), { outcome: { ok: false, failure: { code: 'COMMAND_UNREADABLE' } } })
  t.like(log.do(session, 0, 'heron'), { outcome: { ok: false, failure: { code: 'COMMAND_UNREADABLE' } } })
  t.deepEqual(log.envelope.state, [])
})

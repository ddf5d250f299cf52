/** What an asker is told, and what it sends again, when leaders change and answers are lost; time and network by hand. */
import test from 'ava'
import type { Clock } from '../../protocols/clock.ts'
import type { Failure } from '../../protocols/errors.ts'
import { ATTEMPT_MS, LEADER_AGAIN_MS, PROPOSE_MS, SESSION_WINDOW } from '../../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Asked } from '../../protocols/raft/envelope.ts'
import { Proposing } from '../../node/proposing.ts'

type Sent = { readonly asked: Asked; readonly answer: Done<Outcome<unknown>> }

class Bench {
  nowMs = 0
  readonly sent: Sent[] = []
  readonly heard: Outcome<unknown>[] = []
  readonly group = { name: 'mesh', leader: 'a' }
  readonly #timers = new Set<{ atMs: number; run: () => void }>()
  readonly clock: Clock = {
    nowMs: () => this.nowMs,
    wallMs: () => this.nowMs,
    after: (delayMs, run) => {
      const timer = { atMs: this.nowMs + delayMs, run }
      this.#timers.add(timer)
      return { cancel: () => this.#timers.delete(timer) }
    },
  }
  /** As a transport does: no answer in time is a TIMEOUT. */
  readonly proposing = new Proposing(this.group, this.clock, (asked, timeoutMs, done) => {
    let over = false
    const answer: Done<Outcome<unknown>> = (outcome) => {
      if (over) return
      over = true
      timer.cancel()
      done(outcome)
    }
    const timer = this.clock.after(timeoutMs, () =>
      answer(failed({ code: 'TIMEOUT', what: 'it', afterMs: timeoutMs })),
    )
    this.sent.push({ asked, answer })
  })

  propose(text = 'x'): void {
    this.proposing.propose(Buffer.from(text), (outcome) => this.heard.push(outcome))
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= endMs).toSorted((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.nowMs = due.atMs
      due.run()
    }
    this.nowMs = endMs
  }

  /** Answers the oldest message that nobody answered. */
  answer(outcome: Outcome<Outcome<unknown>>): void {
    this.sent.shift()?.answer(outcome)
  }

  open(session = 7): this {
    this.propose('opens')
    this.answer(ok(ok(session)))
    this.answer(ok(ok('opened')))
    this.heard.length = 0
    return this
  }
}

const said = (value: unknown): Outcome<Outcome<unknown>> => ok(ok(value))
const LOST: Failure = { code: 'OUTCOME_UNKNOWN', group: 'mesh', why: 'the leader changed' }
const EXPIRED: Failure = { code: 'SESSION_EXPIRED', group: 'mesh', session: 7 }

test('a session is opened once, and what waited for it goes in it', (t) => {
  const bench = new Bench()
  for (const text of ['a', 'b']) bench.propose(text)
  t.deepEqual(
    bench.sent.map(({ asked }) => asked),
    [{ kind: 'open' }],
  )
  bench.answer(said(41))
  t.like(
    bench.sent.map(({ asked }) => asked),
    [
      { kind: 'do', session: 41, serial: 0, acknowledged: 0 },
      { kind: 'do', session: 41, serial: 1, acknowledged: 0 },
    ],
  )
  bench.answer(said('A'))
  bench.answer(ok(failed({ code: 'NAME_TAKEN', what: 'vm', name: 'b' })))
  t.deepEqual(bench.heard, [ok('A'), failed({ code: 'NAME_TAKEN', what: 'vm', name: 'b' })])
  bench.propose('c')
  t.like(bench.sent[0]?.asked, { serial: 2, acknowledged: 2 })
})

test('a lost answer is asked for again under the same serial, and comes', (t) => {
  const bench = new Bench().open()
  bench.propose()
  const first = bench.sent.shift()
  bench.pass(ATTEMPT_MS + LEADER_AGAIN_MS)
  t.deepEqual(bench.sent[0]?.asked, first?.asked)
  bench.answer(said('done'))
  t.deepEqual(bench.heard, [ok('done')])
})

test('under a new leader it is asked again at once', (t) => {
  const bench = new Bench().open()
  bench.propose()
  const first = bench.sent.shift()
  bench.group.leader = 'b'
  bench.proposing.leaderChanged()
  t.deepEqual(bench.sent[0]?.asked, first?.asked)
  bench.proposing.leaderChanged()
  t.is(bench.sent.length, 1, 'but only once')
  bench.answer(said('done'))
  first?.answer(failed(LOST))
  t.deepEqual(bench.heard, [ok('done')])
})

test('the answer of an earlier attempt is as good', (t) => {
  const bench = new Bench().open()
  bench.propose()
  const first = bench.sent.shift()
  bench.group.leader = 'b'
  bench.proposing.leaderChanged()
  first?.answer(said('done'))
  t.deepEqual(bench.heard, [ok('done')])
  bench.answer(failed(LOST))
  t.is(bench.heard.length, 1)
})

type Ending = [why: string, answers: (Failure | 'silence')[], Partial<Failure>]
const NO_LEADER: Failure = { code: 'NO_LEADER', group: 'mesh', afterMs: 0 }
const BUSY: Failure = { code: 'PROPOSAL_DROPPED', group: 'mesh', why: 'busy' }
const FULL: Failure = { code: 'DISK_FULL', path: '/d' }
const endings: Ending[] = [
  ['nobody leads', [NO_LEADER], { code: 'NO_LEADER' }],
  ['a leader has too much to do', [BUSY], { code: 'PROPOSAL_DROPPED', why: 'busy' }],
  ['the leader cannot write', [FULL], FULL],
  ['nothing is heard', ['silence'], { code: 'OUTCOME_UNKNOWN' }],
  [
    'the leader changed, and then nobody leads',
    [LOST, NO_LEADER],
    { code: 'OUTCOME_UNKNOWN', why: LOST.why },
  ],
  ['the leader changed, and the next is busy', [LOST, BUSY], { code: 'OUTCOME_UNKNOWN', why: LOST.why }],
  ['a write failed with it in the log', [{ ...FULL, pending: true }, FULL], { ...FULL, pending: true }],
  ['an earlier copy may be done, and the session has ended', [LOST, EXPIRED], { code: 'OUTCOME_UNKNOWN' }],
  ['the peer it went to stops', [{ code: 'STOPPING', peer: 'b' }, NO_LEADER], { code: 'OUTCOME_UNKNOWN' }],
]
for (const [why, answers, failure] of endings) {
  test(`in time, and honestly: ${why}`, (t) => {
    const bench = new Bench().open()
    bench.propose()
    const startMs = bench.nowMs
    for (let turn = 0; bench.heard.length === 0 && bench.nowMs <= startMs + PROPOSE_MS; turn++) {
      const next = answers[Math.min(turn, answers.length - 1)] ?? 'silence'
      if (next === 'silence') bench.sent.shift()
      else bench.answer(failed(next))
      bench.pass(next === 'silence' ? ATTEMPT_MS + LEADER_AGAIN_MS : LEADER_AGAIN_MS)
    }
    t.is(bench.heard.length, 1)
    t.like(bench.heard[0], { ok: false, failure })
    t.true(bench.nowMs - startMs <= PROPOSE_MS + ATTEMPT_MS)
  })
}

test('an expired session is opened anew when nothing of the command can be under way', (t) => {
  const bench = new Bench().open()
  bench.propose()
  bench.answer(failed(EXPIRED))
  t.deepEqual(bench.sent[0]?.asked, { kind: 'open' })
  bench.answer(said(90))
  t.like(bench.sent[0]?.asked, { kind: 'do', session: 90, serial: 0 })
  bench.answer(said('done'))
  t.deepEqual(bench.heard, [ok('done')])
})

test('a session that cannot be opened is no unknown outcome: nothing was sent', (t) => {
  const bench = new Bench()
  bench.propose()
  bench.pass(PROPOSE_MS)
  t.like(bench.heard, [{ ok: false, failure: { code: 'NO_LEADER', afterMs: PROPOSE_MS } }])
  bench.propose()
  t.deepEqual(bench.sent.at(-1)?.asked, { kind: 'open' })
})

test('what was given up is acknowledged, so that a late copy of it does nothing', (t) => {
  const bench = new Bench().open()
  bench.propose()
  bench.pass(PROPOSE_MS)
  t.like(bench.heard[0], { failure: { code: 'OUTCOME_UNKNOWN' } })
  bench.propose()
  t.like(bench.sent.at(-1)?.asked, { serial: 2, acknowledged: 2 })
})

test('past the window proposals are refused, and nothing is sent', (t) => {
  const bench = new Bench().open()
  for (let n = 0; n < SESSION_WINDOW; n++) bench.propose()
  t.is(bench.sent.length, SESSION_WINDOW)
  bench.propose()
  t.like(bench.heard, [{ failure: { code: 'PROPOSAL_DROPPED', why: 'too many proposals wait' } }])
  t.is(bench.sent.length, SESSION_WINDOW)
  bench.sent[1]?.answer(said('second'))
  bench.propose()
  t.is(bench.sent.length, SESSION_WINDOW, 'the oldest open one holds the window')
  bench.answer(said('first'))
  bench.propose()
  t.like(bench.sent.at(-1)?.asked, { acknowledged: 3 })
})

test('a peer that stops answers everybody: unknown if it was sent, refused if not', (t) => {
  const waits = new Bench()
  waits.propose()
  waits.proposing.stop()
  t.like(waits.heard, [{ failure: { code: 'STOPPING' } }])
  const sent = new Bench().open()
  sent.propose()
  sent.proposing.stop()
  sent.propose()
  t.like(sent.heard, [{ failure: { code: 'OUTCOME_UNKNOWN' } }, { failure: { code: 'STOPPING' } }])
})

/** One timer for a core that mostly has nothing to do: what it is told of time, and when it is left alone. */
import test from 'ava'
import { Ticker } from '../../node/ticker.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ELECTION_TICKS, HEARTBEAT_TICKS, TICK_MS } from '../../protocols/limits.ts'

/** A clock that a test moves; timers run when it gets to them, or later if `held` is. */
class HeldClock implements Clock {
  ms = 0
  timers: { atMs: number; run: () => void }[] = []
  nowMs = (): number => this.ms
  wallMs = (): number => this.ms
  after(delayMs: number, run: () => void): { cancel(): void } {
    const timer = { atMs: this.ms + delayMs, run }
    this.timers.push(timer)
    return { cancel: () => void (this.timers = this.timers.filter((each) => each !== timer)) }
  }
  /** The process runs again: what is due by now runs, in order. */
  run(): void {
    for (;;) {
      const next = this.timers.filter(({ atMs }) => atMs <= this.ms).toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) return
      this.timers = this.timers.filter((each) => each !== next)
      next.run()
    }
  }
  pass(ms: number): void {
    const endMs = this.ms + ms
    while (this.ms < endMs) {
      this.ms = Math.min(endMs, ...this.timers.map(({ atMs }) => Math.max(this.ms, atMs)))
      this.run()
    }
  }
}

/** A core to which something is due every `every` ticks since it was last heard. */
function coreDue(every: number): {
  due(): number
  tick(count: number): void
  elapsed: number
  told: number[]
} {
  return {
    elapsed: 0,
    told: [],
    due() {
      return Math.max(1, every - this.elapsed)
    },
    tick(count) {
      this.told.push(count)
      this.elapsed += count
      if (this.elapsed >= every) this.elapsed = 0
    },
  }
}

test('a core that waits for nothing is left alone', (t) => {
  const clock = new HeldClock()
  const core = { due: () => Infinity, tick: (count: number) => t.is(count, 3_600_000 / TICK_MS) }
  const ticker = new Ticker(clock, core)
  ticker.start()
  t.deepEqual(clock.timers, [])
  clock.pass(3_600_000)
  // What it hears next, it hears at the time that it is.
  t.plan(2)
  ticker.catchUp()
})

test('it wakes once for what is due, and tells of all ticks before it', (t) => {
  const clock = new HeldClock()
  const core = coreDue(HEARTBEAT_TICKS)
  new Ticker(clock, core).start()
  clock.pass(3 * HEARTBEAT_TICKS * TICK_MS)
  t.deepEqual(core.told, [HEARTBEAT_TICKS, HEARTBEAT_TICKS, HEARTBEAT_TICKS])
})

test('what makes the next thing due sooner wakes it sooner; what puts it off does not need another timer', (t) => {
  const clock = new HeldClock()
  const core = coreDue(ELECTION_TICKS)
  const ticker = new Ticker(clock, core)
  ticker.start()
  clock.pass(TICK_MS * (ELECTION_TICKS / 2))
  ticker.catchUp()
  core.elapsed = ELECTION_TICKS - 3
  ticker.sleep()
  clock.pass(3 * TICK_MS)
  t.deepEqual(core.told, [ELECTION_TICKS / 2, 3])
  t.is(clock.timers.length, 1)
})

test('a process that was held up listens before anything falls due', (t) => {
  const clock = new HeldClock()
  const core = coreDue(ELECTION_TICKS)
  const ticker = new Ticker(clock, core)
  ticker.start()
  // Ten seconds without a turn. Its timer runs first, then comes what others said, and only then the timer again.
  clock.ms += 10_000
  const [late] = clock.timers.splice(0)
  late?.run()
  t.deepEqual(core.told, [])
  ticker.catchUp()
  t.deepEqual(core.told, [ELECTION_TICKS - 1])
  core.elapsed = 0
  ticker.sleep()
  clock.pass(TICK_MS)
  t.is(core.elapsed < 3, true)
  // Had nobody spoken, it would have been due.
  const silent = coreDue(ELECTION_TICKS)
  new Ticker(clock, silent).start()
  clock.ms += 10_000
  clock.run()
  t.deepEqual(silent.told, [10_000 / TICK_MS])
})

test('a process that never comes to rest still does what is due', (t) => {
  const clock = new HeldClock()
  const core = coreDue(HEARTBEAT_TICKS)
  const ticker = new Ticker(clock, core)
  ticker.start()
  // Each turn takes 23 ms: timers, and then messages for the rest of it.
  for (let turn = 0; turn < 435; turn++) {
    clock.run()
    clock.ms += 17
    ticker.catchUp()
    ticker.sleep()
    clock.ms += 6
  }
  const told = core.told.reduce((sum, count) => sum + count, 0)
  t.true(told > (10_000 / TICK_MS) * 0.6, `${told} ticks of ${10_000 / TICK_MS}`)
})

test('a stopped one tells nothing', (t) => {
  const clock = new HeldClock()
  const core = coreDue(HEARTBEAT_TICKS)
  const ticker = new Ticker(clock, core)
  ticker.start()
  ticker.stop()
  clock.pass(10_000)
  ticker.sleep()
  t.deepEqual([core.told, clock.timers], [[], []])
})

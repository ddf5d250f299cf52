/**
 * Tells a Raft core of time, with one timer: it sleeps until time alone can change anything (`dueInTicks`), which for a
 * peer that decides alone, or has no vote, is for ever. Ticks that were slept through are told before anything else is.
 *
 * A process that was held up finds its timer late and, behind it, what others have said meanwhile. It listens first: what
 * falls due in ticks that it could not keep (an election above all) happens only if nothing that it hears prevents it. It
 * listens for LATE_MS at most: a process that never comes to rest still sends its heartbeats.
 */
import type { Clock, Timer } from '../protocols/clock.ts'
import { HEARTBEAT_TICKS, TICK_MS } from '../protocols/limits.ts'

/** Later than this a timer is late because the process was held up, not because a host is busy. */
const LATE_MS = (HEARTBEAT_TICKS * TICK_MS) / 2

export type Ticked = {
  /** Ticks until time alone can change anything: at least 1, Infinity for never. */
  due(): number
  tick(count: number): void
}

export class Ticker {
  readonly #clock: Clock
  readonly #core: Ticked
  /** Up to here the core has been told of time. */
  #toldMs: number
  #timer: Timer | undefined
  #wakesMs = Infinity
  /** Since when something that is due has been put off. */
  #putOffMs: number | undefined
  #stopped = true

  constructor(clock: Clock, core: Ticked) {
    this.#clock = clock
    this.#core = core
    this.#toldMs = clock.nowMs()
  }

  start(): void {
    this.#stopped = false
    this.#toldMs = this.#clock.nowMs()
    this.sleep()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** Before the core hears anything: time has passed, but nothing falls due by it; that is for the timer. */
  catchUp(): void {
    const passed = this.#passed()
    if (passed === 0) return
    const quiet = Math.min(passed, this.#core.due() - 1)
    const nowMs = this.#clock.nowMs()
    this.#putOffMs = quiet < passed ? (this.#putOffMs ?? nowMs) : undefined
    // What was to be due waits one tick more, so that what is about to be heard comes first.
    const listens = this.#putOffMs !== undefined && nowMs - this.#putOffMs < LATE_MS
    this.#toldMs = listens ? nowMs : this.#toldMs + quiet * TICK_MS
    if (quiet > 0) this.#core.tick(quiet)
  }

  /** After the core has heard something. A timer that is early anyhow stays: when it wakes there is nothing to do. */
  sleep(): void {
    if (this.#stopped) return
    const wakesMs = this.#toldMs + this.#core.due() * TICK_MS
    if (wakesMs < this.#wakesMs) this.#wakeAt(wakesMs)
  }

  #wakeAt(wakesMs: number): void {
    this.#timer?.cancel()
    this.#wakesMs = wakesMs
    // Rounded up: a timer that is early by a fraction of a millisecond would be set again and again for nothing.
    const delayMs = Math.max(0, Math.ceil(wakesMs - this.#clock.nowMs()))
    this.#timer = this.#clock.after(delayMs, () => this.#wake(wakesMs))
  }

  #wake(wantedMs: number): void {
    if (this.#clock.nowMs() - wantedMs >= LATE_MS) return this.#wakeAt(this.#clock.nowMs())
    this.#timer = undefined
    this.#wakesMs = Infinity
    const passed = this.#passed()
    this.#toldMs += passed * TICK_MS
    if (passed > 0) {
      this.#putOffMs = undefined
      this.#core.tick(passed)
    }
    this.sleep()
  }

  #passed(): number {
    return Math.max(0, Math.floor((this.#clock.nowMs() - this.#toldMs) / TICK_MS))
  }
}

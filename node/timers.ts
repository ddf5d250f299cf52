/** The timers that one shell has open, so that none of them outlives it. */
import type { Clock, Timer } from '../protocols/clock.ts'

export class Timers {
  readonly #clock: Clock
  readonly #open = new Set<Timer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  after(delayMs: number, run: () => void): Timer {
    const timer = this.#clock.after(delayMs, () => {
      this.#open.delete(timer)
      run()
    })
    this.#open.add(timer)
    return timer
  }

  stop(): void {
    for (const timer of this.#open) timer.cancel()
  }
}

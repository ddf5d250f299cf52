/** What goes or is taken in under caps, one thing after the other, each when everything that it is held to lets it. */
import type { Clock } from '../protocols/clock.ts'
import { type Bucket, readyMs, take } from '../protocols/rate/bucket.ts'

export class Turnstile {
  readonly #clock: Clock
  readonly #buckets: () => readonly Bucket[]
  readonly #waiting: { readonly bytes: number; readonly run: () => void }[] = []
  #waits = false

  constructor(clock: Clock, buckets: () => readonly Bucket[]) {
    this.#clock = clock
    this.#buckets = buckets
  }

  /** Runs `run` at once when nothing holds it up. */
  pass(bytes: number, run: () => void): void {
    this.#waiting.push({ bytes, run })
    if (!this.#waits) this.#turn()
  }

  #turn(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const buckets = this.#buckets()
      const nowMs = this.#clock.nowMs()
      const waitMs = readyMs(buckets) - nowMs
      if (waitMs > 0) {
        this.#waits = true
        this.#clock.after(Math.max(1, waitMs), () => {
          this.#waits = false
          this.#turn()
        })
        return
      }
      this.#waiting.shift()
      take(buckets, next.bytes, nowMs)
      next.run()
      // What it ran may have passed the rest already.
      if (this.#waits) return
    }
  }
}

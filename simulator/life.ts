/**
 * One life of a peer's process, from start to crash: its clock, and the gate through which everything that reaches it
 * goes. A paused process (SIGSTOP, a host out of CPU) does late, in order, what came meanwhile; a dead one does nothing.
 */
import type { Clock, Timer } from '../protocols/clock.ts'
import type { World } from './world.ts'

export type ClockFaults = {
  /** Virtual ms per ms of this clock, less one: 0.01 runs 1 % fast. */
  readonly drift?: number
  /** How far the wall clock is off. */
  readonly wallSkewMs?: number
}

/** 2027-01-15; any instant would do. */
const WALL_START_MS = 1_800_000_000_000

export class Life {
  readonly clock: Clock
  readonly #world: World
  #alive = true
  #late: (() => void)[] | undefined

  constructor(world: World, { drift = 0, wallSkewMs = 0 }: ClockFaults = {}) {
    this.#world = world
    const bootMs = world.nowMs
    this.clock = {
      nowMs: () => (world.nowMs - bootMs) * (1 + drift),
      wallMs: () => Math.floor(WALL_START_MS + wallSkewMs + world.nowMs * (1 + drift)),
      after: (delayMs, run) => this.#after(delayMs / (1 + drift), run),
    }
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Runs `run` in this process: now, when it is resumed, or never. */
  run(run: () => void): void {
    if (!this.#alive) return
    if (this.#late === undefined) run()
    else this.#late.push(run)
  }

  pause(): void {
    if (this.#alive) this.#late ??= []
  }

  resume(): void {
    const late = this.#late ?? []
    this.#late = undefined
    // Each is an event of its own, so that checkers look in between.
    for (const run of late) this.#world.after(0, () => this.run(run))
  }

  end(): void {
    this.#alive = false
    this.#late = undefined
  }

  #after(delayMs: number, run: () => void): Timer {
    let cancelled = false
    const timer = this.#world.after(delayMs, () => this.run(() => cancelled || run()))
    return {
      cancel: () => {
        cancelled = true
        timer.cancel()
      },
    }
  }
}

/**
 * One peer's line. Up, it sends one chunk at a time, and those who ask take turns, as flows with fair queueing do; down,
 * chunks follow each other.
 */
import type { World } from '../world.ts'

/** A chunk to send; `arrived` is run when it is whole there. */
type Sending = { readonly to: Line; readonly arrived: () => void }

export class Line {
  /** Chunks that left it. */
  sent = 0
  readonly #world: World
  readonly #ms: { readonly up: number; readonly down: number; readonly delay: number }
  readonly #next: () => Sending | undefined
  #busy = false
  #downFreeMs = 0

  /** `ms`: what a chunk takes up, down, and on its way. `next`: what to send now. */
  constructor(
    world: World,
    ms: { readonly up: number; readonly down: number; readonly delay: number },
    next: () => Sending | undefined,
  ) {
    this.#world = world
    this.#ms = ms
    this.#next = next
  }

  /** There may be something to send. */
  wake(): void {
    if (this.#busy) return
    const sending = this.#next()
    if (sending === undefined) return
    this.#busy = true
    this.sent++
    this.#world.after(this.#ms.up, () => {
      this.#busy = false
      const dueMs = sending.to.#take(this.#world.nowMs + this.#ms.delay)
      this.#world.after(dueMs - this.#world.nowMs, sending.arrived)
      this.wake()
    })
  }

  /** When a chunk is whole here whose last byte would arrive at `atMs`. */
  #take(atMs: number): number {
    this.#downFreeMs = Math.max(atMs, this.#downFreeMs + this.#ms.down)
    return this.#downFreeMs
  }
}

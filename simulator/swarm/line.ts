/**
 * One peer's line. Up, those who ask share it, as TCP flows do: of each, one chunk is under way, and parts of those chunks
 * take turns. Down, parts follow each other.
 */
import type { World } from '../world.ts'

/** A chunk to send; `sent` is run when it has left, `arrived` when it is whole there. */
export type Sending = { readonly to: Line; readonly sent: () => void; readonly arrived: () => void }
type Flow = { readonly sending: Sending; left: number }

export class Line {
  /** Chunks that left it. */
  sent = 0
  readonly #world: World
  readonly #ms: { readonly up: number; readonly down: number; readonly delay: number }
  readonly #parts: number
  readonly #next: () => Sending | undefined
  /** In the order of their turns. */
  readonly #flows: Flow[] = []
  #busy = false
  #downFreeMs = 0

  /**
   * `ms`: what a chunk takes up, down, and on its way. `parts`: of a chunk; with one, chunks go one after the other. `next`:
   * a chunk of somebody to whom none is under way.
   */
  constructor(
    world: World,
    ms: { readonly up: number; readonly down: number; readonly delay: number },
    parts: number,
    next: () => Sending | undefined,
  ) {
    this.#world = world
    this.#ms = ms
    this.#parts = parts
    this.#next = next
  }

  /** There may be something to send. */
  wake(): void {
    for (;;) {
      const waits = this.#parts === 1 && (this.#busy || this.#flows.length > 0)
      const sending = waits ? undefined : this.#next()
      if (sending === undefined) break
      this.#flows.push({ sending, left: this.#parts })
      this.sent++
    }
    if (!this.#busy) this.#send()
  }

  #send(): void {
    const flow = this.#flows.shift()
    if (flow === undefined) return
    this.#busy = true
    const { up, delay } = this.#ms
    this.#world.after(up / this.#parts, () => {
      this.#busy = false
      const { to, sent, arrived } = flow.sending
      const dueMs = to.#take(this.#world.nowMs + delay, this.#parts)
      if (--flow.left > 0) this.#flows.push(flow)
      else {
        sent()
        this.#world.after(dueMs - this.#world.nowMs, arrived)
      }
      this.wake()
    })
  }

  /** When a part is here whose last byte would arrive at `atMs`. */
  #take(atMs: number, parts: number): number {
    this.#downFreeMs = Math.max(atMs, this.#downFreeMs + this.#ms.down / parts)
    return this.#downFreeMs
  }
}

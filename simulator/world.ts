/**
 * Virtual time: a heap of due events in the order (time, order of scheduling). Nothing here waits: `run` jumps from one
 * due event to the next. All that happens in a simulation happens inside one of these events.
 */
import { createHash, type Hash } from 'node:crypto'
import type { Clock, Timer } from '../protocols/clock.ts'
import { random, type Random } from './random.ts'

type Due = { atMs: number; order: number; run: (() => void) | undefined }

export class World {
  readonly seed: number
  nowMs = 0
  /** Events that have run. */
  steps = 0
  /** Guests that began or ended, on all hosts: whoever looks at them after every event sees here whether to. */
  changes = 0
  /** The newest lines said, oldest first; what a failing seed prints. */
  readonly trace: string[] = []
  readonly #traceMax: number
  readonly #heap: Due[] = []
  readonly #hash: Hash = createHash('sha256')
  #order = 0

  constructor(seed: number, traceMax = 2_000) {
    this.seed = seed
    this.#traceMax = traceMax
  }

  /** Dice of their own for each purpose. */
  random(purpose: string): Random {
    return random(this.seed, purpose)
  }

  after(delayMs: number, run: () => void): Timer {
    const due: Due = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, run }
    push(this.#heap, due)
    return { cancel: () => (due.run = undefined) }
  }

  /** A clock as a host sees it. */
  clock(wallStartMs = 1_800_000_000_000): Clock {
    return {
      nowMs: () => this.nowMs,
      wallMs: () => Math.floor(wallStartMs + this.nowMs),
      after: (delayMs, run) => this.after(delayMs, run),
    }
  }

  /** Enters a line into the trace and the event hash. */
  say(line: string): void {
    const stamped = `${this.nowMs.toFixed(3).padStart(12)} ${line}`
    this.#hash.update(stamped).update('\n')
    this.trace.push(stamped)
    if (this.trace.length > this.#traceMax * 2) this.trace.splice(0, this.#traceMax)
  }

  /** The hash of every line said so far: equal for two runs of one seed, or something leaked in. */
  hash(): string {
    return this.#hash.copy().digest('hex')
  }

  /** Runs all events due up to `untilMs`, `check` after each; then it is `untilMs`. */
  run(untilMs: number, check: () => void = () => {}): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      pop(this.#heap)
      if (next.run === undefined) continue
      this.nowMs = next.atMs
      this.steps++
      next.run()
      check()
    }
    this.nowMs = untilMs
  }
}

const before = (a: Due, b: Due): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

function push(heap: Due[], due: Due): void {
  let at = heap.push(due) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    const above = heap[parent] as Due
    if (!before(due, above)) break
    heap[at] = above
    at = parent
  }
  heap[at] = due
}

function pop(heap: Due[]): void {
  const last = heap.pop() as Due
  if (heap.length === 0) return
  let at = 0
  for (;;) {
    const left = 2 * at + 1
    if (left >= heap.length) break
    const right = left + 1
    const child = right < heap.length && before(heap[right] as Due, heap[left] as Due) ? right : left
    const below = heap[child] as Due
    if (!before(below, last)) break
    heap[at] = below
    at = child
  }
  heap[at] = last
}

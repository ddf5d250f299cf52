/**
 * When bytes of bulk may go and be read: the caps that an operator set, and the limits of single channels
 * (docs/decisions/0015-rates.md). Channels that have to wait take turns, by one timer for all.
 *
 * Agreement, telemetry and requests never come here: they go at once.
 */
import type { PeerId } from '../ids.ts'
import { type Bucket, quantum, readyMs, take } from '../rate/bucket.ts'
import { type Cap, type Held, heldDown, heldUp, hold } from '../rate/caps.ts'

export class Shaper {
  #held: readonly Held[] = []
  /** In the order of their turns. */
  readonly #waiting = new Map<() => void, readonly Bucket[]>()
  #timer: NodeJS.Timeout | undefined
  #closed = false
  /** Grows when caps change. */
  version = 0

  /** What was owed under a cap of the same name is still owed. */
  shape(caps: readonly Cap[]): void {
    this.#held = hold(this.#held, caps, performance.now())
    this.version++
    // Who waited for what is no more finds out now.
    for (const run of this.#waiting.keys()) this.#waiting.set(run, [])
    this.#arm()
  }

  /** Of one channel to this peer. */
  pace(peer: PeerId): Pace {
    return new Pace(this, peer)
  }

  bucketsOf(peer: PeerId): { readonly up: readonly Bucket[]; readonly down: readonly Bucket[] } {
    return { up: heldUp(this.#held, peer), down: heldDown(this.#held, peer) }
  }

  /** Calls `run` once something may go under all of these; not before this returns. */
  wait(buckets: readonly Bucket[], run: () => void): void {
    if (this.#closed) return
    this.#waiting.set(run, buckets)
    this.#arm()
  }

  forget(run: () => void): void {
    this.#waiting.delete(run)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#waiting.clear()
  }

  #arm(): void {
    clearTimeout(this.#timer)
    if (this.#waiting.size === 0) return
    let ready = Infinity
    for (const buckets of this.#waiting.values()) ready = Math.min(ready, readyMs(buckets))
    this.#timer = setTimeout(() => this.#turn(), Math.max(0, Math.ceil(ready - performance.now()))).unref()
  }

  #turn(): void {
    // Who has to wait again does so behind the others.
    const turn = Array.from(this.#waiting)
    for (const [run, buckets] of turn) {
      // What one takes the next has to wait for.
      if (readyMs(buckets) > performance.now() || !this.#waiting.delete(run)) continue
      run()
    }
    this.#arm()
  }
}

/** What one channel asks before it writes, and tells when it has read. */
export class Pace {
  readonly #shaper: Shaper
  readonly #peer: PeerId
  readonly #own: Bucket[] = []
  readonly #reading: Bucket[] = []
  #version = -1
  #up: readonly Bucket[] = []
  #down: readonly Bucket[] = []
  readonly #waits = new Set<() => void>()

  constructor(shaper: Shaper, peer: PeerId) {
    this.#shaper = shaper
    this.#peer = peer
  }

  /** Holds what is written to this, too. */
  holdWriting(each: Bucket): void {
    this.#own.push(each)
    this.#version = -1
  }

  /** Holds what is read to this, too. */
  holdReading(each: Bucket): void {
    this.#reading.push(each)
    this.#version = -1
  }

  /** How many of these bytes may be written now; 0: none, see `whenWritable`. */
  take(bytes: number): number {
    this.#refresh()
    if (this.#up.length === 0) return bytes
    const nowMs = performance.now()
    if (readyMs(this.#up) > nowMs) return 0
    const goes = Math.min(bytes, quantum(this.#up))
    take(this.#up, goes, nowMs)
    return goes
  }

  whenWritable(run: () => void): void {
    this.#waits.add(run)
    this.#shaper.wait(this.#up, run)
  }

  /** Counts what was read. False: no more of it until `run` is called. */
  read(bytes: number, run: () => void): boolean {
    this.#refresh()
    if (this.#down.length === 0) return true
    const nowMs = performance.now()
    take(this.#down, bytes, nowMs)
    if (readyMs(this.#down) <= nowMs) return true
    this.#waits.add(run)
    this.#shaper.wait(this.#down, run)
    return false
  }

  close(): void {
    for (const run of this.#waits) this.#shaper.forget(run)
  }

  #refresh(): void {
    if (this.#version === this.#shaper.version) return
    this.#version = this.#shaper.version
    const { up, down } = this.#shaper.bucketsOf(this.#peer)
    this.#up = [...up, ...this.#own]
    this.#down = [...down, ...this.#reading]
  }
}

/**
 * The binding of this peer's data folder while it runs: judged once at start (judge.ts), raised before anything else is
 * done, soon after anything was made durable, and at the end. While the mark cannot be written the peer goes on, and
 * says so: `unbound`.
 */
import type { Clock, Dice, Timer } from '../../protocols/clock.ts'
import { describeFailure, type Failure } from '../../protocols/errors.ts'
import { newUlid } from '../../protocols/ids.ts'
import { BINDING_RAISE_MS } from '../../protocols/limits.ts'
import { type Done, failed } from '../../protocols/outcome.ts'
import {
  type Binding as Bound,
  bindingIn,
  bindingOp,
  type Facts,
  type Position,
} from '../../storage/records.ts'
import type { Op, Store } from '../../storage/store.ts'
import { factsOf, isBehind, judge, type Outside } from './judge.ts'

/** Port: the mark outside the data folder, and what the folder lies on. */
export type OutsidePort = {
  /** As they were when the folder was opened. */
  readonly found: Outside
  readonly facts: Facts
  /** In its place and synced when done, or as it was. */
  write(mark: Position, done: Done<void>): void
}

type Ports = {
  readonly clock: Clock
  readonly dice: Dice
  readonly store: Store
  readonly outside: OutsidePort
}

export type BindingView = { readonly state: 'bound' | 'unbound' | 'mismatch'; readonly why: string }

export class Binding {
  /** Why this folder may not be acted on; undefined when it may. */
  readonly mismatch: string | undefined
  /** It was bound for the first time by this life. */
  readonly isFirst: boolean
  /** The peer's store: what is made durable there is soon followed by a raise. */
  readonly store: Store
  readonly #ports: Ports
  #inside: Bound | undefined
  #mark: Position | undefined
  #unbound: string | undefined = 'its mark is not written yet'
  #timer: Timer | undefined
  /** What waits for the raise that is under way; undefined when none is. */
  #raising: (() => void)[] | undefined
  #stopped = false

  constructor(ports: Ports) {
    const { store, outside } = ports
    this.#ports = ports
    this.#inside = bindingIn(store)
    this.#mark = outside.found.kind === 'mark' ? outside.found.mark : undefined
    const verdict = judge(this.#inside, outside.found, outside.facts)
    this.mismatch = verdict.kind === 'mismatch' ? verdict.why : undefined
    this.isFirst = verdict.kind === 'first'
    this.store = {
      recovered: (prefix) => store.recovered(prefix),
      write: (batch, durable, done) => this.#write(batch, durable, done),
    }
  }

  /** Level, and one step further: a copy that was made while the mark was behind is behind it now. */
  start(done: () => void): void {
    this.#raise(() => done())
  }

  /** The last word of this life. */
  stop(done: () => void): void {
    this.#timer?.cancel()
    this.#stopped = true
    if (this.mismatch !== undefined) return done()
    if (this.#raising === undefined) this.#raise(done)
    else this.#raising.push(() => this.#raise(done))
  }

  view(): BindingView {
    if (this.mismatch !== undefined) return { state: 'mismatch', why: this.mismatch }
    if (this.#unbound !== undefined) return { state: 'unbound', why: this.#unbound }
    return { state: 'bound', why: '' }
  }

  #write(batch: readonly Op[], durable: boolean, done: Done<void>): void {
    if (this.mismatch !== undefined)
      return void this.#ports.clock.after(0, () => done(failed(this.#refusal())))
    this.#ports.store.write(batch, durable, done)
    if (durable) this.#raiseLater()
  }

  #refusal(): Failure {
    return { code: 'DATA_MISMATCH', why: this.mismatch ?? '' }
  }

  #raiseLater(): void {
    if (this.#stopped) return
    this.#timer ??= this.#ports.clock.after(BINDING_RAISE_MS, () => {
      this.#timer = undefined
      if (this.#raising === undefined) this.#raise(() => {})
      else this.#raiseLater()
    })
  }

  #raise(done: () => void): void {
    const waiting: (() => void)[] = [done]
    this.#raising = waiting
    const end = (failure?: Failure): void => {
      this.#raising = undefined
      this.#unbound = failure && describeFailure(failure).slice(0, 300)
      if (failure !== undefined) this.#raiseLater()
      for (const each of waiting) each()
    }
    const inside = this.#inside
    if (inside === undefined) return this.#step(this.#first(), end)
    if (!isBehind(this.#mark, inside)) return this.#step(this.#next(inside), end)
    this.#writeMark(inside, (failure) =>
      failure === undefined ? this.#step(this.#next(inside), end) : end(failure),
    )
  }

  /** Inside first, then outside. */
  #step(next: Bound, done: (failure?: Failure) => void): void {
    this.#ports.store.write([bindingOp(next)], true, (outcome) => {
      if (!outcome.ok) return done(outcome.failure)
      this.#inside = next
      this.#writeMark(next, done)
    })
  }

  #writeMark({ id, incarnation, counter }: Bound, done: (failure?: Failure) => void): void {
    const mark = { id, incarnation, counter }
    this.#ports.outside.write(mark, (outcome) => {
      if (outcome.ok) this.#mark = mark
      done(outcome.ok ? undefined : outcome.failure)
    })
  }

  #first(): Bound {
    const { clock, dice, outside } = this.#ports
    return { id: newUlid(clock.wallMs(), dice), incarnation: 1, counter: 1, ...outside.facts }
  }

  #next(inside: Bound): Bound {
    return { ...inside, ...factsOf(inside, this.#ports.outside.facts), counter: inside.counter + 1 }
  }
}

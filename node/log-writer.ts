/**
 * The writes of one log, in order, and the messages that wait for them. One is under way at a time; a failed one is tried
 * again until it comes through, and nothing that depends on it leaves before. What is left of a log that was given up
 * (`end`) is neither tried again nor sent.
 */
import type { Failure } from '../protocols/errors.ts'
import { WRITE_AGAIN_MS } from '../protocols/limits.ts'
import type { Message } from '../protocols/raft/messages.ts'
import { isStuck, newWatch, STUCK_LOOK_MS } from '../protocols/raft/standing-aside.ts'
import type { Op, Store } from '../storage/store.ts'

type Hooks = {
  send(message: Message): void
  later(delayMs: number, run: () => void): void
  stored(token: number): void
  /** Called for every try that fails. */
  failed(failure: Failure): void
  /** The first try failed, or one came through again. */
  turned(unwritable: Failure | undefined): void
  /** A write has not come through for STUCK_WRITE_MS; called again at every look after that. */
  stuck(): void
}

export class LogWriter {
  readonly #store: Store
  readonly #hooks: Hooks
  /** The first records of a log that is not on disk yet: they go with its first write. */
  #first: readonly Op[]
  /** By the token of the write that they wait for; a token is here until its write is durable. */
  readonly #waiting = new Map<number, Message[]>()
  readonly #watch = newWatch()
  #looking = false
  #ended = false
  /** Why the newest try failed; undefined once one came through. */
  unwritable: Failure | undefined

  constructor(store: Store, first: readonly Op[], hooks: Hooks) {
    this.#store = store
    this.#first = first
    this.#hooks = hooks
  }

  /** A log that has nothing to write yet is begun all the same, so that what was put aside for it is safe. */
  begin(): void {
    const first = this.#first
    if (first.length === 0) return
    this.#store.write(first, true, ({ ok }) => {
      // Otherwise it goes, once more, with the log's own first write.
      if (ok && this.#first === first) this.#first = []
    })
  }

  end(): void {
    this.#ended = true
    this.#waiting.clear()
  }

  send(message: Message, after: number | undefined): void {
    const waiting = after === undefined ? undefined : this.#waiting.get(after)
    if (waiting === undefined) this.#hooks.send(message)
    else waiting.push(message)
  }

  write(token: number, ops: readonly Op[]): void {
    const first = this.#first
    this.#first = []
    this.#waiting.set(token, [])
    if (!this.#looking) this.#look()
    this.#try(token, [...first, ...ops])
  }

  #try(token: number, ops: readonly Op[]): void {
    this.#store.write(ops, true, (outcome) => {
      if (this.#ended) return
      if (!outcome.ok) {
        this.#turn(outcome.failure)
        this.#hooks.failed(outcome.failure)
        return this.#hooks.later(WRITE_AGAIN_MS, () => this.#ended || this.#try(token, ops))
      }
      this.#turn(undefined)
      const waiting = this.#waiting.get(token) ?? []
      this.#waiting.delete(token)
      for (const message of waiting) this.#hooks.send(message)
      this.#hooks.stored(token)
    })
  }

  #turn(unwritable: Failure | undefined): void {
    const isTurn = (unwritable === undefined) !== (this.unwritable === undefined)
    this.unwritable = unwritable
    if (isTurn) this.#hooks.turned(unwritable)
  }

  /** While anything is under way: one look after another, so that a busy log needs no timer for each write. */
  #look(): void {
    this.#looking = true
    this.#hooks.later(STUCK_LOOK_MS, () => {
      this.#looking = false
      const [oldest] = this.#waiting.keys()
      if (isStuck(this.#watch, oldest)) this.#hooks.stuck()
      if (oldest !== undefined) this.#look()
    })
  }
}

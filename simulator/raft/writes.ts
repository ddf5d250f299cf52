/**
 * The writes of one simulated member in one life, and the messages that wait for them: the promises of node/log-writer.ts. A
 * failed write is tried again until it comes through, and whoever leads and cannot write is told so.
 */
import type { Message } from '../../protocols/raft/messages.ts'
import { isStuck, newWatch, STUCK_LOOK_MS } from '../../protocols/raft/standing-aside.ts'
import type { StoreEffect } from './disk.ts'

type Hooks = {
  write(effect: StoreEffect, done: (ok: boolean) => void): void
  /** While the process lives, and when it is awake. */
  after(delayUs: number, run: () => void): void
  whenAwake(run: () => void): void
  send(message: Message): void
  stored(token: number): void
  /** The same write has been under way for long; at every look. */
  stuck(): void
}

/** The product waits a second. */
const WRITE_AGAIN_US = 300_000

export class Writes {
  /** The newest try failed. */
  failing = false
  readonly #hooks: Hooks
  /** By the token of the write that they wait for. */
  readonly #waiting = new Map<number, Message[]>()
  readonly #watch = newWatch()
  #looking = false
  #ended = false

  constructor(hooks: Hooks) {
    this.#hooks = hooks
  }

  /** Its life is over. */
  end(): void {
    this.#ended = true
  }

  send(message: Message, after: number | undefined): void {
    const waiting = after === undefined ? undefined : this.#waiting.get(after)
    if (waiting === undefined) this.#hooks.send(message)
    else waiting.push(message)
  }

  write(effect: StoreEffect): void {
    this.#waiting.set(effect.token, [])
    if (!this.#looking) this.#look()
    this.#try(effect)
  }

  #try(effect: StoreEffect): void {
    this.#hooks.write(effect, (ok) => {
      if (this.#ended) return
      this.failing = !ok
      if (!ok) return this.#hooks.after(WRITE_AGAIN_US, () => this.#ended || this.#try(effect))
      const waiting = this.#waiting.get(effect.token) ?? []
      this.#waiting.delete(effect.token)
      this.#hooks.whenAwake(() => {
        if (this.#ended) return
        for (const message of waiting) this.#hooks.send(message)
        this.#hooks.stored(effect.token)
      })
    })
  }

  #look(): void {
    this.#looking = true
    this.#hooks.after(STUCK_LOOK_MS * 1_000, () => {
      if (this.#ended) return
      this.#looking = false
      const [oldest] = this.#waiting.keys()
      if (isStuck(this.#watch, oldest)) this.#hooks.stuck()
      if (oldest !== undefined) this.#look()
    })
  }
}

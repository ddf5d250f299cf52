/**
 * Messages of one group on their way out. A MsgApp that brings no entries, only how far the leader has committed, waits for
 * one that does: that one says as much. Each message costs either end more than the entry in it, and without this half of
 * them would say only that the others had come to something.
 *
 * Nothing is lost by the wait that a slow link would not lose: whoever asked is answered by the leader, and followers apply
 * COMMIT_WAIT_MS later when nobody proposes anything.
 */
import { COMMIT_WAIT_MS } from '../protocols/limits.ts'
import type { MemberId } from '../protocols/raft/member.ts'
import type { Message } from '../protocols/raft/messages.ts'

type Ports = {
  send(message: Message): void
  later(delayMs: number, run: () => void): void
}

export class Outbox {
  readonly #ports: Ports
  /** The newest to each member: at most one for each. */
  #waiting = new Map<MemberId, Message>()

  constructor(ports: Ports) {
    this.#ports = ports
  }

  send(message: Message): void {
    if (message.kind !== 'MsgApp') return this.#ports.send(message)
    if (message.entries.length > 0) {
      this.#waiting.delete(message.to)
      return this.#ports.send(message)
    }
    if (this.#waiting.size === 0) this.#ports.later(COMMIT_WAIT_MS, () => this.#sendWaiting())
    this.#waiting.set(message.to, message)
  }

  #sendWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = new Map()
    for (const message of waiting.values()) this.#ports.send(message)
  }
}

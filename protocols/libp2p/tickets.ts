/**
 * Keys that were given out and not used yet. One is good for one handshake, for one channel of one protocol, by the peer
 * that asked for it, within BULK_TICKET_MS.
 */
import { randomBytes } from 'node:crypto'
import { IDENTITY_BYTES, KEY_BYTES } from '../bulk/messages.ts'
import type { PeerId } from '../ids.ts'
import { BULK_TICKET_MS, BULK_TICKETS_MAX } from '../limits.ts'

export type Ticket = {
  readonly peer: PeerId
  readonly protocol: string
  readonly identity: string
  readonly key: Uint8Array
  readonly untilMs: number
}

export class Tickets {
  readonly #nowMs: () => number
  /** In the order in which they end. */
  readonly #given = new Map<string, Ticket>()

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** Undefined when this peer has as many as it may have. */
  give(peer: PeerId, protocol: string): Ticket | undefined {
    const nowMs = this.#nowMs()
    let own = 0
    for (const ticket of this.#given.values()) {
      if (ticket.untilMs <= nowMs) this.#given.delete(ticket.identity)
      else if (ticket.peer === peer) own++
    }
    if (own >= BULK_TICKETS_MAX) return undefined
    const identity = randomBytes(IDENTITY_BYTES).toString('hex')
    const key = new Uint8Array(randomBytes(KEY_BYTES))
    const ticket = { peer, protocol, identity, key, untilMs: nowMs + BULK_TICKET_MS }
    this.#given.set(identity, ticket)
    return ticket
  }

  /** Once. */
  take(identity: string): Ticket | undefined {
    const ticket = this.#given.get(identity)
    this.#given.delete(identity)
    return ticket !== undefined && ticket.untilMs > this.#nowMs() ? ticket : undefined
  }

  /** What a peer that is not admitted any more was given is worth nothing. */
  forget(peer: PeerId): void {
    for (const ticket of this.#given.values()) if (ticket.peer === peer) this.#given.delete(ticket.identity)
  }
}

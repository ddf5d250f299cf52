/**
 * Asks peers whether they can dial this one, dials those that ask, and keeps as many relays as follow from the answers
 * (protocols/reach/reach.ts). One small question per peer when it comes up and every few minutes; no address is dialled
 * but by peers that were admitted.
 */
import { hash } from 'node:crypto'
import { failureOf } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { REACH_ASKED_MAX, REACH_DIALS_MAX } from '../limits.ts'
import { failed, ok, type Done } from '../outcome.ts'
import { ADDRESSES_MAX, PROTOCOL, reachAnswer, reachAsk, type ReachAnswer } from '../reach/messages.ts'
import { chooseRelays, isReachable } from '../reach/reach.ts'
import type { Transport } from '../transport.ts'
import type { Connections } from './connections.ts'
import { isRelayed, type Relays } from './relay.ts'

/** How often it is looked at who is to be asked, and which slots are to be taken. */
const LOOK_MS = 500
/** Peers tell each other their addresses first. */
const ASK_AFTER_MS = 300
/** NATs and firewalls change seldom. */
const ASK_AGAIN_MS = 5 * 60_000
/** No answer, or one that leaves this peer without a relay: asked again after this, doubling. */
const ASK_SOON_MS = 2_000
/** What a failed dial showed is good for this long; after that, who asks is dialled again. */
const FAILED_DIAL_MS = 60_000
/** A dial into a NAT is met with silence: this long for all addresses together. */
const DIAL_BACK_MS = 3_000
const ANSWER_MS = DIAL_BACK_MS + 3_000

type Asked = { notBeforeMs: number; asking: boolean; inVain: number }

export class Reach {
  readonly #transport: Transport
  readonly #connections: Connections
  readonly #relays: Relays
  readonly #ownAddresses: () => string[]
  readonly #asked = new Map<PeerId, Asked>()
  readonly #answers = new Map<PeerId, ReachAnswer>()
  readonly #failedDials = new Map<PeerId, { addresses: string; untilMs: number }>()
  readonly #timer: NodeJS.Timeout
  #dialling = 0
  #told = ''

  constructor(options: {
    transport: Transport
    connections: Connections
    relays: Relays
    ownAddresses: () => string[]
  }) {
    this.#transport = options.transport
    this.#connections = options.connections
    this.#relays = options.relays
    this.#ownAddresses = options.ownAddresses
    options.transport.serve(PROTOCOL, { request: (from, frame, reply) => this.#answer(from, frame, reply) })
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const nowMs = performance.now()
    for (const [peer, { untilMs }] of this.#failedDials) if (untilMs < nowMs) this.#failedDials.delete(peer)
    const direct = this.#transport
      .connected()
      .filter((peer) => this.#connections.control(peer)?.direct === true)
    const some = direct.toSorted((a, b) => (this.#rank(a) < this.#rank(b) ? -1 : 1)).slice(0, REACH_ASKED_MAX)
    for (const peer of this.#asked.keys())
      if (!some.includes(peer)) {
        this.#asked.delete(peer)
        this.#answers.delete(peer)
      }
    const own = this.#ownAddresses().slice(0, ADDRESSES_MAX)
    if (String(own) !== this.#told) for (const asked of this.#asked.values()) asked.notBeforeMs = 0
    this.#told = String(own)
    for (const peer of some) this.#ask(peer, own)
    const dialledByUs = new Set(some.filter((peer) => this.#connections.dialled(peer)))
    const held = new Set(this.#relays.held())
    this.#relays.want(chooseRelays(this.#answers, dialledByUs, held, (peer) => this.#rank(peer)))
  }

  /** Other peers ask, and lean on, others. */
  #rank(peer: PeerId): string {
    return hash('sha256', `${this.#transport.self} ${peer}`, 'hex')
  }

  #ask(peer: PeerId, addresses: string[]): void {
    const nowMs = performance.now()
    const asked = this.#asked.get(peer) ?? { notBeforeMs: nowMs + ASK_AFTER_MS, asking: false, inVain: 0 }
    this.#asked.set(peer, asked)
    if (asked.asking || nowMs < asked.notBeforeMs) return
    asked.asking = true
    this.#transport.request(peer, PROTOCOL, reachAsk.encode({ addresses }), ANSWER_MS, (outcome) => {
      asked.asking = false
      const answer = outcome.ok ? this.#decoded(peer, outcome.value) : undefined
      const inVain = answer === undefined || !(answer.dialled || answer.relays)
      const afterMs = inVain ? Math.min(ASK_AGAIN_MS, ASK_SOON_MS * 2 ** asked.inVain++) : ASK_AGAIN_MS
      asked.notBeforeMs = performance.now() + afterMs
      if (answer !== undefined && this.#asked.get(peer) === asked) this.#answers.set(peer, answer)
    })
  }

  #decoded(peer: PeerId, frame: Uint8Array): ReachAnswer | undefined {
    try {
      return reachAnswer.decode(frame)
    } catch (error) {
      this.#transport.blame(peer, failureOf(error).code)
      return undefined
    }
  }

  #answer(from: PeerId, frame: Uint8Array, reply: Done<Uint8Array>): void {
    let addresses: readonly string[]
    try {
      addresses = reachAsk.decode(frame).addresses
    } catch (error) {
      this.#transport.blame(from, failureOf(error).code)
      return reply(failed(failureOf(error)))
    }
    const say = (dialled: boolean): void =>
      reply(ok(reachAnswer.encode({ dialled, relays: isReachable(this.#answers) })))
    if (this.#connections.dialled(from)) return say(true)
    const own = addresses.filter((address) => !isRelayed(address))
    const failedDial = this.#failedDials.get(from)
    if (failedDial?.addresses === String(own) && performance.now() < failedDial.untilMs) return say(false)
    if (this.#dialling >= REACH_DIALS_MAX)
      return reply(failed({ code: 'PEER_BUSY', peer: this.#transport.self, what: 'dials for askers' }))
    this.#dialling++
    void this.#connections.tryDirect(from, own, DIAL_BACK_MS).then((dialled) => {
      this.#dialling--
      if (dialled) this.#failedDials.delete(from)
      else
        this.#failedDials.set(from, { addresses: String(own), untilMs: performance.now() + FAILED_DIAL_MS })
      say(dialled)
    })
  }
}

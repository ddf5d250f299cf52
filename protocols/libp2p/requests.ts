/**
 * Requests: many on one long-lived stream per peer and protocol, told apart by an id, answered in any order. A first
 * request costs the stream's set-up, every later one a single round trip.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { decodeFailure, encodeFailure } from '../failure.ts'
import { type Failure } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { FRAME_BYTES_MAX, REQUESTS_PER_PEER_MAX } from '../limits.ts'
import { failed, ok, type Done, type Outcome } from '../outcome.ts'
import { packFrame } from './frames.ts'
import { readFrames } from './inbound.ts'
import { Line, sendOn, type Waiting } from './line.ts'

const ID_BYTES = 4
const OK = 0
const FAILED = 1

type Pending = { done: Done<Uint8Array>; timer: NodeJS.Timeout; waiting: Waiting; timeoutMs: number }

/** How many requests are in hand, per peer. */
export class InHand {
  readonly #counts = new Map<PeerId, number>()

  /** False when there are as many as there may be. */
  take(peer: PeerId): boolean {
    const count = this.#counts.get(peer) ?? 0
    if (count >= REQUESTS_PER_PEER_MAX) return false
    this.#counts.set(peer, count + 1)
    return true
  }

  give(peer: PeerId, count = 1): void {
    const left = (this.#counts.get(peer) ?? 0) - count
    if (left > 0) this.#counts.set(peer, left)
    else this.#counts.delete(peer)
  }
}

/** The asking end, for one peer and protocol. */
export class Asker {
  readonly #peer: PeerId
  readonly #line: Line
  readonly #inHand: InHand
  readonly #pending = new Map<number, Pending>()
  #nextId = 0

  constructor(options: {
    peer: PeerId
    protocol: string
    inHand: InHand
    connect: (dial: boolean) => Promise<Connection>
    blame: (why: string) => void
  }) {
    const { peer, protocol, connect, blame } = options
    this.#peer = peer
    this.#inHand = options.inHand
    const onFrame = (frame: Uint8Array): void => {
      if (!this.#hear(frame)) blame('an answer that is none')
    }
    this.#line = new Line({
      peer,
      protocol,
      connect,
      onOpen: (stream) => readFrames(stream, { onFrame, onBad: blame }),
      onDown: (failure) => this.#fail(failure),
    })
  }

  ask(frame: Uint8Array, timeoutMs: number, done: Done<Uint8Array>): void {
    if (!this.#inHand.take(this.#peer)) {
      setImmediate(() => done(failed({ code: 'PEER_BUSY', peer: this.#peer, what: 'requests' })))
      return
    }
    const id = (this.#nextId = (this.#nextId + 1) % 2 ** 32)
    const head = Buffer.alloc(ID_BYTES)
    head.writeUInt32BE(id)
    const timer = setTimeout(() => this.#late(id), timeoutMs)
    // Entered before it is sent: what cannot be opened fails all that is pending.
    const pending = {
      done,
      timer,
      timeoutMs,
      waiting: { packed: head, sent: false, cancelled: false } as Waiting,
    }
    this.#pending.set(id, pending)
    pending.waiting = this.#line.send(packFrame(frame, head))
  }

  close(failure: Failure): void {
    this.#fail(failure)
    this.#line.abort('closed')
  }

  #late(id: number): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    const { waiting, timeoutMs } = pending
    waiting.cancelled = true
    this.#end(
      id,
      failed(
        waiting.sent
          ? { code: 'TIMEOUT', what: 'the request', afterMs: timeoutMs }
          : { code: 'PEER_UNREACHABLE', peer: this.#peer, afterMs: timeoutMs },
      ),
    )
  }

  #hear(frame: Uint8Array): boolean {
    if (frame.length <= ID_BYTES) return false
    const id = new DataView(frame.buffer, frame.byteOffset).getUint32(0)
    const body = frame.subarray(ID_BYTES + 1)
    const status = frame[ID_BYTES]
    if (status === OK) this.#end(id, ok(body))
    else if (status === FAILED) return this.#hearFailure(id, body)
    else return false
    return true
  }

  #hearFailure(id: number, body: Uint8Array): boolean {
    try {
      this.#end(id, failed(decodeFailure(body)))
      return true
    } catch {
      return false
    }
  }

  #end(id: number, outcome: Outcome<Uint8Array>): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return // Answered after it was given up.
    clearTimeout(pending.timer)
    this.#pending.delete(id)
    this.#inHand.give(this.#peer)
    pending.done(outcome)
  }

  #fail(failure: Failure): void {
    // A handler may ask again at once; that is not failed.
    const ids = [...this.#pending.keys()]
    for (const id of ids) this.#end(id, failed(failure))
  }
}

/** The answering end of one stream. */
export function answerRequests(
  stream: Stream,
  options: {
    peer: PeerId
    inHand: InHand
    answer: (frame: Uint8Array, reply: Done<Uint8Array>) => void
    blame: (why: string) => void
  },
): void {
  const { peer, inHand, answer, blame } = options
  let taken = 0
  let ended = false
  const write = (head: Buffer, outcome: Outcome<Uint8Array>): void => {
    if (ended) return
    const tooLarge = outcome.ok && outcome.value.length > FRAME_BYTES_MAX
    const said = tooLarge
      ? failed<Uint8Array>({
          code: 'FRAME_TOO_LARGE',
          bytes: outcome.value.length,
          bytesMax: FRAME_BYTES_MAX,
        })
      : outcome
    head[ID_BYTES] = said.ok ? OK : FAILED
    sendOn(stream, packFrame(said.ok ? said.value : encodeFailure(said.failure), head))
  }
  const onFrame = (frame: Uint8Array): void => {
    if (frame.length < ID_BYTES) return refuse()
    const head = Buffer.alloc(ID_BYTES + 1)
    head.set(frame.subarray(0, ID_BYTES))
    if (!inHand.take(peer)) return write(head, failed({ code: 'PEER_BUSY', peer, what: 'requests' }))
    taken++
    let replied = false
    answer(frame.subarray(ID_BYTES), (outcome) => {
      if (replied) return
      replied = true
      if (!ended) {
        taken--
        inHand.give(peer)
      }
      write(head, outcome)
    })
  }
  const refuse = (): void => {
    blame('a request that is none')
    stream.abort(new Error('a request that is none'))
  }
  const end = (): void => {
    ended = true
    inHand.give(peer, taken)
    taken = 0
  }
  readFrames(stream, { onFrame, onBad: blame })
  stream.addEventListener('close', end, { once: true })
  stream.addEventListener('end', () => stream.abort(new Error('the asker is gone')), { once: true })
}

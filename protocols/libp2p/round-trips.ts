/**
 * Round-trip times to connected peers, by libp2p's ping on the control connection. Two pings in a row without an answer
 * end every connection with that peer: TCP itself would take a quarter of an hour to notice that a link is gone.
 */
import { randomBytes } from 'node:crypto'
import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../ids.ts'
import type { Connections } from './connections.ts'

const PING = '/ipfs/ping/1.0.0'
const PING_BYTES = 32
const PING_MS = 5_000
/** A slow link that is full of bulk may queue a ping for seconds. */
const ANSWER_MS = 5_000
const LOST_PINGS_MAX = 2
/** The weight of a new sample, as TCP's. */
const GAIN = 1 / 8

type Measured = { rttMs: number | undefined; lost: number; timer: NodeJS.Timeout }

export class RoundTrips {
  readonly #connections: Connections
  readonly #measured = new Map<PeerId, Measured>()

  constructor(connections: Connections) {
    this.#connections = connections
  }

  rttMs(peer: PeerId): number | undefined {
    return this.#measured.get(peer)?.rttMs
  }

  start(peer: PeerId): void {
    if (this.#measured.has(peer)) return
    const measured: Measured = {
      rttMs: undefined,
      lost: 0,
      timer: setInterval(() => this.#ping(peer, measured), PING_MS),
    }
    measured.timer.unref()
    this.#measured.set(peer, measured)
    this.#ping(peer, measured)
  }

  stop(peer: PeerId): void {
    clearInterval(this.#measured.get(peer)?.timer)
    this.#measured.delete(peer)
  }

  close(): void {
    for (const peer of this.#measured.keys()) this.stop(peer)
  }

  #ping(peer: PeerId, measured: Measured): void {
    const connection = this.#connections.control(peer)
    if (connection === undefined) return
    pingOnce(connection).then(
      (ms) => {
        measured.lost = 0
        measured.rttMs = measured.rttMs === undefined ? ms : measured.rttMs + GAIN * (ms - measured.rttMs)
      },
      () => {
        // What ended with its connection says nothing about the one that took its place.
        if (connection.status !== 'open') return
        measured.lost++
        if (measured.lost >= LOST_PINGS_MAX && this.#measured.get(peer) === measured)
          this.#connections.drop(peer, 'no answer to pings')
      },
    )
  }
}

async function pingOnce(connection: Connection): Promise<number> {
  const signal = AbortSignal.timeout(ANSWER_MS)
  const stream = await connection.newStream(PING, { signal, runOnLimitedConnection: true })
  try {
    const answered = Promise.withResolvers<void>()
    // Nobody waits for it when the stream is gone before anything was sent.
    answered.promise.catch(() => {})
    let heard = 0
    stream.addEventListener('message', ({ data }) => {
      heard += data.byteLength
      if (heard >= PING_BYTES) answered.resolve()
    })
    stream.addEventListener('close', () => answered.reject(new Error('closed')))
    signal.addEventListener('abort', () => answered.reject(new Error('no answer')))
    const startMs = performance.now()
    stream.send(randomBytes(PING_BYTES))
    await answered.promise
    return performance.now() - startMs
  } finally {
    stream.close({ signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => stream.abort(new Error('ping over')))
  }
}

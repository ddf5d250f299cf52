/**
 * One long-lived stream to one peer under one protocol: opened when there is something to send, opened again when it
 * died, written in order and no faster than it takes. What waits is bounded; the oldest go first.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { type Failure, failureOf } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { DIAL_MS_MAX, SEND_QUEUE_FRAMES_MAX } from '../limits.ts'

/** A peer that does not serve a protocol yet is asked again after this. */
const REFUSED_PAUSE_MS = 200

export type Waiting = { readonly packed: Uint8Array; sent: boolean; cancelled: boolean }

export type LineOptions = {
  readonly peer: PeerId
  readonly protocol: string
  connect(dial: boolean): Promise<Connection>
  /** Once per stream, before anything is written. */
  onOpen?(stream: Stream): void
  /** The stream could not be opened, or died; what waited unsent is gone when it could not be opened. */
  onDown?(failure: Failure): void
}

export class Line {
  readonly #options: LineOptions
  #waiting: Waiting[] = []
  #stream: Stream | undefined
  #opening = false
  #full = false
  #pausedUntilMs = 0

  constructor(options: LineOptions) {
    this.#options = options
  }

  /** Takes a packed frame. `dial` false drops it when there is no connection. */
  send(packed: Uint8Array, dial = true): Waiting {
    const waiting: Waiting = { packed, sent: false, cancelled: false }
    if (this.#stream === undefined && performance.now() < this.#pausedUntilMs) {
      const failure: Failure = { code: 'UNSUPPORTED', what: this.#options.protocol }
      setImmediate(() => this.#options.onDown?.(failure))
      return waiting
    }
    this.#waiting.push(waiting)
    if (this.#waiting.length > SEND_QUEUE_FRAMES_MAX) this.#waiting.shift()
    if (this.#stream !== undefined) this.#write(this.#stream)
    else if (!this.#opening) this.#open(dial).catch(() => {})
    return waiting
  }

  abort(why: string): void {
    this.#waiting = []
    this.#stream?.abort(new Error(why))
  }

  get queued(): number {
    return this.#waiting.length
  }

  async #open(dial: boolean): Promise<void> {
    this.#opening = true
    try {
      const connection = await this.#options.connect(dial)
      const stream = await connection.newStream(this.#options.protocol, {
        signal: AbortSignal.timeout(DIAL_MS_MAX),
        runOnLimitedConnection: true,
      })
      this.#opening = false
      this.#attach(stream)
    } catch (error) {
      this.#opening = false
      this.#waiting = []
      const failure = failureOfOpening(error, this.#options)
      if (failure.code === 'UNSUPPORTED') this.#pausedUntilMs = performance.now() + REFUSED_PAUSE_MS
      this.#options.onDown?.(failure)
    }
  }

  #attach(stream: Stream): void {
    this.#stream = stream
    this.#full = false
    this.#options.onOpen?.(stream)
    stream.addEventListener('drain', () => {
      this.#full = false
      if (this.#stream === stream) this.#write(stream)
    })
    const down = (): void => {
      if (this.#stream !== stream) return
      this.#stream = undefined
      this.#options.onDown?.({ code: 'PEER_UNREACHABLE', peer: this.#options.peer, afterMs: 0 })
      if (this.#waiting.length > 0 && !this.#opening) this.#open(true).catch(() => {})
    }
    stream.addEventListener('close', down, { once: true })
    // A line is never half closed: when the other side ends its half it wants no more of it.
    stream.addEventListener('end', () => stream.abort(new Error('ended by the other side')), { once: true })
    if (stream.status !== 'open') down()
    else this.#write(stream)
  }

  #write(stream: Stream): void {
    while (!this.#full && stream.writeStatus === 'writable') {
      const next = this.#waiting.shift()
      if (next === undefined) return
      if (next.cancelled) continue
      next.sent = true
      this.#full = !sendOn(stream, next.packed)
    }
  }
}

/** libp2p throws when a stream dies under a write; its 'close' event then says the same. */
export function sendOn(stream: Stream, packed: Uint8Array): boolean {
  try {
    return stream.send(packed)
  } catch {
    return true
  }
}

export function failureOfOpening(error: unknown, at: { peer: PeerId; protocol: string }): Failure {
  const { name } = error as { name?: unknown }
  if (name === 'UnsupportedProtocolError') return { code: 'UNSUPPORTED', what: at.protocol }
  if (name === 'TooManyOutboundProtocolStreamsError')
    return { code: 'PEER_BUSY', peer: at.peer, what: at.protocol }
  const failure = failureOf(error)
  return failure.code === 'INTERNAL' || failure.code === 'IO'
    ? { code: 'PEER_UNREACHABLE', peer: at.peer, afterMs: 0 }
    : failure
}

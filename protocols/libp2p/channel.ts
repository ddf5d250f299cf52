/**
 * A channel is one stream, written and read by frames. Until somebody listens nothing is read, so what the other side
 * sends waits in the window; what the window does not take waits at the sender, who is told to stop. Over a relay the
 * sender is held to a rate of its own: the line is somebody else's, and agreement goes over it, too.
 */
import type { Stream } from '@libp2p/interface'
import type { PeerId } from '../ids.ts'
import { CIRCUIT_BULK_BYTES_PER_S } from '../limits.ts'
import { bucket } from '../rate/bucket.ts'
import type { Channel } from '../transport.ts'
import { packFrame, wireBytes } from './frames.ts'
import { readFrames } from './inbound.ts'
import { sendOn } from './line.ts'
import type { Pace } from './shaper.ts'

/** Kept ready beyond what the window takes, so that the pipe does not run dry between a window update and `onDrain`. */
const AHEAD_BYTES_MAX = 1024 * 1024
/** How long the last frames have to go out after `close`. */
const CLOSE_MS = 30_000
/** Over a relay: what may go at once after a silence. */
const RELAY_AHEAD_MS = 100

type Options = {
  readonly peer: PeerId
  readonly relayed: boolean
  readonly pace: Pace
  readonly blame: (why: string) => void
}

export class StreamChannel implements Channel {
  readonly peer: PeerId
  readonly #stream: Stream
  readonly #pace: Pace
  readonly #blame: (why: string) => void
  #frameHandler: ((frame: Uint8Array) => void) | undefined
  readonly #drainHandlers: (() => void)[] = []
  readonly #closeHandlers: (() => void)[] = []
  #closed = false
  #full = false
  /** The muxer takes no more for now. */
  #blocked = false
  /** Waits for its pace. */
  #paced = false
  readonly #waiting: Uint8Array[] = []
  #at = 0
  #waitingBytes = 0
  #sent = 0
  #received = 0
  readonly #writeOn = (): void => {
    this.#paced = false
    this.#pump()
  }

  constructor(stream: Stream, { peer, relayed, pace, blame }: Options) {
    this.peer = peer
    this.#stream = stream
    this.#pace = pace
    this.#blame = blame
    if (relayed) pace.holdWriting(bucket(CIRCUIT_BULK_BYTES_PER_S / 1_000, RELAY_AHEAD_MS))
    pause(stream)
    // libp2p writes on in a microtask after 'drain'; how much is left is known after that.
    stream.addEventListener('drain', () => setImmediate(() => this.#unblock()))
    // Who reads the frames says first whether the last one was cut.
    stream.addEventListener('end', () => queueMicrotask(() => this.close()), { once: true })
    stream.addEventListener('close', () => isUnread(stream) || this.close(), { once: true })
    if (stream.status !== 'open') setImmediate(() => this.close())
  }

  send(head: Uint8Array, payload?: Uint8Array): boolean {
    if (this.#closed) return false
    const payloadBytes = payload?.length ?? 0
    this.#sent += wireBytes(head.length + payloadBytes)
    // Two messages of the stream, one frame: what is not copied here is no garbage, and that is what bulk costs most.
    this.#put(packFrame(head, undefined, payloadBytes))
    if (payload !== undefined && payload.length > 0) this.#put(payload)
    this.#pump()
    if (this.#aheadBytes >= AHEAD_BYTES_MAX) this.#full = true
    return !this.#full
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    const first = this.#frameHandler === undefined
    this.#frameHandler = handler
    if (!first) return
    readFrames(this.#stream, { onFrame: (frame) => this.#heard(frame), onBad: this.#blame })
    resume(this.#stream)
  }

  onDrain(handler: () => void): void {
    this.#drainHandlers.push(handler)
  }

  onClose(handler: () => void): void {
    this.#closeHandlers.push(handler)
  }

  /** Not here: a stream that is paused and resumed under a cap all but stands still (docs/decisions/0015-rates.md). */
  limit(): void {}

  close(): void {
    if (this.#closed) return
    this.#closed = true
    // A handler that is given in the same turn as `close` hears of it, too.
    queueMicrotask(() => this.#closeHandlers.splice(0).forEach((handler) => handler()))
    if (this.#waiting.length === 0) this.#finish()
  }

  sentBytes(): number {
    return this.#sent
  }

  receivedBytes(): number {
    return this.#received
  }

  #heard(frame: Uint8Array): void {
    this.#received += wireBytes(frame.length)
    if (!this.#closed) this.#frameHandler?.(frame)
  }

  get #aheadBytes(): number {
    return this.#waitingBytes + this.#stream.writeBufferLength
  }

  #put(bytes: Uint8Array): void {
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
  }

  /** As the pace allows; the muxer has as much ahead as its window may soon take. */
  #pump(): void {
    while (!this.#paced && !this.#blocked) {
      const [next] = this.#waiting
      if (next === undefined) break
      if (this.#stream.status !== 'open') {
        this.#waiting.length = 0
        this.#waitingBytes = 0
        break
      }
      const bytes = this.#pace.take(next.length - this.#at)
      if (bytes === 0) {
        this.#paced = true
        return this.#pace.whenWritable(this.#writeOn)
      }
      if (!sendOn(this.#stream, next.subarray(this.#at, this.#at + bytes)))
        this.#blocked = this.#stream.writeBufferLength >= AHEAD_BYTES_MAX
      this.#at += bytes
      this.#waitingBytes -= bytes
      if (this.#at < next.length) continue
      this.#waiting.shift()
      this.#at = 0
    }
    if (this.#waiting.length === 0 && this.#closed) this.#finish()
    else this.#drained()
  }

  #unblock(): void {
    if (this.#blocked && this.#stream.writeBufferLength <= AHEAD_BYTES_MAX / 2) this.#blocked = false
    this.#pump()
  }

  #drained(): void {
    if (!this.#full || this.#closed || this.#aheadBytes > AHEAD_BYTES_MAX / 2) return
    this.#full = false
    this.#drainHandlers.forEach((handler) => handler())
  }

  #finish(): void {
    this.#pace.close()
    finish(this.#stream)
  }
}

/** Frames came before the link died, and nobody has listened yet: 'end' comes after they were read. */
const isUnread = (stream: Stream): boolean => stream.readStatus === 'paused' && stream.readBufferLength > 0

/** Sends what was taken, then ends both halves; a side that does not take it in time is cut off. */
function finish(stream: Stream): void {
  const signal = AbortSignal.timeout(CLOSE_MS)
  const cut = (error: unknown): void => stream.abort(error as Error)
  stream.closeRead().catch(cut)
  stream.close({ signal }).catch(cut)
}

function pause(stream: Stream): void {
  if (stream.readStatus === 'readable') stream.pause()
}

function resume(stream: Stream): void {
  if (stream.readStatus === 'paused') stream.resume()
}

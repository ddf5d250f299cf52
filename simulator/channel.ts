/** The two ends of a channel on virtual time, over a connection of its own. */
import { FRAME_BYTES_MAX } from '../protocols/limits.ts'
import type { PeerId } from '../protocols/ids.ts'
import type { Bucket } from '../protocols/rate/bucket.ts'
import type { Channel } from '../protocols/transport.ts'
import type { Connection, End } from './connection.ts'
import { Turnstile } from './turnstile.ts'

/** Sent and not yet arrived: about the send buffer and the window of a stream that has grown. */
const WINDOW_BYTES = 4 * FRAME_BYTES_MAX
/** Length prefix of a frame. */
const PREFIX_BYTES = 4

/** What holds for one end, by its own clock. */
export type Caps = { readonly up: () => readonly Bucket[]; readonly down: () => readonly Bucket[] }

export class SimChannel implements Channel {
  readonly peer: PeerId
  readonly #connection: Connection
  readonly #end: End
  readonly #other: () => SimChannel
  readonly #limits: Bucket[] = []
  readonly #out: Turnstile
  readonly #in: Turnstile
  #inFlight = 0
  #full = false
  #ended = false
  #sent = 0
  #received = 0
  /** What arrived before anybody listened: no more than a window, because it is not acknowledged. */
  #early: Uint8Array[] = []
  #onFrame: ((frame: Uint8Array) => void) | undefined
  #onDrain: () => void = () => {}
  #onClose: (() => void) | undefined
  #closeTold = false

  private constructor(connection: Connection, end: End, other: () => SimChannel, caps: Caps) {
    this.peer = connection.other(end).port.peer
    this.#connection = connection
    this.#end = end
    this.#other = other
    this.#out = new Turnstile(end.life.clock, caps.up)
    this.#in = new Turnstile(end.life.clock, () => [...this.#limits, ...caps.down()])
  }

  /** Both ends, the dialler's first. */
  static pair(connection: Connection, nearCaps: Caps, farCaps: Caps): [SimChannel, SimChannel] {
    const near: SimChannel = new SimChannel(connection, connection.dialler, () => far, nearCaps)
    const far: SimChannel = new SimChannel(connection, connection.listener, () => near, farCaps)
    connection.onDown = () => {
      connection.dialler.life.run(() => near.#finish())
      connection.listener.life.run(() => far.#finish())
    }
    return [near, far]
  }

  send(head: Uint8Array, payload: Uint8Array = new Uint8Array(0)): boolean {
    if (this.#ended) return false
    const bytes = head.length + payload.length + PREFIX_BYTES
    const copy = new Uint8Array(head.length + payload.length)
    copy.set(head)
    copy.set(payload, head.length)
    this.#sent += bytes
    this.#inFlight += bytes
    this.#out.pass(bytes, () =>
      this.#connection.carry(this.#end, bytes, true, () => {
        this.#other().#hear(copy)
      }),
    )
    // Once full it stays so until it drains, however little is on its way when the next frame comes.
    this.#full ||= this.#inFlight >= WINDOW_BYTES
    return !this.#full
  }

  onFrame(handler: (frame: Uint8Array) => void): void {
    this.#onFrame = handler
    for (const frame of this.#early.splice(0)) this.#take(frame)
  }

  onDrain(handler: () => void): void {
    this.#onDrain = handler
  }

  onClose(handler: () => void): void {
    this.#onClose = handler
    if (this.#ended) this.#end.life.clock.after(0, () => this.#tellClose())
  }

  close(): void {
    if (this.#ended) return
    this.#ended = true
    // What was sent before is delivered before.
    this.#out.pass(0, () =>
      this.#connection.carry(this.#end, 0, true, () => {
        const other = this.#other()
        other.#in.pass(0, () => {
          other.#finish()
          this.#connection.close()
        })
      }),
    )
    this.#end.life.clock.after(0, () => this.#tellClose())
  }

  limit(bucket: Bucket): void {
    this.#limits.push(bucket)
  }

  sentBytes(): number {
    return this.#sent
  }

  receivedBytes(): number {
    return this.#received
  }

  #hear(frame: Uint8Array): void {
    if (this.#ended) return
    this.#received += frame.length + PREFIX_BYTES
    if (this.#onFrame === undefined) this.#early.push(frame)
    else this.#take(frame)
  }

  /** The window of the sender opens by what was taken; telling it costs the way back. */
  #take(frame: Uint8Array): void {
    const bytes = frame.length + PREFIX_BYTES
    this.#in.pass(bytes, () => {
      if (this.#ended) return
      this.#onFrame?.(frame)
      const other = this.#other()
      this.#connection.carry(this.#end, 0, true, () => other.#acknowledge(bytes))
    })
  }

  #acknowledge(bytes: number): void {
    this.#inFlight -= bytes
    if (this.#ended || !this.#full || this.#inFlight > WINDOW_BYTES / 2) return
    this.#full = false
    this.#onDrain()
  }

  #finish(): void {
    this.#ended = true
    this.#tellClose()
  }

  #tellClose(): void {
    if (this.#closeTold || this.#onClose === undefined) return
    this.#closeTold = true
    this.#onClose()
  }
}

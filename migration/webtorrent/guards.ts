/**
 * Bounds that bittorrent-protocol 5.0.9 does not have, put upon its class of wires. Without them a stranger can have a
 * message of 4 GiB kept for it, or 128 KiB of answer for each request of 17 bytes, read or not.
 *
 * What is relied upon of its inside is held by test/migration/webtorrent/guards.test.ts.
 */
import {
  TORRENT_MESSAGE_BYTES_MAX,
  TORRENT_REQUESTS_MAX,
  TORRENT_UNSENT_BYTES_MAX,
} from '../../protocols/limits.ts'

type Request = readonly [index: number, offset: number, length: number]

type GuardedWire = {
  readonly destroyed: boolean
  readonly peerRequests: readonly unknown[]
  readonly _readableState: { readonly buffered: number }
  /** Ends requests and timers, and looks at nothing that follows. */
  _onFinish(): void
  /** Requests that wait, and the timer that looks whether they still have to. */
  waiting?: Request[]
  looking?: NodeJS.Timeout | undefined
}

export type WireClass = {
  readonly prototype: GuardedWire & {
    _onMessageLength(this: GuardedWire, bytes: Uint8Array): void
    _onRequest(this: GuardedWire, ...request: Request): void
    _onCancel(this: GuardedWire, ...request: Request): void
  }
}

/** Blocks read for one peer at once. */
const READING_MAX = 8
/** A peer takes UNSENT_BYTES_MAX in this time at 1.6 Gbit/s. */
const LOOK_MS = 5

export function guard({ prototype }: WireClass): void {
  // oxlint-disable-next-line typescript/unbound-method -- called with the wire they belong to
  const { _onMessageLength, _onRequest, _onCancel } = prototype

  prototype._onMessageLength = function (bytes) {
    const length = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUInt32BE(0)
    if (length <= TORRENT_MESSAGE_BYTES_MAX) return _onMessageLength.call(this, bytes)
    hangUp(this)
  }

  prototype._onRequest = function (...request) {
    this.waiting ??= []
    if (this.waiting.length >= TORRENT_REQUESTS_MAX) return hangUp(this)
    this.waiting.push(request)
    pump(this)
  }

  prototype._onCancel = function (...request) {
    const at = this.waiting?.findIndex((each) => each.every((part, i) => part === request[i])) ?? -1
    if (at !== -1) this.waiting?.splice(at, 1)
    _onCancel.call(this, ...request)
  }

  /** Its own `destroy` only ends the stream, in order, behind what is still to be written. */
  function hangUp(wire: GuardedWire): void {
    if (wire.destroyed) return
    wire._onFinish()
    const stream = Object.getPrototypeOf(prototype) as { destroy(this: GuardedWire): void }
    stream.destroy.call(wire)
  }

  function pump(wire: GuardedWire): void {
    const waiting = wire.waiting ?? []
    while (waiting.length > 0 && !wire.destroyed && hasRoom(wire))
      _onRequest.call(wire, ...(waiting.shift() as Request))
    if (wire.destroyed) waiting.length = 0
    if (waiting.length === 0 || wire.looking !== undefined) return
    wire.looking = setTimeout(() => {
      wire.looking = undefined
      pump(wire)
    }, LOOK_MS)
  }
}

const hasRoom = (wire: GuardedWire): boolean =>
  wire.peerRequests.length < READING_MAX && wire._readableState.buffered < TORRENT_UNSENT_BYTES_MAX

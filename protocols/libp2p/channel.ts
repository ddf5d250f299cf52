/**
 * A channel is one stream, written and read by frames. Until somebody listens nothing is read, so what the other side
 * sends waits in the window; what the window does not take waits at the sender, who is told to stop. Over a relay the
 * sender is told to stop by the clock as well: the line is somebody else's, and agreement goes over it, too.
 */
import type { Stream } from '@libp2p/interface'
import type { PeerId } from '../ids.ts'
import { CIRCUIT_BULK_BYTES_PER_S } from '../limits.ts'
import type { Channel } from '../transport.ts'
import { packFrame, wireBytes } from './frames.ts'
import { readFrames } from './inbound.ts'
import { sendOn } from './line.ts'

/** Kept ready beyond what the window takes, so that the pipe does not run dry between a window update and `onDrain`. */
const AHEAD_BYTES_MAX = 1024 * 1024
/** How long the last frames have to go out after `close`. */
const CLOSE_MS = 30_000
/** Over a relay: what may go at once after a silence. */
const PACE_AHEAD_MS = 100

export function channelOn(
  stream: Stream,
  peer: PeerId,
  relayed: boolean,
  blame: (why: string) => void,
): Channel {
  let frameHandler: ((frame: Uint8Array) => void) | undefined
  const drainHandlers: (() => void)[] = []
  const closeHandlers: (() => void)[] = []
  let closed = false
  let full = false
  /** When all that was sent would have gone at the pace of a relay. */
  let pacedMs = 0
  let sent = 0
  let received = 0

  const end = (): void => {
    if (closed) return
    closed = true
    // A handler that is given in the same turn as `close` hears of it, too.
    queueMicrotask(() => closeHandlers.splice(0).forEach((handler) => handler()))
    finish(stream)
  }

  const onFrame = (frame: Uint8Array): void => {
    received += wireBytes(frame.length)
    if (!closed) frameHandler?.(frame)
  }
  const drained = (): void => {
    if (closed || !full || stream.writeBufferLength > AHEAD_BYTES_MAX / 2) return
    // A timer is set for what is paced.
    if (pacedMs > performance.now()) return
    full = false
    drainHandlers.forEach((handler) => handler())
  }

  const pace = (bytes: number): void => {
    const nowMs = performance.now()
    pacedMs = Math.max(pacedMs, nowMs - PACE_AHEAD_MS) + (bytes * 1_000) / CIRCUIT_BULK_BYTES_PER_S
    if (pacedMs <= nowMs || full) return
    full = true
    const again = (): void => {
      const leftMs = pacedMs - performance.now()
      if (leftMs > 0) setTimeout(again, leftMs)
      else drained()
    }
    again()
  }

  pause(stream)
  // libp2p writes on in a microtask after 'drain'; how much is left is known after that.
  stream.addEventListener('drain', () => setImmediate(drained))
  stream.addEventListener('end', end, { once: true })
  stream.addEventListener('close', () => unread(stream) || end(), { once: true })
  if (stream.status !== 'open') setImmediate(end)

  return {
    peer,
    send(head, payload) {
      if (closed) return false
      const payloadBytes = payload?.length ?? 0
      const bytes = wireBytes(head.length + payloadBytes)
      sent += bytes
      if (relayed) pace(bytes)
      const packed = packFrame(head, undefined, payloadBytes)
      // Two messages of the stream, one frame: what is not copied here is no garbage, and that is what bulk costs most.
      let taken = sendOn(stream, packed)
      if (payload !== undefined) taken = sendOn(stream, payload)
      if (!taken && stream.writeBufferLength >= AHEAD_BYTES_MAX) full = true
      return !full
    },
    onFrame(handler) {
      const first = frameHandler === undefined
      frameHandler = handler
      if (!first) return
      readFrames(stream, { onFrame, onBad: blame })
      resume(stream)
    },
    onDrain: (handler) => void drainHandlers.push(handler),
    onClose: (handler) => void closeHandlers.push(handler),
    close: end,
    sentBytes: () => sent,
    receivedBytes: () => received,
  }
}

/** Frames came before the link died, and nobody has listened yet: 'end' comes after they were read. */
const unread = (stream: Stream): boolean => stream.readStatus === 'paused' && stream.readBufferLength > 0

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

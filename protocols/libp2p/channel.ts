/**
 * A channel is one stream, written and read by frames. Until somebody listens nothing is read, so what the other side
 * sends waits in the window; what the window does not take waits at the sender, who is told to stop.
 */
import type { Stream } from '@libp2p/interface'
import type { PeerId } from '../ids.ts'
import type { Channel } from '../transport.ts'
import { packFrame, wireBytes } from './frames.ts'
import { readFrames } from './inbound.ts'
import { sendOn } from './line.ts'

/** Kept ready beyond what the window takes, so that the pipe does not run dry between a window update and `onDrain`. */
const AHEAD_BYTES_MAX = 1024 * 1024
/** How long the last frames have to go out after `close`. */
const CLOSE_MS = 30_000

export function channelOn(stream: Stream, peer: PeerId, blame: (why: string) => void): Channel {
  let frameHandler: ((frame: Uint8Array) => void) | undefined
  const drainHandlers: (() => void)[] = []
  const closeHandlers: (() => void)[] = []
  let closed = false
  let full = false
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
    full = false
    drainHandlers.forEach((handler) => handler())
  }

  pause(stream)
  // libp2p writes on in a microtask after 'drain'; how much is left is known after that.
  stream.addEventListener('drain', () => setImmediate(drained))
  stream.addEventListener('end', end, { once: true })
  stream.addEventListener('close', () => unread(stream) || end(), { once: true })
  if (stream.status !== 'open') setImmediate(end)

  return {
    peer,
    send(frame) {
      if (closed) return false
      sent += wireBytes(frame.length)
      const taken = sendOn(stream, packFrame(frame))
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

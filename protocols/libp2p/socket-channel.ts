/**
 * A channel on a TLS socket of its own: frames as on streams, without a muxer. Until somebody listens nothing is read, so
 * what the other side sends waits in TCP's window.
 *
 * Buffers go to the socket one at a time: Node joins what it is given while it writes, and a copy of every chunk costs as
 * much as a quarter of its encryption.
 */
import type { TLSSocket } from 'node:tls'
import { giveBack } from '../buffers.ts'
import type { PeerId } from '../ids.ts'
import type { Channel } from '../transport.ts'
import { FrameReader, LENGTH_BYTES, packFrame } from './frames.ts'
import type { Pace } from './shaper.ts'

/** Kept ready beyond what the kernel takes: four chunks, so that the pipe does not run dry while others are read. */
export const AHEAD_BYTES_MAX = 1024 * 1024
/** How long the last frames have to go out after `close`. */
const CLOSE_MS = 30_000
/** One record of TLS. A frame's head fills one up with the beginning of its payload, and the rest goes as it is. */
const RECORD_BYTES = 16 * 1024
const EMPTY = new Uint8Array(0)

/**
 * Where the bytes of a socket go. The end that dialled reads all of them into one buffer of its own, which spares it a new
 * one for each record; what came before anybody listened is copied, and is what one read of TLS holds at most.
 */
export class Inlet {
  #sink: ((bytes: Uint8Array) => void) | undefined
  #early: Uint8Array[] = []

  /** False: no more of it for now. */
  push(bytes: Uint8Array): boolean {
    if (this.#sink === undefined) this.#early.push(Uint8Array.from(bytes))
    else this.#sink(bytes)
    return this.#sink !== undefined
  }

  get waits(): boolean {
    return this.#early.length > 0
  }

  flow(sink: (bytes: Uint8Array) => void): void {
    this.#sink = sink
    for (const bytes of this.#early.splice(0)) sink(bytes)
  }
}

/** `inlet`: of a socket that reads into a buffer of its own; other sockets tell their bytes by events. */
export function channelOnSocket(
  socket: TLSSocket,
  { peer, pace, blame }: { peer: PeerId; pace: Pace; blame: (why: string) => void },
  inlet?: Inlet,
): Channel {
  let frameHandler: ((frame: Uint8Array) => void) | undefined
  const drainHandlers: (() => void)[] = []
  const closeHandlers: (() => void)[] = []
  let closed = false
  let full = false
  let sent = 0
  let received = 0
  const waiting: Uint8Array[] = []
  /** Of the first that waits: how much has gone. */
  let at = 0
  let waitingBytes = 0
  let writing = false

  const reader = new FrameReader((frame) => {
    received += LENGTH_BYTES + frame.length
    if (!closed) frameHandler?.(frame)
  })
  const flow = (sink: (bytes: Uint8Array) => void): void => {
    if (inlet === undefined) socket.on('data', sink)
    else inlet.flow(sink)
    socket.resume()
  }
  const readOn = (): void => void socket.resume()
  const read = (bytes: Uint8Array): void => {
    if (closed) return
    if (reader.push(bytes)) {
      if (!pace.read(bytes.length, readOn)) socket.pause()
      return
    }
    blame('a frame too long')
    socket.destroy()
    end()
  }
  const put = (bytes: Uint8Array): void => {
    waiting.push(bytes)
    waitingBytes += bytes.length
  }
  const pump = (): void => {
    // A side that has ended wants nothing more.
    const next = socket.writable ? waiting[0] : undefined
    if (next === undefined) {
      writing = false
      if (closed) socket.end()
      return
    }
    writing = true
    const bytes = pace.take(next.length - at)
    if (bytes === 0) return pace.whenWritable(pump)
    const piece = next.subarray(at, at + bytes)
    at += bytes
    const isWhole = at === next.length
    if (isWhole) {
      waiting.shift()
      at = 0
    }
    socket.write(piece, () => {
      writing = false
      waitingBytes -= bytes
      if (isWhole) giveBack(next)
      if (socket.destroyed) return
      pump()
      if (!full || closed || waitingBytes > AHEAD_BYTES_MAX / 2) return
      full = false
      drainHandlers.forEach((handler) => handler())
    })
  }
  const end = (): void => {
    if (closed) return
    closed = true
    // A handler that is given in the same turn as `close` hears of it, too.
    queueMicrotask(() => closeHandlers.splice(0).forEach((handler) => handler()))
    // The end of the other side is read behind what it has sent, which nobody wants any more.
    if (frameHandler === undefined) flow(() => {})
    else socket.resume()
    if (!writing) socket.end()
    const timer = setTimeout(() => socket.destroy(), CLOSE_MS).unref()
    socket.once('close', () => clearTimeout(timer))
  }
  /** Frames came before the link died, and nobody has listened yet: then it ends after they were read. */
  const ended = (): void => {
    if (frameHandler === undefined && inlet?.waits === true) return
    end()
  }

  socket.once('end', () => {
    if (!closed && reader.partial) blame('a frame cut short')
    ended()
  })
  socket.once('close', ended)
  socket.once('close', () => pace.close())
  if (socket.destroyed) setImmediate(end)

  return {
    peer,
    send(head, payload = EMPTY) {
      if (closed) return false
      const begin = payload.subarray(0, Math.max(0, RECORD_BYTES - LENGTH_BYTES - head.length))
      const rest = payload.subarray(begin.length)
      put(packFrame(begin, head, rest.length))
      if (rest.length > 0) put(rest)
      sent += LENGTH_BYTES + head.length + payload.length
      if (!writing) pump()
      if (waitingBytes >= AHEAD_BYTES_MAX) full = true
      return !full
    },
    onFrame(handler) {
      const first = frameHandler === undefined
      frameHandler = handler
      if (!first || closed) return
      flow(read)
      if (socket.destroyed) end()
    },
    onDrain: (handler) => void drainHandlers.push(handler),
    onClose: (handler) => void closeHandlers.push(handler),
    close: end,
    limit: (bucket) => pace.holdReading(bucket),
    sentBytes: () => sent,
    receivedBytes: () => received,
  }
}

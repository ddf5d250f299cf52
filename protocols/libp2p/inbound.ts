/** Reads the frames of one inbound or outbound stream; what is not a frame is told once, and ends the stream. */
import type { Stream } from '@libp2p/interface'
import { FrameReader } from './frames.ts'

export type Inbound = {
  readonly onFrame: (frame: Uint8Array) => void
  /** Too long, or cut in the middle by its sender. */
  readonly onBad: (why: string) => void
}

export function readFrames(stream: Stream, { onFrame, onBad }: Inbound): void {
  const reader = new FrameReader(onFrame)
  let bad = false
  const refuse = (why: string): void => {
    if (bad) return
    bad = true
    onBad(why)
    stream.abort(new Error(why))
  }
  stream.addEventListener('message', ({ data }) => {
    const chunks = data instanceof Uint8Array ? [data] : data
    for (const chunk of chunks) {
      if (bad || stream.status !== 'open') return
      if (!reader.push(chunk)) refuse('a frame too long')
    }
  })
  // A link that dies also cuts frames; only who ends a stream in order and in the middle of a frame is to blame.
  stream.addEventListener('end', () => {
    if (stream.remoteWriteStatus === 'closed' && stream.status === 'open' && reader.partial)
      refuse('a frame cut short')
  })
}

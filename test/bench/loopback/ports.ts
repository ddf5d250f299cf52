/** What peers of the transfer benchmarks run on besides network and disk. */
import { stat } from 'node:fs/promises'
import type { Clock } from '../../../protocols/clock.ts'
import { openNetwork } from '../../../protocols/libp2p/node.ts'
import { ok, type Outcome } from '../../../protocols/outcome.ts'
import type { Extent, ImageReader } from '../../../storage/images/image-reader.ts'

export const MESH = '01JBENCHBENCHBENCHBENCHBEN'

export const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}

/** A raw file as it lies, all of it data. */
export const reader: ImageReader = {
  async open(source) {
    const { path } = source as { path: string }
    const { size: bytes } = await stat(path)
    const extents = async (each: (extent: Extent) => void): Promise<void> => each({ start: 0, length: bytes })
    return ok({ bytes, extents, content: { path }, close: async () => {} })
  },
}

/** Of the peer with this key, which knows of nobody yet. */
export const networkAt = (address: string, key: string): ReturnType<typeof openNetwork> =>
  openNetwork({
    privateKey: Buffer.from(key, 'hex'),
    listen: [`/ip4/${address}/tcp/0`],
    announce: [],
    meshId: MESH,
    mdns: false,
    peers: new Map(),
    log: () => {},
  })

export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value
  throw new Error(JSON.stringify(outcome.failure))
}

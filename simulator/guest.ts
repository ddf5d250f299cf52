/**
 * The guest of the simulator, the tiny guest's twin: its disk holds a count in the second chunk, in the form that
 * test/guest/boot-sector.ts uses; the rest is data that dedups with nothing but copies of itself.
 */
import { hash } from 'node:crypto'
import type { ChunkId } from '../protocols/ids.ts'
import { pack } from '../storage/images/chunk-content.ts'
import {
  buildManifest,
  chunkCount,
  chunkLength,
  HASH_BYTES,
  type Manifest,
} from '../storage/images/manifest.ts'
import { random } from './random.ts'

const MAGIC = 'GODWITCT'
/** Chunk that holds the count: its own, so that a guest that only counts changes one chunk. */
export const COUNTER_CHUNK = 1

export type SimGuestImage = {
  readonly manifest: Manifest
  readonly frames: ReadonlyMap<ChunkId, Uint8Array>
}

/** An image with `dataChunks` chunks of noise from the third on, and zeros behind them. */
export function simGuestImage(options: {
  readonly seed: number
  readonly bytes: number
  readonly chunkBytes: number
  readonly dataChunks: number
}): SimGuestImage {
  const { seed, bytes, chunkBytes, dataChunks } = options
  const hashes = Buffer.alloc(chunkCount({ bytes, chunkBytes }) * HASH_BYTES)
  const frames = new Map<ChunkId, Uint8Array>()
  const dice = random(seed, 'guest image')
  const put = (index: number, content: Uint8Array): void => {
    const id = hash('sha256', content)
    hashes.set(Buffer.from(id, 'hex'), index * HASH_BYTES)
    frames.set(id, pack(content))
  }
  put(COUNTER_CHUNK, counterContent(0, chunkLength(options, COUNTER_CHUNK)))
  for (let index = 2; index < 2 + dataChunks; index++) {
    const content = Buffer.alloc(chunkLength(options, index))
    for (let at = 0; at + 4 <= content.length; at += 4)
      content.writeUInt32LE(Math.floor(dice() * 2 ** 32), at)
    put(index, content)
  }
  return { manifest: buildManifest(bytes, chunkBytes, hashes), frames }
}

export function counterContent(count: number, bytes: number): Uint8Array {
  const content = Buffer.alloc(bytes)
  content.write(MAGIC, 'latin1')
  content.writeUInt32LE(count, MAGIC.length)
  return content
}

/** The count that a chunk holds; 0 when it holds none, as on a disk that no guest of ours made. */
export function countOf(content: Uint8Array | undefined): number {
  if (content === undefined || content.length < MAGIC.length + 4) return 0
  const buffer = Buffer.from(content.buffer, content.byteOffset, content.length)
  return buffer.toString('latin1', 0, MAGIC.length) === MAGIC ? buffer.readUInt32LE(MAGIC.length) : 0
}

/** From one boot to the end, as counts; `to` is known once it has ended. */
export type Session = { readonly from: number; to: number; off: boolean }

/** The newest `most` lines of a guest's serial port, oldest first. `now` is of the newest session while it runs. */
export function serialLines(
  sessions: readonly Session[],
  most: number,
  now: { readonly count: number | undefined; readonly booting: boolean },
): string[] {
  const lines: string[] = []
  for (let at = sessions.length - 1; at >= 0 && lines.length < most; at--) {
    const { from, to, off } = sessions[at] as Session
    const newest = at === sessions.length - 1
    if (newest && now.booting) continue
    const last = (newest ? now.count : undefined) ?? to
    if (off) lines.push(`godwit-guest off count=${last}`)
    for (let count = last; count > from && lines.length < most; count--)
      lines.push(`godwit-guest count=${count}`)
    lines.push(`godwit-guest boot count=${from}`)
  }
  return lines.slice(0, most).reverse()
}

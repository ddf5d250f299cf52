/** The caps that hold now, each with its buckets: what they allow is shared by all peers they name. */
import type { PeerId } from '../ids.ts'
import { type Bucket, bucket, setRate } from './bucket.ts'

/** One rate for all bulk that goes to, or comes from, any of these peers. */
export type Cap = {
  /** A cap of the same name takes the place of the one before, with what was owed under it. */
  readonly name: string
  readonly peers: ReadonlySet<PeerId>
  readonly upBytesPerS: number | undefined
  readonly downBytesPerS: number | undefined
}

export type Held = { readonly cap: Cap; readonly up: Bucket | undefined; readonly down: Bucket | undefined }

/** What may go at once after a silence: 1 % of the 5 s over which a cap has to hold. */
export const CAP_AHEAD_MS = 50

export function hold(before: readonly Held[], caps: readonly Cap[], nowMs: number): Held[] {
  const was = new Map(before.map((held) => [held.cap.name, held]))
  const held = (old: Bucket | undefined, bytesPerS: number | undefined): Bucket | undefined => {
    if (bytesPerS === undefined) return undefined
    if (old === undefined) return bucket(bytesPerS / 1_000, CAP_AHEAD_MS)
    setRate(old, bytesPerS / 1_000, nowMs)
    return old
  }
  return caps.map((cap) => ({
    cap,
    up: held(was.get(cap.name)?.up, cap.upBytesPerS),
    down: held(was.get(cap.name)?.down, cap.downBytesPerS),
  }))
}

export const heldUp = (held: readonly Held[], peer: PeerId): Bucket[] =>
  held.flatMap(({ cap, up }) => (up !== undefined && cap.peers.has(peer) ? [up] : []))

export const heldDown = (held: readonly Held[], peer: PeerId): Bucket[] =>
  held.flatMap(({ cap, down }) => (down !== undefined && cap.peers.has(peer) ? [down] : []))

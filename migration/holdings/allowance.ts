/**
 * How much one peer may ask about holdings: a token bucket for each, in chunks to look up (HOLDINGS_CHUNKS_PER_SECOND). Pure;
 * time comes in. A bucket that is full again is forgotten, so there is one for each peer that asked of late.
 */
import type { PeerId } from '../../protocols/ids.ts'
import {
  HOLDINGS_CHUNKS_AT_ONCE,
  HOLDINGS_CHUNKS_PER_SECOND,
  HOLDINGS_QUESTION_CHUNKS,
} from '../../protocols/limits.ts'

/** Of peers that asked: what they have used up, and when that was counted. */
export type Allowance = Map<PeerId, { used: number; atMs: number }>

/** Takes a question about `chunks` into account; false when the peer has asked too much. */
export function allow(allowance: Allowance, peer: PeerId, chunks: number, nowMs: number): boolean {
  for (const [each, bucket] of allowance) {
    bucket.used -= ((nowMs - bucket.atMs) / 1_000) * HOLDINGS_CHUNKS_PER_SECOND
    bucket.atMs = nowMs
    if (bucket.used <= 0) allowance.delete(each)
  }
  const bucket = allowance.get(peer) ?? { used: 0, atMs: nowMs }
  const used = bucket.used + chunks + HOLDINGS_QUESTION_CHUNKS
  if (used > HOLDINGS_CHUNKS_AT_ONCE) return false
  allowance.set(peer, { used, atMs: nowMs })
  return true
}

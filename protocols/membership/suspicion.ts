/**
 * How long a suspect has to refute (Lifeguard's dynamic suspicion): long while one peer alone suspects it, shorter with
 * each independent confirmation, so that a slow accuser convicts nobody and a crash is found fast.
 */
import type { PeerId } from '../ids.ts'
import { CONFIRMATIONS_MAX, PROBE_MS, SUSPICION_PERIODS, SUSPICION_STRETCH_MAX } from '../limits.ts'

export type Suspicion = {
  startMs: number
  /** Who suspects: the accuser first, then who confirmed, no more than matter. */
  readonly by: PeerId[]
  readonly minMs: number
  readonly maxMs: number
  readonly confirmationsMax: number
}

/** `peers`: how many are thought to be in the mesh, this one and the suspect included. */
export function newSuspicion(by: PeerId, peers: number, nowMs: number): Suspicion {
  const minMs = SUSPICION_PERIODS * PROBE_MS * Math.max(1, Math.log10(Math.max(1, peers)))
  // Where there are not enough others to confirm, waiting for them would only delay.
  const confirmationsMax = peers - 2 < CONFIRMATIONS_MAX ? 0 : CONFIRMATIONS_MAX
  return { startMs: nowMs, by: [by], minMs, maxMs: minMs * SUSPICION_STRETCH_MAX, confirmationsMax }
}

/** True when `by` is new, and its word counts: it is worth passing on. */
export function confirm(suspicion: Suspicion, by: PeerId): boolean {
  if (suspicion.by.includes(by) || suspicion.by.length > suspicion.confirmationsMax) return false
  suspicion.by.push(by)
  return true
}

export function remainingMs(suspicion: Suspicion, nowMs: number): number {
  const { startMs, by, minMs, maxMs, confirmationsMax } = suspicion
  return timeoutMs({ confirmations: by.length - 1, confirmationsMax, minMs, maxMs }) - (nowMs - startMs)
}

/** From the longest with no confirmation to the shortest with all of them, on a logarithmic slope. */
export function timeoutMs(terms: {
  confirmations: number
  confirmationsMax: number
  minMs: number
  maxMs: number
}): number {
  const { confirmations, confirmationsMax, minMs, maxMs } = terms
  if (confirmationsMax < 1) return minMs
  const share = Math.log(confirmations + 1) / Math.log(confirmationsMax + 1)
  return Math.max(minMs, Math.floor(maxMs - share * (maxMs - minMs)))
}

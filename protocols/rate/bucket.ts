/**
 * A rate that bytes are held to, by virtual scheduling (ITU-T I.371's GCRA): instead of tokens, the moment at which all that
 * went would have gone at the rate. Something may go once that is over; what goes moves it on.
 *
 *   clear ──take──▶ busy until clearMs ──time──▶ clear
 *
 * Invariant: over any time t at one rate, what went is at most rate x (t + aheadMs) and the one piece that was taken last.
 */
export type Bucket = {
  bytesPerMs: number
  /** What may go at once after a silence, as time. */
  readonly aheadMs: number
  clearMs: number
}

export function bucket(bytesPerMs: number, aheadMs: number): Bucket {
  return { bytesPerMs, aheadMs, clearMs: -Infinity }
}

/** From when on something may go. */
export function readyMs(buckets: readonly Bucket[]): number {
  let ready = -Infinity
  for (const { clearMs } of buckets) if (clearMs > ready) ready = clearMs
  return ready
}

/** Counts what goes now: in all of them, however much it is. */
export function take(buckets: readonly Bucket[], bytes: number, nowMs: number): void {
  for (const each of buckets)
    each.clearMs = Math.max(each.clearMs, nowMs - each.aheadMs) + bytes / each.bytesPerMs
}

/** Another rate from now on: what is owed stays owed in bytes, so that a change neither forgives nor punishes. */
export function setRate(each: Bucket, bytesPerMs: number, nowMs: number): void {
  const owedMs = each.clearMs - nowMs
  if (owedMs > 0) each.clearMs = nowMs + (owedMs * each.bytesPerMs) / bytesPerMs
  each.bytesPerMs = bytesPerMs
}

/**
 * The most that should go at once: a few ms of the slowest, so that a link that is that slow is not held up for long, but
 * never so little that a write costs more than what it carries.
 */
export function quantum(buckets: readonly Bucket[]): number {
  let slowest = Infinity
  for (const { bytesPerMs } of buckets) if (bytesPerMs < slowest) slowest = bytesPerMs
  return Math.max(QUANTUM_BYTES_MIN, Math.floor(slowest * QUANTUM_MS))
}

/** A timer is a millisecond late, mostly: shorter pieces would not come more evenly. */
const QUANTUM_MS = 4
/** One packet. */
const QUANTUM_BYTES_MIN = 1_400

/** How far a download is, in numbers that never go back. */

export type Progress = {
  /** Size of the image; chunks of zeros and chunks already held count as done from the start. */
  readonly totalBytes: number
  /** Content of the chunks to fetch, and of those fetched. */
  dedupBytes: number
  fetchedBytes: number
  /** Stored frames of the latter. */
  compressedBytes: number
  /** Frames received, and those among them that were here already. */
  receivedBytes: number
  frames: number
  duplicateBytes: number
  /** Content fetched in a second, smoothed over a few of them. */
  bytesPerSecond: number
  readonly startedMs: number
  measuredMs: number
  measuredBytes: number
}

const MEASURE_MS = 500

export const startMeter = (totalBytes: number, nowMs: number): Progress => ({
  totalBytes,
  dedupBytes: 0,
  fetchedBytes: 0,
  compressedBytes: 0,
  receivedBytes: 0,
  frames: 0,
  duplicateBytes: 0,
  bytesPerSecond: 0,
  startedMs: nowMs,
  measuredMs: nowMs,
  measuredBytes: 0,
})

export function measure(meter: Progress, nowMs: number): void {
  const ms = nowMs - meter.measuredMs
  if (ms < MEASURE_MS) return
  const now = ((meter.fetchedBytes - meter.measuredBytes) * 1000) / ms
  meter.bytesPerSecond = meter.bytesPerSecond === 0 ? now : meter.bytesPerSecond * 0.75 + now * 0.25
  meter.measuredMs = nowMs
  meter.measuredBytes = meter.fetchedBytes
}

export type Shown = {
  readonly doneBytes: number
  readonly totalBytes: number
  readonly dedupBytes: number
  readonly compressedBytes: number
  readonly bytesPerSecond: number
  /** Undefined while no rate is known. */
  readonly etaMs: number | undefined
}

export function progressOf(meter: Progress): Shown {
  const { totalBytes, dedupBytes, fetchedBytes, compressedBytes, bytesPerSecond } = meter
  const left = dedupBytes - fetchedBytes
  return {
    doneBytes: totalBytes - left,
    totalBytes,
    dedupBytes,
    compressedBytes,
    bytesPerSecond,
    etaMs: left === 0 ? 0 : bytesPerSecond > 0 ? (left * 1000) / bytesPerSecond : undefined,
  }
}

/** Work in the background at a bounded rate, on real time. */

/** Slept at most at once: whoever stops the work waits this long. */
const SLEEP_MS_MAX = 200

/** Resolves once `bytes` more may be moved; `isStopped` ends the wait. */
export function pace(bytesPerSecondMax: number, isStopped: () => boolean): (bytes: number) => Promise<void> {
  let freeAtMs = performance.now()
  return async (bytes) => {
    const nowMs = performance.now()
    freeAtMs = Math.max(freeAtMs, nowMs) + (bytes / bytesPerSecondMax) * 1_000
    while (!isStopped()) {
      const waitMs = freeAtMs - performance.now()
      // A timer is a few ms late: below that is no wait.
      if (waitMs < SLEEP_MS_MAX / 10) return
      await new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, SLEEP_MS_MAX)))
    }
  }
}

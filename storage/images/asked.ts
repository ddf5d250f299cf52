/** A port's answer as a promise, for shells. */
import { GodwitError } from '../../protocols/errors.ts'
import type { Done } from '../../protocols/outcome.ts'

/** @throws GodwitError with what the port failed with */
export const asked = <T>(call: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    call((outcome) => (outcome.ok ? resolve(outcome.value) : reject(new GodwitError(outcome.failure))))
  })

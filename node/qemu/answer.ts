/** A promise's end as a port's answer: once, after the call has returned, never as an exception. */
import { failureOf } from '../../protocols/errors.ts'
import { failed, ok, type Done } from '../../protocols/outcome.ts'

/** What `done` throws is its owner's bug: outside the promise, so that it ends the process and is not swallowed. */
export function answer<T>(work: Promise<T>, done: Done<T>): void {
  void work.then(
    (value) => setImmediate(() => done(ok(value))),
    (error: unknown) => setImmediate(() => done(failed(failureOf(error)))),
  )
}

import type { Failure } from './errors.ts'

/** What came of something that was asked for: a value, or one of the failures of errors.ts. Never an exception. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure }

/** How every port says that something has ended. Called exactly once, never before the call that took it returns. */
export type Done<T> = (outcome: Outcome<T>) => void

export const ok = <T>(value: T): Outcome<T> => ({ ok: true, value })
export const failed = <T = never>(failure: Failure): Outcome<T> => ({ ok: false, failure })

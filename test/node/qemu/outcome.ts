/** What a test expects of an outcome: its value, or its failure; the other one fails the test with what it was. */
import assert from 'node:assert/strict'
import type { Failure } from '../../../protocols/errors.ts'
import type { Outcome } from '../../../protocols/outcome.ts'

export function valueOf<T>(outcome: Outcome<T>): T {
  assert(outcome.ok, outcome.ok ? '' : JSON.stringify(outcome.failure))
  return outcome.value
}

export function failureOf(outcome: Outcome<unknown>): Failure {
  assert(!outcome.ok, 'it was expected to fail')
  return outcome.failure
}

/** Operations of a peer that may not act: what only looks is answered, everything else is refused, with the reason. */
import type { Failure } from '../protocols/errors.ts'
import { failed } from '../protocols/outcome.ts'
import type { Handler } from './asking.ts'
import { type Method, OPERATIONS } from './operations.ts'

/** `why` is asked at each call: undefined while the peer may act. */
export function readsOnlyWhile(
  all: Readonly<Record<string, Handler>>,
  why: () => Failure | undefined,
): Record<string, Handler> {
  const isRead = (method: string): boolean =>
    Object.hasOwn(OPERATIONS, method) && !OPERATIONS[method as Method].changes
  const refusing =
    (handler: Handler): Handler =>
    (params, done, hops) => {
      const failure = why()
      if (failure === undefined) handler(params, done, hops)
      else done(failed(failure))
    }
  return Object.fromEntries(
    Object.entries(all).map(([method, handler]) => [method, isRead(method) ? handler : refusing(handler)]),
  )
}

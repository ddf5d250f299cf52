/**
 * One question to the peer, the same for both faces: the method must exist, its params must fit its row in OPERATIONS,
 * and what comes back is an outcome whatever happened. A peer that throws has a bug; it costs the asker, not the others.
 */
import type { z } from 'zod'
import { type Failure, failureOf } from '../../protocols/errors.ts'
import { failed, type Outcome } from '../../protocols/outcome.ts'
import type { Log } from '../log.ts'
import { type Method, OPERATIONS } from '../operations.ts'
import type { Peer } from './peer.ts'

export function answer(peer: Peer, log: Log, method: string, params: unknown): Promise<Outcome<unknown>> {
  if (!isMethod(method)) return Promise.resolve(failed({ code: 'UNSUPPORTED', what: method.slice(0, 64) }))
  const checked = OPERATIONS[method].params.safeParse(params ?? {})
  if (!checked.success) return Promise.resolve(failed(misuse(method, checked.error.issues[0])))
  return new Promise((resolve) => {
    try {
      peer.ask(method, checked.data, resolve)
    } catch (error) {
      log.error({ method, error: String(error instanceof Error ? error.stack : error) }, 'an operation threw')
      resolve(failed(failureOf(error)))
    }
  })
}

const isMethod = (method: string): method is Method => Object.hasOwn(OPERATIONS, method)

/** The first fault of what was asked, with the way to it. */
function misuse(method: string, issue: z.core.$ZodIssue | undefined): Failure {
  const at = issue?.path.map(String).join('.') ?? ''
  const said = issue?.message ?? 'is refused'
  const text = said.charAt(0).toLowerCase() + said.slice(1)
  return { code: 'USAGE', why: `${method}: ${at === '' ? '' : `${at}: `}${text}`.slice(0, 300) }
}

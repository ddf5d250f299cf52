/** How a command says that it failed: on stderr, once; for programs one line of JSON, for people what, why and what next. */
import { exitOf, type Failure, failureOf, GodwitError, RULES } from '../../protocols/errors.ts'
import { type ErrorEnvelope, errorEnvelope, SCHEMA } from '../control/envelope.ts'
import type { JobView } from '../views.ts'
import { clean } from './human.ts'

/** A failure that is told already as an envelope: a job's, which ended elsewhere. */
export class Refused extends Error {
  override readonly name = 'Refused'
  readonly envelope: ErrorEnvelope

  constructor(envelope: ErrorEnvelope) {
    super(envelope.message)
    this.envelope = envelope
  }
}

export const usage = (why: string, next?: string): never => {
  throw new GodwitError({ code: 'USAGE', why, ...(next !== undefined && { next }) })
}

export function envelopeOf(error: unknown, peer: string): ErrorEnvelope {
  return error instanceof Refused ? error.envelope : errorEnvelope(failureOf(error), peer)
}

/** The failure that a job ended with, which comes as a code and a text. */
export function failureOfJob(job: JobView): Refused {
  const code = job.code || (job.state === 'cancelled' ? 'MOVE_CANCELLED' : 'INTERNAL')
  const exit = Object.hasOwn(RULES, code) ? exitOf({ code } as Failure) : 1
  const message = job.error || `job ${job.id} was ${job.state}`
  const next = `godwit job show ${job.id}`
  return new Refused({
    schema: SCHEMA,
    kind: 'error',
    code,
    exit,
    message,
    peer: job.peer,
    next,
    details: { job },
  })
}

export function printError(envelope: ErrorEnvelope, json: boolean): string {
  if (json) return `${JSON.stringify(envelope)}\n`
  const { message, next, peer } = envelope
  const where = peer === '' ? '' : `${peer}: `
  const hint = next === '' ? '' : `  try: ${next}\n`
  return clean(`godwit: ${where}${message}\n${hint}`)
}

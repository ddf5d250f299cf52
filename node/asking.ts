/**
 * Questions between peers: an operation that this peer cannot answer itself goes to the one that can (a VM's host, a
 * site's leader, a peer of another site), and comes back with the answer or the failure as it was said there.
 */
import { answer, ASK, ask, HOPS_MAX } from '../protocols/ask/messages.ts'
import { type Failure, failureOf, GodwitError } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { REQUEST_MS } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import type { Transport } from '../protocols/transport.ts'

/** `hops` is how often the question was passed on already. */
export type Handler = (params: never, done: Done<unknown>, hops: number) => void

/** The params of a method as its handler takes them. @throws GodwitError when they are not. */
export type Check = (method: string, params: unknown) => unknown

export class Asking {
  readonly #transport: Transport
  readonly #handlers: Readonly<Record<string, Handler>>
  readonly #check: Check
  readonly #explain: (failure: Failure) => Failure

  /** `explain` makes of a failure what this peer knows of its cause. */
  constructor(
    transport: Transport,
    handlers: Readonly<Record<string, Handler>>,
    check: Check,
    explain: (failure: Failure) => Failure,
  ) {
    this.#explain = explain
    this.#transport = transport
    this.#handlers = handlers
    this.#check = check
    transport.serve(ASK, {
      request: (_from, frame, reply) => {
        const { method, params, hops } = ask.decode(frame)
        this.here(
          method,
          this.#check(method, parsed(params, 'ask.params')),
          (outcome) => {
            if (!outcome.ok) return reply(outcome)
            try {
              reply(ok(answer.encode({ json: JSON.stringify(outcome.value ?? null) })))
            } catch (error) {
              reply(failed(failureOf(error)))
            }
          },
          hops,
        )
      },
    })
  }

  /** Answers on this peer; what a handler throws on purpose is its answer. */
  here(method: string, params: unknown, answer: Done<unknown>, hops = 0): void {
    const done: Done<unknown> = (outcome) =>
      answer(outcome.ok ? outcome : failed(this.#explain(outcome.failure)))
    const handler = Object.hasOwn(this.#handlers, method) ? this.#handlers[method] : undefined
    if (handler === undefined) return done(failed({ code: 'UNSUPPORTED', what: method }))
    try {
      handler(params as never, done, hops)
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error
      done(failed(error.failure))
    }
  }

  /** Asks another peer (or this one) and waits at most `timeoutMs`. */
  there(
    peer: PeerId,
    method: string,
    params: unknown,
    done: Done<unknown>,
    hops = 0,
    timeoutMs = REQUEST_MS,
  ): void {
    if (peer === this.#transport.self) return this.here(method, params, done, hops)
    if (hops >= HOPS_MAX)
      return done(failed({ code: 'STALE', what: 'who answers', expected: 'one peer', found: 'a circle' }))
    const frame = ask.encode({ method, params: JSON.stringify(params), hops: hops + 1 })
    this.#transport.request(peer, ASK, frame, timeoutMs, (outcome) =>
      done(outcome.ok ? answered(outcome.value) : outcome),
    )
  }
}

/** @throws GodwitError FRAME_INVALID */
function parsed(json: string, at: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw new GodwitError({ code: 'FRAME_INVALID', at, expected: 'JSON' }, { cause })
  }
}

/** What came back from another peer: its value, or that it cannot be read. */
export function answered(frame: Uint8Array): Outcome<unknown> {
  try {
    return ok(parsed(answer.decode(frame).json, 'answer.json'))
  } catch (error) {
    return failed(failureOf(error))
  }
}

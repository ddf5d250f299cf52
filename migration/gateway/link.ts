/**
 * Questions and answers between the peer and a thread of the gateway, in both directions, over one MessagePort. A failure
 * is thrown where it was asked for. Bytes named in `transfer` change hands without a copy.
 */
import { type Failure, failureOf, GodwitError } from '../../protocols/errors.ts'

type Message =
  | { readonly kind: 'ask'; readonly id: number; readonly method: string; readonly params: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly failure: Failure }

export type Port = {
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void
  on(event: 'message', take: (message: unknown) => void): unknown
}

/** What an answer is made of: a value, and what of it is handed over. */
export type Answered = { readonly value?: unknown; readonly transfer?: ArrayBuffer[] }
export type Handlers = Readonly<Record<string, (params: never) => Promise<Answered> | Answered>>

type Waiting = { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }

export class Link {
  readonly #port: Port
  readonly #waiting = new Map<number, Waiting>()
  #last = 0
  #ended: Error | undefined

  constructor(port: Port, handlers: Handlers) {
    this.#port = port
    port.on('message', (message) => this.#take(message as Message, handlers))
  }

  ask<T>(method: string, params: unknown, transfer: ArrayBuffer[] = []): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#port.postMessage({ kind: 'ask', id, method, params } satisfies Message, transfer)
    })
  }

  /** The other end is gone: whoever waits is told why. */
  end(why: Error): void {
    this.#ended ??= why
    for (const { reject } of this.#waiting.values()) reject(why)
    this.#waiting.clear()
  }

  #take(message: Message, handlers: Handlers): void {
    if (message.kind === 'ask') return void this.#answer(message, handlers)
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (message.kind === 'answer') waiting?.resolve(message.value as never)
    else waiting?.reject(new GodwitError(message.failure))
  }

  async #answer({ id, method, params }: Message & { kind: 'ask' }, handlers: Handlers): Promise<void> {
    try {
      const handler = handlers[method]
      if (handler === undefined) throw new Error(`no handler of ${method}`)
      const { value, transfer = [] } = await handler(params as never)
      this.#port.postMessage({ kind: 'answer', id, value } satisfies Message, transfer)
    } catch (error) {
      this.#port.postMessage({ kind: 'failure', id, failure: failureOf(error) } satisfies Message)
    }
  }
}

/** Bytes in a buffer of their own, which can be handed over. */
export function own(bytes: Uint8Array): { bytes: Uint8Array; transfer: ArrayBuffer[] } {
  const copy = new Uint8Array(bytes)
  return { bytes: copy, transfer: [copy.buffer] }
}

/** A thread of the gateway as the peer has it: asked now and then whether it is still there, and ended when it is not. */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { GodwitError } from '../../protocols/errors.ts'
import { GATEWAY_SILENCE_MS } from '../../protocols/limits.ts'
import { type Handlers, Link } from './link.ts'

/** The thread beside this file, by type stripping or as emitted. */
const THREAD = new URL(`./thread${extname(import.meta.filename)}`, import.meta.url)
/** webtorrent needs 30 MiB, the hashes of 400,000 pieces as many. What lies in buffers is bounded elsewhere. */
const HEAP_MIB = 192
/** Asked in GATEWAY_SILENCE_MS. */
const PINGS_MAX = 4

export class GatewayThread {
  readonly link: Link
  /** Ends once the thread is gone, with why. */
  readonly ended: Promise<Error>
  readonly #worker: Worker
  readonly #pings: NodeJS.Timeout
  #end: (why: Error) => void

  constructor(handlers: Handlers) {
    this.#worker = new Worker(THREAD, { resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } })
    this.link = new Link(this.#worker, handlers)
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.ended = promise
    this.#end = (why) => {
      clearInterval(this.#pings)
      this.link.end(why)
      resolve(why)
    }
    this.#worker.on('error', (error: Error) => this.#end(broken(error.message)))
    this.#worker.on('exit', () => this.#end(broken('it ended by itself')))
    // Turns of our own loop are counted, not time: one that stands still hears no answers either.
    let unanswered = 0
    this.#pings = setInterval(() => {
      if (++unanswered > PINGS_MAX) return void this.end(broken('it hangs'))
      void this.link.ask('ping', undefined).then(
        () => (unanswered = 0),
        () => {},
      )
    }, GATEWAY_SILENCE_MS / PINGS_MAX)
    this.#pings.unref()
  }

  async end(why: Error): Promise<void> {
    this.#end(why)
    await this.#worker.terminate()
  }
}

/** Fed by strangers, so it is no bug of whoever asked; its text may be theirs. */
const broken = (why: string): GodwitError =>
  new GodwitError({
    code: 'SOURCE_REFUSED',
    source: 'the thread that talks to others',
    why: why.slice(0, 300),
  })

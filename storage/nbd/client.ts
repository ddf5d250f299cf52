/**
 * Reads an NBD export over a unix socket: content, and what its metadata contexts say of it. The protocol is
 * negotiation.ts and replies.ts; here are the socket, the deadlines, and the bound on what is asked for at once.
 */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { failureOf, GodwitError, type Failure } from '../../protocols/errors.ts'
import { type Done, failed } from '../../protocols/outcome.ts'
import { asked } from '../images/asked.ts'
import type { Extent } from '../images/image-reader.ts'
import { Intake } from './intake.ts'
import { type Agreed, negotiate, type Wanted } from './negotiation.ts'
import { admit, replies, type Request, type Run, type Transmission } from './replies.ts'
import { COMMAND, nbdFault, type Parser, requestFrame } from './wire.ts'

export type NbdExport = {
  readonly bytes: number
  /** Whether the server has this one of the contexts that it was asked for. */
  has(context: string): boolean
  /** Fills `into` with what the disk holds from `position` on; it is not to be touched meanwhile. */
  read(position: number, into: Uint8Array): Promise<void>
  /** Tells what a context says of the whole disk, in order. */
  runs(context: string, each: (run: Extent & { readonly flags: number }) => void): Promise<void>
  close(): Promise<void>
}

/** A server that is there greets and answers four questions at once; qemu-nbd opens a large qcow2 before that. */
const OPEN_MS = 15_000
/** One read of a disk that is worn out; past it something is wrong for good. */
const ANSWER_MS = 60_000
/** To hang up in order; past it the socket is closed anyway. */
const CLOSE_MS = 1_000
/** Asked for and not here: eight jobs of ingest, which keep a disk busy while workers hash. */
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
/** A status costs its server a walk over tables: 1 GiB at a time ends well within ANSWER_MS. */
const STATUS_SPAN_BYTES = 1024 ** 3
/** One read of the socket. */
const INTAKE_BYTES = 256 * 1024

/**
 * Connects and negotiates.
 *
 * @throws GodwitError TIMEOUT, or IO when the server refuses or does not keep to the protocol; what connect(2) says,
 * with its code, when nobody listens.
 */
export async function connectNbd(wanted: Wanted & { readonly socketPath: string }): Promise<NbdExport> {
  const connection = new Connection(wanted)
  try {
    return { ...(await connection.opened), ...operations(connection, wanted.at) }
  } catch (error) {
    await connection.close()
    throw error
  }
}

function operations(connection: Connection, at: string): Omit<NbdExport, 'bytes'> {
  const has = (context: string): boolean => [...connection.agreed.contexts.values()].includes(context)
  return {
    has,
    async read(position, into) {
      const { readBytesMax } = connection.agreed
      const parts = Array.from({ length: Math.ceil(into.length / readBytesMax) }, (_, i) =>
        into.subarray(i * readBytesMax, (i + 1) * readBytesMax),
      )
      await Promise.all(
        parts.map((part, i) =>
          asked<void>((done) =>
            connection.ask({ kind: 'read', position: position + i * readBytesMax, into: part, done }),
          ),
        ),
      )
    },
    async runs(context, each) {
      if (!has(context)) throw nbdFault(at, `it does not provide ${context}`)
      const { bytes } = connection.agreed
      for (let position = 0; position < bytes;) {
        const length = Math.min(STATUS_SPAN_BYTES, bytes - position)
        const told = await asked<ReadonlyMap<string, readonly Run[]>>((done) =>
          connection.ask({ kind: 'status', position, length, done }),
        )
        for (const run of told.get(context) ?? []) {
          each({ start: position, ...run })
          position += run.length
        }
      }
    },
    close: () => connection.close(),
  }
}

class Connection {
  readonly opened: Promise<{ readonly bytes: number }>
  readonly #at: string
  readonly #socket: Socket
  readonly #pending: Transmission['pending'] = new Map()
  /** Beyond IN_FLIGHT_BYTES_MAX; those who ask bound it. */
  readonly #waiting: Request[] = []
  #agreed: Agreed | undefined
  #inFlightBytes = 0
  #cookie = 0n
  /** Why nothing more is heard. */
  #over: Failure | undefined

  constructor(wanted: Wanted & { readonly socketPath: string }) {
    this.#at = wanted.at
    const { promise, resolve, reject } = Promise.withResolvers<{ bytes: number }>()
    this.opened = promise
    const intake = new Intake(
      this.#parser(wanted, ({ bytes }) => {
        clearTimeout(timer)
        resolve({ bytes })
      }),
    )
    const timer = setTimeout(
      () => this.#end({ code: 'TIMEOUT', what: `the NBD handshake with ${wanted.at}`, afterMs: OPEN_MS }),
      OPEN_MS,
    )
    this.#socket = connect({
      path: wanted.socketPath,
      onread: {
        buffer: Buffer.allocUnsafeSlow(INTAKE_BYTES),
        callback: (count, buffer) => this.#hear(intake, buffer.subarray(0, count)),
      },
    })
    // What connect(2) says; later ones change nothing here, and close the socket.
    this.#socket.on('error', reject)
    this.#socket.on('close', () => {
      clearTimeout(timer)
      this.#end(nbdFault(wanted.at, 'the server hung up').failure)
      if (this.#over !== undefined) reject(new GodwitError(this.#over))
    })
  }

  get agreed(): Agreed {
    if (this.#agreed === undefined) throw new Error('nothing is agreed on yet')
    return this.#agreed
  }

  ask(request: Request): void {
    if (this.#over !== undefined) return request.done(failed(this.#over))
    const length = lengthOf(request)
    if (request.position < 0 || length < 1 || request.position + length > this.agreed.bytes)
      throw new Error(`no ${length} bytes at ${request.position} in a disk of ${this.agreed.bytes}`)
    this.#waiting.push(request)
    this.#pump()
  }

  /** In order when all has been answered; else at once, which fails what has not. */
  async close(): Promise<void> {
    if (this.#socket.destroyed) return
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()))
    if (this.#agreed === undefined || this.#pending.size > 0) this.#socket.destroy()
    else this.#socket.end(requestFrame(COMMAND.DISCONNECT, this.#cookie++, 0, 0))
    const late = new AbortController()
    await Promise.race([closed, sleep(CLOSE_MS, undefined, { signal: late.signal }).catch(() => {})])
    late.abort()
    this.#socket.destroy()
    await closed
  }

  *#parser(wanted: Wanted, opened: (agreed: Agreed) => void): Parser<never> {
    const agreed = yield* negotiate(wanted, (bytes) => void this.#socket.write(bytes))
    this.#agreed = agreed
    opened(agreed)
    return yield* replies({ at: wanted.at, agreed, pending: this.#pending })
  }

  #hear(intake: Intake, data: Uint8Array): boolean {
    // Bytes that were read before the socket was destroyed may still be handed over.
    if (this.#over !== undefined) return false
    try {
      intake.take(data)
    } catch (error) {
      this.#end(failureOf(error))
    }
    return this.#over === undefined
  }

  #pump(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const bytes = next.kind === 'read' ? next.into.length : 0
      if (this.#pending.size > 0 && this.#inFlightBytes + bytes > IN_FLIGHT_BYTES_MAX) return
      this.#waiting.shift()
      this.#send(next, bytes)
    }
  }

  #send(request: Request, bytes: number): void {
    const cookie = this.#cookie++
    const what = `${request.kind} of ${this.#at} at ${request.position}`
    // One answer that does not come ends the connection: the others are of the same disk.
    const timer = setTimeout(() => this.#end({ code: 'TIMEOUT', what, afterMs: ANSWER_MS }), ANSWER_MS)
    this.#inFlightBytes += bytes
    const answered = (): void => {
      clearTimeout(timer)
      this.#inFlightBytes -= bytes
      if (this.#over === undefined) this.#pump()
    }
    admit(this.#pending, cookie, afterwards(request, answered))
    const command = request.kind === 'read' ? COMMAND.READ : COMMAND.BLOCK_STATUS
    this.#socket.write(requestFrame(command, cookie, request.position, lengthOf(request)))
  }

  #end(why: Failure): void {
    if (this.#over !== undefined) return
    this.#over = why
    this.#socket.destroy()
    const left = [...[...this.#pending.values()].map(({ request }) => request), ...this.#waiting]
    this.#pending.clear()
    this.#waiting.length = 0
    for (const { done } of left) done(failed(why))
  }
}

const lengthOf = (request: Request): number =>
  request.kind === 'read' ? request.into.length : request.length

/** The request, with `then` called before its own `done`. */
function afterwards(request: Request, then: () => void): Request {
  const both =
    <T>(done: Done<T>): Done<T> =>
    (outcome) => {
      then()
      done(outcome)
    }
  return request.kind === 'read'
    ? { ...request, done: both(request.done) }
    : { ...request, done: both(request.done) }
}

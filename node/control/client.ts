/** A command's end of the control socket: bounded in time, and every trouble is one of errors.ts. */
import { connect, type Socket } from 'node:net'
import { type Failure, GodwitError } from '../../protocols/errors.ts'
import { failed, type Outcome } from '../../protocols/outcome.ts'
import { ANSWER_BYTES_MAX, CONTROL_MAJOR, type Hello, lines, parseLine, type Request } from './protocol.ts'

export type Answered = { readonly value: unknown; readonly asOf: string }

export type ControlClient = {
  readonly hello: Hello
  /** Ends with TIMEOUT after `timeoutMs`, with DAEMON_UNREACHABLE when the connection is lost. */
  ask(method: string, params: unknown, timeoutMs: number): Promise<Outcome<Answered>>
  close(): void
}

/** A local socket answers at once or not at all; five seconds is what a machine under load may take. */
const CONNECT_MS_MAX = 5_000

type Waiting = { end(outcome: Outcome<Answered>): void; readonly timer: NodeJS.Timeout }

export function connectControl(path: string, version: string): Promise<Outcome<ControlClient>> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const waiting = new Map<number, Waiting>()
    let lost: Failure = { code: 'DAEMON_UNREACHABLE', socket: path }
    let greeted = false
    const end = (failure: Failure): void => {
      clearTimeout(timer)
      socket.destroy()
      for (const [, each] of waiting) each.end(failed(failure))
      if (!greeted) resolve(failed(failure))
    }
    const timer = setTimeout(() => end(lost), CONNECT_MS_MAX)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const denied = error.code === 'EACCES' || error.code === 'EPERM'
      if (denied)
        lost = { code: 'IO', path, why: 'permission denied; run as root or as a member of its group' }
      end(lost)
    })
    socket.on('close', () => end(lost))
    const hear = (text: string): void => {
      const said = parseLine(text)
      const hello = said?.['hello'] as Hello | undefined
      if (said === undefined) return end({ code: 'FRAME_INVALID', at: 'control', expected: 'a JSON object' })
      if (hello !== undefined) {
        clearTimeout(timer)
        if (hello.protocol !== CONTROL_MAJOR) {
          return end({
            code: 'UNSUPPORTED',
            what: `control protocol ${hello.protocol} of godwit ${hello.version}`,
          })
        }
        greeted = true
        return resolve({ ok: true, value: client(socket, hello, waiting, () => lost) })
      }
      // What is said to nobody in particular is said to the connection: it is refused as a whole.
      if (said['id'] === 0 && said['ok'] === false) {
        lost = said['failure'] as Failure
        return end(lost)
      }
      const asked = waiting.get(Number(said['id']))
      if (asked === undefined) return
      if (said['ok'] === true) {
        asked.end({ ok: true, value: { value: said['value'], asOf: String(said['asOf']) } })
      } else {
        asked.end(failed(said['failure'] as Failure))
      }
    }
    const tooLong = (): void =>
      end({ code: 'FRAME_TOO_LARGE', bytes: ANSWER_BYTES_MAX + 1, bytesMax: ANSWER_BYTES_MAX })
    socket.on('data', lines(ANSWER_BYTES_MAX, hear, tooLong))
    socket.on('connect', () =>
      socket.write(`${JSON.stringify({ hello: { version, protocol: CONTROL_MAJOR } })}\n`),
    )
  })
}

function client(
  socket: Socket,
  hello: Hello,
  waiting: Map<number, Waiting>,
  lost: () => Failure,
): ControlClient {
  let last = 0
  return {
    hello,
    close: () => void socket.destroy(),
    ask(method, params, timeoutMs) {
      if (socket.destroyed) return Promise.resolve(failed(lost()))
      const id = ++last
      return new Promise((resolve) => {
        const finish = (outcome: Outcome<Answered>): void => {
          clearTimeout(timer)
          waiting.delete(id)
          resolve(outcome)
        }
        const timer = setTimeout(
          () => finish(failed({ code: 'TIMEOUT', what: method, afterMs: timeoutMs })),
          timeoutMs,
        )
        waiting.set(id, { end: finish, timer })
        socket.write(`${JSON.stringify({ id, method, params } satisfies Request)}\n`)
      })
    },
  }
}

/** @throws GodwitError the failure of an outcome. */
export function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value
  throw new GodwitError(outcome.failure)
}

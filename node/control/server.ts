/**
 * The control socket: who may open it (mode 0660) may run this peer. A socket file that a killed peer left behind is
 * taken away; one that answers belongs to a peer that lives.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { type Failure, failureOf, GodwitError } from '../../protocols/errors.ts'
import { type Log } from '../log.ts'
import { answer } from './answer.ts'
import type { Peer } from './peer.ts'
import {
  type Answer,
  ANSWER_BYTES_MAX,
  CLIENTS_MAX,
  CONTROL_MAJOR,
  lines,
  parseLine,
  REQUEST_BYTES_MAX,
  REQUESTS_MAX,
} from './protocol.ts'

export type ControlServer = {
  /** Refuses what is asked from now on; what was asked before is still answered. */
  drain(): void
  close(): Promise<void>
}

type Serving = {
  readonly socket: string
  readonly peer: Peer
  /** What this peer says of itself in its hello. */
  readonly name: string
  readonly version: string
  readonly log: Log
}

/** The socket's owner and group, and nobody else. */
const SOCKET_MODE = 0o660
const OTHERS = 0o117
const PROBE_MS_MAX = 1_000

/** @throws GodwitError DATA_LOCKED when a peer answers on that socket, IO when it cannot be made. */
export async function serveControl(serving: Serving): Promise<ControlServer> {
  const { log, name, socket: path } = serving
  await refuseWhenLive(path)
  const sockets = new Set<Socket>()
  let draining = false
  const server = createServer((socket) => {
    if (sockets.size >= CLIENTS_MAX) {
      socket.on('error', () => {})
      say(socket, { id: 0, ok: false, failure: { code: 'PEER_BUSY', peer: name, what: 'control clients' } })
      socket.destroySoon()
      return
    }
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serve(socket, serving, () => draining)
  })
  await listen(server, path)
  log.debug({ socket: path }, 'control socket is open')
  return {
    drain: () => {
      draining = true
    },
    close: () =>
      new Promise((resolve) => {
        draining = true
        server.close(() => resolve())
        for (const socket of sockets) socket.destroySoon()
      }),
  }
}

function serve(socket: Socket, serving: Serving, draining: () => boolean): void {
  const { log, name, peer, version } = serving
  let inHand = 0
  const refuse = (id: number, failure: Failure): void => say(socket, { id, ok: false, failure })
  const take = (text: string): void => {
    const said = parseLine(text)
    if (said === undefined) return refuse(0, { code: 'USAGE', why: 'a line that is no JSON object' })
    const { hello } = said
    if (hello !== undefined) {
      const { protocol } = { ...hello } as { protocol?: unknown }
      if (protocol === CONTROL_MAJOR) return
      refuse(0, { code: 'UNSUPPORTED', what: `control protocol ${JSON.stringify(protocol)?.slice(0, 16)}` })
      return socket.destroySoon()
    }
    const id = Number.isSafeInteger(said['id']) ? Number(said['id']) : 0
    if (draining()) return refuse(id, { code: 'STOPPING', peer: name })
    if (inHand >= REQUESTS_MAX) return refuse(id, { code: 'PEER_BUSY', peer: name, what: 'requests' })
    const method = typeof said['method'] === 'string' ? said['method'] : ''
    inHand++
    void answer(peer, log, method, said['params']).then((outcome) => {
      inHand--
      const asOf = new Date().toISOString()
      say(socket, outcome.ok ? { id, ok: true, value: outcome.value ?? null, asOf } : { id, ...outcome })
    })
  }
  socket.on(
    'data',
    lines(REQUEST_BYTES_MAX, take, () => {
      refuse(0, { code: 'FRAME_TOO_LARGE', bytes: REQUEST_BYTES_MAX + 1, bytesMax: REQUEST_BYTES_MAX })
      socket.destroySoon()
    }),
  )
  // A client that went away is nobody's failure; its answers go nowhere.
  socket.on('error', () => socket.destroy())
  write(socket, { hello: { version, protocol: CONTROL_MAJOR, peer: name } })
}

const say = (socket: Socket, line: Answer): void => write(socket, line)

function write(socket: Socket, line: object): void {
  if (socket.destroyed || !socket.writable) return
  // A client that asks and does not read costs no more memory than one answer.
  if (socket.writableLength > ANSWER_BYTES_MAX) return void socket.destroy()
  socket.write(`${JSON.stringify(line)}\n`)
}

async function refuseWhenLive(path: string): Promise<void> {
  const live = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    const end = (answers: boolean): void => {
      socket.destroy()
      resolve(answers)
    }
    socket.setTimeout(PROBE_MS_MAX, () => end(true))
    socket.on('connect', () => end(true))
    socket.on('error', () => end(false))
  })
  if (live) throw new GodwitError({ code: 'DATA_LOCKED', folder: dirname(path) })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown): void => reject(new GodwitError(failureOf(error), { cause: error }))
    server.once('error', refuse)
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      rmSync(path, { force: true })
      // The mode is right from the first moment: between bind and chmod anybody could connect.
      const umask = process.umask(OTHERS)
      try {
        server.listen(path, () => {
          server.off('error', refuse)
          resolve()
        })
      } finally {
        process.umask(umask)
      }
      chmodSync(path, SOCKET_MODE)
    } catch (error) {
      refuse(error)
    }
  })
}

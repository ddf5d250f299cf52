/**
 * The status endpoint's listener: read-only, on loopback unless told otherwise, bounded in connections and in time.
 * Health is answered here; the rest is loaded when somebody asks for it: an idle peer does not pay for its page, also
 * when a supervisor looks at it every few seconds.
 */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import type { Peer } from '../control/peer.ts'
import type { Log } from '../log.ts'

export type StatusServer = {
  /** `http://address:port` as it is listened on. */
  readonly address: string
  /** No longer ready; what is asked is still answered. */
  drain(): void
  close(): Promise<void>
}

/** A scrape, a page and a few people: more is a flood. */
const CONNECTIONS_MAX = 256
const REQUEST_MS_MAX = 10_000
const HEADER_BYTES_MAX = 8 * 1024

/** On every answer: what is shown is of now, and is what it says. */
export const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }

type Serving = { readonly address: string; readonly peer: Peer; readonly log: Log }

/** @throws GodwitError ADDRESS_IN_USE, or IO when the address cannot be listened on. */
export async function serveStatus({ address, peer, log }: Serving): Promise<StatusServer> {
  const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d+)$/.exec(address) ?? []
  let draining = false
  let loading: Promise<RequestListener> | undefined
  const load = (): Promise<RequestListener> => {
    loading ??= import('./app.ts').then(({ listener }) => listener({ peer, log }))
    return loading
  }
  const loopback = isLoopback(host)
  const server = createServer(
    { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_MS_MAX },
    (req, res) => {
      // A page of another site may have its name point at loopback; the name it asks by gives it away.
      if (loopback && !isLoopback(hostOf(req))) {
        res.writeHead(421).end()
        return
      }
      if (health(req, res, !draining && peer.ready() ? undefined : `not ready${because(peer)}\n`)) return
      load().then(
        (handle) => handle(req, res),
        (error: unknown) => {
          log.error({ error: String(error) }, 'the status endpoint could not be loaded')
          res.writeHead(500).end()
        },
      )
    },
  )
  server.maxConnections = CONNECTIONS_MAX
  server.headersTimeout = REQUEST_MS_MAX
  const bound = await listen(server, host, Number(port), address)
  return {
    address: `http://${isIP(host) === 6 ? `[${host}]` : host}:${bound.port}`,
    drain: () => {
      draining = true
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Answers /healthz (the process answers) and /readyz (the peer takes part, and does not drain); false for the rest. */
function health({ method, url }: IncomingMessage, res: ServerResponse, unready: string | undefined): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const path = url?.replace(/\?.*/, '')
  if (path !== '/healthz' && path !== '/readyz') return false
  const readiness = unready === undefined ? ([200, 'ready\n'] as const) : ([503, unready] as const)
  const [status, text] = path === '/healthz' ? [200, 'ok\n'] : readiness
  res.writeHead(status, { ...HEADERS, 'content-type': 'text/plain; charset=UTF-8' }).end(text)
  return true
}

/** What will not pass by itself is said. */
function because(peer: Peer): string {
  const why = peer.unready?.()
  return why === undefined ? '' : `: ${why}`
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.[\d.]+$/.test(host)

const hostOf = ({ headers }: IncomingMessage): string =>
  (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')

function listen(server: Server, host: string, port: number, address: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const failure =
        error.code === 'EADDRINUSE'
          ? { code: 'ADDRESS_IN_USE' as const, address }
          : { ...failureOf(error), path: address }
      reject(new GodwitError(failure, { cause: error }))
    })
    server.listen(port, host, () => resolve(server.address() as AddressInfo))
  })
}

/**
 * Sockets for bulk bytes, beside libp2p: TLS 1.3 by a key that one peer gave the other over libp2p
 * (docs/decisions/0012-bulk-sockets.md). Each carries one channel.
 *
 *   asking   ask ──ticket──▶ dial ──handshake──▶ open
 *             └── refused ─────┴── no way in ──▶ by streams, for a while
 *   giving   ticket given ──handshake by its key──▶ open
 *             └── used, or BULK_TICKET_MS over ──▶ gone
 *
 * Promises: who has no key gets no further than the first message of a handshake; a socket ends with the admission of its
 * peer, and with the last libp2p connection to it.
 */
import { type AddressInfo, isIPv6, type Socket, type SocketConstructorOpts } from 'node:net'
import { connect, type ConnectionOptions, createServer, type Server, type TLSSocket } from 'node:tls'
import { type BulkAnswer, PORTS_MAX } from '../bulk/messages.ts'
import type { PeerId } from '../ids.ts'
import {
  BULK_DIAL_MS,
  BULK_HANDSHAKE_MS,
  BULK_HANDSHAKES_MAX,
  BULK_HANDSHAKES_PER_ADDRESS_MAX,
  INBOUND_STREAMS_MAX,
} from '../limits.ts'
import type { Channel } from '../transport.ts'
import type { Shaper } from './shaper.ts'
import { AHEAD_BYTES_MAX, channelOnSocket, Inlet } from './socket-channel.ts'
import { type Ticket, Tickets } from './tickets.ts'

/** The one suite: its hash is that of external keys, and AES has instructions wherever guests run. */
const SUITE = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
  highWaterMark: AHEAD_BYTES_MAX,
} as const
/** One record of TLS. */
const READ_BYTES = 16 * 1024
/** Beside libp2p's pings: for the moment in which a socket outlives the last connection. */
const KEEP_ALIVE_MS = 10_000
/** A peer at which no socket gets in is not tried for this long: at first, and at most. */
const AGAIN_MS_MIN = 10_000
const AGAIN_MS_MAX = 5 * 60_000

type Around = {
  readonly shaper: Shaper
  admits(peer: PeerId): boolean
  blame(peer: PeerId, why: string): void
  /** A channel that another peer opened. */
  opened(peer: PeerId, protocol: string, channel: Channel): void
}

export class BulkSockets {
  readonly #log: (line: string) => void
  readonly #servers: Server[] = []
  readonly #tickets = new Tickets()
  /** The ticket of each handshake. */
  readonly #taken = new WeakMap<TLSSocket, Ticket>()
  /** Handshakes under way: the address of each, by address and port. */
  readonly #greeted = new Map<string, string>()
  readonly #sockets = new Map<PeerId, Set<TLSSocket>>()
  readonly #refusals = new Map<PeerId, { count: number; untilMs: number }>()
  #around: Around | undefined

  /** Multiaddrs to listen on; none and there are no sockets, neither in nor out. @throws what `listen` throws. */
  static async open(listen: readonly string[], log: (line: string) => void): Promise<BulkSockets> {
    const sockets = new BulkSockets(log)
    try {
      for (const address of listen.slice(0, PORTS_MAX)) await sockets.#listen(address)
    } catch (error) {
      await sockets.close()
      throw error
    }
    return sockets
  }

  constructor(log: (line: string) => void) {
    this.#log = log
  }

  start(around: Around): void {
    this.#around = around
  }

  async close(): Promise<void> {
    for (const peer of this.#sockets.keys()) this.drop(peer)
    await Promise.all(
      this.#servers.splice(0).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    )
  }

  /** Whether others can be told to come; who cannot give does not ask either: one switch for both. */
  get on(): boolean {
    return this.#servers.length > 0
  }

  /** What a peer needs to open one channel. Undefined when it has asked too often, or has as many as it may have. */
  give(peer: PeerId, protocol: string): BulkAnswer | undefined {
    if ((this.#sockets.get(peer)?.size ?? 0) >= INBOUND_STREAMS_MAX) return undefined
    const ticket = this.#tickets.give(peer, protocol)
    if (ticket === undefined) return undefined
    const ports = [...new Set(this.#servers.map((server) => (server.address() as AddressInfo).port))]
    return { ports, identity: ticket.identity, key: ticket.key }
  }

  /** False for a while after a peer could not be reached, or had no ticket to give. */
  mayTry(peer: PeerId): boolean {
    return this.on && performance.now() >= (this.#refusals.get(peer)?.untilMs ?? 0)
  }

  refused(peer: PeerId, why: string): void {
    const count = (this.#refusals.get(peer)?.count ?? 0) + 1
    const forMs = Math.min(AGAIN_MS_MAX, AGAIN_MS_MIN * 2 ** (count - 1))
    this.#refusals.set(peer, { count, untilMs: performance.now() + forMs })
    if (count === 1) this.#log(`${peer}: bulk goes over libp2p, ${why}`)
  }

  /** The channel that a ticket stands for, or undefined when there is no way in. */
  async dial(peer: PeerId, host: string, { ports, identity, key }: BulkAnswer): Promise<Channel | undefined> {
    const untilMs = performance.now() + BULK_DIAL_MS
    for (const port of ports) {
      const inlet = new Inlet()
      // node:tls hands this on to its socket; its types do not know.
      const reading: Pick<SocketConstructorOpts, 'onread'> = {
        onread: {
          buffer: Buffer.allocUnsafeSlow(READ_BYTES),
          callback: (bytes, buffer) => inlet.push(buffer.subarray(0, bytes)),
        },
      }
      const options: ConnectionOptions = {
        ...SUITE,
        host,
        port,
        pskCallback: () => ({ identity, psk: key }),
        // The key is the proof.
        checkServerIdentity: () => undefined,
      }
      const socket = connect({ ...options, ...reading })
      const leftMs = untilMs - performance.now()
      if (!(await connected(socket, leftMs))) continue
      if (this.#around?.admits(peer) !== true) {
        socket.destroy()
        return undefined
      }
      this.#refusals.delete(peer)
      return this.#channel(socket, peer, inlet)
    }
    return undefined
  }

  /** Ends what there is with a peer. */
  drop(peer: PeerId): void {
    this.#tickets.forget(peer)
    for (const socket of this.#sockets.get(peer) ?? []) socket.destroy()
  }

  async #listen(address: string): Promise<void> {
    const [, host = '', port = ''] = /^\/(?:ip[46]|dns[46]?)\/([^/]+)\/tcp\/(\d+)/.exec(address) ?? []
    try {
      await this.#serve(host, Number(port))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      // Tickets say which.
      this.#log(`bulk: port ${port} is in use, another is taken`)
      await this.#serve(host, 0)
    }
  }

  #serve(host: string, port: number): Promise<void> {
    const server = createServer({
      ...SUITE,
      handshakeTimeout: BULK_HANDSHAKE_MS,
      pskCallback: (socket, identity) => {
        const ticket = this.#tickets.take(identity)
        if (ticket !== undefined) this.#taken.set(socket, ticket)
        return ticket?.key ?? null
      },
    })
    server.on('connection', (socket: Socket) => this.#greet(socket))
    server.on('tlsClientError', (_, socket) => socket.destroy())
    server.on('secureConnection', (socket) => this.#accept(socket))
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, ipv6Only: isIPv6(host) }, () => {
        server.off('error', reject)
        server.on('error', (error) => this.#log(`bulk: ${error.message}`))
        this.#servers.push(server)
        resolve()
      })
    })
  }

  /** Handshakes under way are bounded, in all and by address: a stranger can have no more than those. */
  #greet(socket: Socket): void {
    const { remoteAddress: address = '' } = socket
    const own = [...this.#greeted.values()].filter((each) => each === address).length
    if (this.#greeted.size >= BULK_HANDSHAKES_MAX || own >= BULK_HANDSHAKES_PER_ADDRESS_MAX)
      return void socket.destroy()
    const end = endOf(socket)
    this.#greeted.set(end, address)
    socket.once('close', () => this.#greeted.delete(end))
  }

  #accept(socket: TLSSocket): void {
    this.#greeted.delete(endOf(socket))
    const ticket = this.#taken.get(socket)
    // A session of an earlier handshake, taken up again, had no ticket of its own.
    if (ticket === undefined || this.#around?.admits(ticket.peer) !== true) return void socket.destroy()
    this.#around.opened(ticket.peer, ticket.protocol, this.#channel(socket, ticket.peer))
  }

  #channel(socket: TLSSocket, peer: PeerId, inlet?: Inlet): Channel {
    const sockets = this.#sockets.get(peer) ?? new Set()
    this.#sockets.set(peer, sockets.add(socket))
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.on('error', () => {})
    socket.once('close', () => {
      sockets.delete(socket)
      if (sockets.size === 0 && this.#sockets.get(peer) === sockets) this.#sockets.delete(peer)
    })
    const { shaper } = this.#around as Around
    const blame = (why: string): void => this.#around?.blame(peer, why)
    return channelOnSocket(socket, { peer, pace: shaper.pace(peer), blame }, inlet)
  }
}

const endOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`

/** False, and nothing is left of it, when the handshake is not over in time. */
function connected(socket: TLSSocket, patienceMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (is: boolean): void => {
      clearTimeout(timer)
      if (!is) socket.destroy()
      resolve(is)
    }
    const timer = setTimeout(() => settle(false), Math.max(0, patienceMs))
    socket.once('secureConnect', () => settle(true))
    socket.once('close', () => settle(false))
    socket.on('error', () => settle(false))
  })
}

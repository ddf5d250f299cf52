/**
 * libp2p's AutoNAT and DCUtR, fitted to a mesh where everybody is connected already, and TCP dials that a NAT can be
 * opened with. What is changed, and why, stands at each part: docs/decisions/0009-nat.md.
 */
import { createServer, type AddressInfo } from 'node:net'
import { autoNAT } from '@libp2p/autonat'
import { dcutr } from '@libp2p/dcutr'
import type { Connection, IdentifyResult, Transport } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import type { Multiaddr } from '@multiformats/multiaddr'
import { DIAL_MS_MAX } from '../limits.ts'

type Components = Parameters<ReturnType<typeof autoNAT>>[0] & Parameters<ReturnType<typeof dcutr>>[0]
type TcpComponents = Parameters<ReturnType<typeof tcp>>[0]
type TcpDial = Transport['dial']
type DialOptions = Parameters<TcpDial>[1]

/** Ways out of the own NAT that are told to who wants through: one, or two with IPv6, and as many from before a change. */
const OBSERVED_MAX = 4
const HOLE_TRIES = 2

/**
 * TCP whose dials to elsewhere all leave by one port, where that is possible, so that the NAT gives them one outer port:
 * the one that peers see, and that others can dial while this peer dials them. A second connection with the same end
 * cannot have the port, nor one right after it; they leave by any, as usual.
 */
export class OnePort {
  #port: number | undefined
  readonly #made = new WeakSet<Connection>()
  /** As peers saw this one, the newest last. */
  #observed: Multiaddr[] = []

  static async open(): Promise<OnePort> {
    const one = new OnePort()
    one.#port = await freePort().catch(() => undefined)
    return one
  }

  readonly transport = (components: TcpComponents): Transport => {
    const transport = tcp()(components)
    const dial: TcpDial = transport.dial.bind(transport)
    transport.dial = (address, options) => this.#dial(dial, address, serving(options))
    return transport
  }

  /** Told what others see of a connection. */
  saw({ connection, observedAddr }: IdentifyResult): void {
    if (observedAddr === undefined || !this.#made.has(connection)) return
    const others = this.#observed.filter((each) => !each.equals(observedAddr))
    this.#observed = [...others, observedAddr].slice(-OBSERVED_MAX)
  }

  /** Where this peer's own dials come from, as seen from outside. */
  observed(): Multiaddr[] {
    return this.#observed
  }

  async #dial(dial: TcpDial, address: Multiaddr, options: DialOptions): Promise<Connection> {
    if (this.#port === undefined || /^\/ip(4\/127\.|6\/)/.test(address.toString()))
      return dial(address, options)
    try {
      // @libp2p/tcp hands its options to net.connect.
      const connection = await dial(address, { ...options, localPort: this.#port } as typeof options)
      this.#made.add(connection)
      return connection
    } catch (error) {
      if (!/EADDRNOTAVAIL|EADDRINUSE/.test(String(error))) throw error
      return dial(address, options)
    }
  }
}

/** Of two ends that dial each other one is the server, to yamux as well, which goes by who dialled. */
function serving(options: DialOptions): DialOptions {
  const { upgrader } = options
  if ((options as { initiator?: boolean }).initiator !== false) return options
  const upgradeOutbound: typeof upgrader.upgradeOutbound = (connection, ...rest) =>
    upgrader.upgradeOutbound(Object.assign(connection, { direction: 'inbound' }), ...(rest as [never]))
  return { ...options, upgrader: but(upgrader, { upgradeOutbound }) }
}

/** Nobody listens on it later: a socket that listens would keep dials from sharing it. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/**
 * AutoNAT confirms public addresses. It may not walk the DHT for peers to ask, every minute, until all are confirmed:
 * those that this peer connects with anyway are enough. And its dial must be one: asked by a peer that it is connected
 * with, which is every peer that asks, libp2p would hand it that connection, and it would close it.
 */
export const boundedAutoNat = (components: Components): unknown =>
  autoNAT({ timeout: DIAL_MS_MAX, maxInboundStreams: 1, maxOutboundStreams: 2, maxMessageSize: 4_096 })({
    ...pick(components),
    connectionManager: but(components.connectionManager, {
      openConnection: (target, options) =>
        components.connectionManager.openConnection(target, { ...options, force: true }),
    }),
    randomWalk: {
      // eslint-disable-next-line no-empty-function
      async *walk() {},
    },
  })

/**
 * DCUtR with TCP needs three things that libp2p leaves out: the address that the NAT shows (identify ignores what is
 * observed of TCP, since its dials leave by any port), a dial from that port, and one end that takes the server's part
 * when both dial (the dial queue forgets which). And it may not close the relayed connection under what is said on it;
 * connections.ts does, a little later.
 */
export const holePunching =
  (onePort: OnePort) =>
  (components: Components): unknown => {
    const { addressManager, connectionManager, registrar, transportManager } = components
    // Both may have dialled each other through relays, and one circuit was enough.
    const isDirect = (peer: Connection['remotePeer']): boolean =>
      connectionManager.getConnections(peer).some(({ direct, status }) => direct && status === 'open')
    return dcutr({ timeout: DIAL_MS_MAX, retries: HOLE_TRIES })({
      ...pick(components),
      addressManager: but(addressManager, {
        getAddresses: () => [...onePort.observed(), ...addressManager.getAddresses()],
      }),
      connectionManager: but(connectionManager, {
        openConnection: (target, options) =>
          Array.isArray(target) && options?.priority !== undefined
            ? firstOf(target, options.signal, (address, signal) =>
                transportManager.dial(address, { ...options, signal }),
              )
            : connectionManager.openConnection(target, options),
      }),
      registrar: but(registrar, {
        handle: (protocol, handler, options) => {
          const onStream: typeof handler = (stream, connection) =>
            isDirect(connection.remotePeer)
              ? stream.abort(new Error('there is a direct connection'))
              : handler(stream, unclosed(connection))
          return registrar.handle(protocol, onStream, options)
        },
        register: (protocol, topology, options) => {
          const onConnect: typeof topology.onConnect = (peer, connection) =>
            isDirect(peer) ? undefined : topology.onConnect?.(peer, unclosed(connection))
          return registrar.register(protocol, { ...topology, onConnect }, options)
        },
      }),
    })
  }

/** The first connection of several dials; the others end. The deadline is for dialling: it may not end what came of it. */
async function firstOf(
  addresses: Multiaddr[],
  deadline: AbortSignal | undefined,
  dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>,
): Promise<Connection> {
  const dials = addresses.map((address) => ({ address, end: new AbortController() }))
  const abort = (won?: AbortController): void =>
    dials.forEach(({ end }) => end === won || end.abort(new Error('dialled, or too late')))
  const late = (): void => abort()
  deadline?.addEventListener('abort', late, { once: true })
  try {
    return await Promise.any(
      dials.map(async ({ address, end }) => {
        const connection = await dial(address, end.signal)
        abort(end)
        return connection
      }),
    )
  } finally {
    deadline?.removeEventListener('abort', late)
  }
}

const unclosed = (connection: Connection): Connection => but(connection, { close: () => Promise.resolve() })

/**
 * libp2p tells nobody of a public address on the own interface until AutoNAT has confirmed it, and there may be nobody to
 * ask. It is told at once, and taken back when enough peers say that they cannot dial it.
 */
export const listening = ({ addressManager, transportManager }: Components): { confirm: () => void } => ({
  confirm: () =>
    transportManager
      .getAddrs()
      .forEach((address) => addressManager.confirmObservedAddr(address, { type: 'transport', ttl: 1 })),
})

/** libp2p's components are a proxy that throws for what it does not have; this is what the two above read. */
const pick = (components: Components): Components => ({
  registrar: components.registrar,
  addressManager: components.addressManager,
  transportManager: components.transportManager,
  connectionManager: components.connectionManager,
  peerId: components.peerId,
  logger: components.logger,
  peerStore: components.peerStore,
  randomWalk: components.randomWalk,
  events: components.events,
})

/** The same object with some methods of ours. */
function but<T extends object>(whole: T, ours: Partial<T>): T {
  return new Proxy(whole, {
    get(target, name) {
      if (name in ours) return ours[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

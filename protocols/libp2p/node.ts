/** Opens one libp2p node and the three ports on it: transport, broadcast, directory. */
import { identify } from '@libp2p/identify'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Broadcast } from '../broadcast.ts'
import type { Directory } from '../directory.ts'
import { GodwitError } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import type { Transport } from '../transport.ts'
import { gossip, GossipBroadcast } from './broadcast.ts'
import { BulkSockets } from './bulk-sockets.ts'
import { kademlia, KadDirectory } from './directory.ts'
import { Gate } from './gate.ts'
import { loadPrivateKey, peerIdOf } from './identity.ts'
import { boundedAutoNat, holePunching, listening, OnePort } from './nat.ts'
import { Reach } from './reach.ts'
import { Relays, relayServer, relayTransport } from './relay.ts'
import { connectionManager, stack } from './stack.ts'
import { Libp2pTransport } from './transport.ts'

export type NetworkConfig = {
  /** Protobuf, as identity.ts makes it. */
  readonly privateKey: Uint8Array
  readonly meshId: string
  /** Multiaddrs to listen on. */
  readonly listen?: readonly string[]
  /** Multiaddrs to listen on for sockets of bulk bytes; none: bulk goes over libp2p only. Any free port unless told. */
  readonly bulkListen?: readonly string[]
  /** Multiaddrs to tell others instead of those that are listened on. */
  readonly announce?: readonly string[]
  /** Whether peers on the same LAN look for each other. Default true. */
  readonly mdns?: boolean
  /** Whether two peers behind NATs try to open them for each other. Default true. */
  readonly holePunching?: boolean
  /** Whom to allow from the start, and where they were last. */
  readonly peers?: ReadonlyMap<PeerId, readonly string[]>
  /** One line per event worth knowing: dials that fail, peers dropped, bad frames. */
  readonly log?: (line: string) => void
}

export type Network = {
  readonly transport: Transport
  readonly broadcast: Broadcast
  readonly directory: Directory
  close(): Promise<void>
}

const LISTEN = ['/ip4/0.0.0.0/tcp/4710']

/**
 * By default a peer may have one ping under way. kad-dht pings a peer before it enters it, once, when it connects; our
 * own first ping at that moment would keep every peer out of the routing table.
 */
const PINGS = { maxInboundStreams: 8, maxOutboundStreams: 8 }

/** @throws GodwitError ADDRESS_IN_USE, DATA_CORRUPT (the key) or USAGE (an address that is none). */
export async function openNetwork(config: NetworkConfig): Promise<Network> {
  const { listen = LISTEN, announce = [], log = () => {} } = config
  const { bulkListen = listen.map(anyPort) } = config
  const gate = new Gate(peerIdOf(config.privateKey))
  const onePort = await OnePort.open()
  const circuits = relayTransport()
  const sockets = await startedOn(bulkListen, () => BulkSockets.open(bulkListen, log))
  const libp2p = await startedOn(listen, () =>
    createLibp2p({
      ...stack,
      transports: [onePort.transport, circuits.transport],
      privateKey: loadPrivateKey(config.privateKey),
      addresses: { listen: [...listen], announce: [...announce], announceFilter: reachable },
      connectionGater: gate.gater(),
      connectionManager,
      // Each mesh has its own tag: neighbours of another mesh are not even seen.
      peerDiscovery:
        config.mdns === false
          ? []
          : [mdns({ serviceTag: `_godwit-${config.meshId.toLowerCase()}._udp.local` })],
      services: {
        identify: identify(),
        ping: ping(PINGS),
        kad: kademlia,
        gossip: gossip(gate),
        relay: relayServer,
        autonat: boundedAutoNat,
        dcutr: config.holePunching === false ? () => undefined : holePunching(onePort),
        listening,
      },
    }),
  ).catch(async (error: unknown) => {
    await sockets.close()
    throw error
  })
  libp2p.services.listening.confirm()
  libp2p.addEventListener('peer:identify', ({ detail }) => onePort.saw(detail))
  const transport: Libp2pTransport = new Libp2pTransport(libp2p, gate, log, sockets, () =>
    relays.addresses(transport.self),
  )
  const { connections } = transport
  const relays = new Relays({ slots: circuits.slots, connectionsTo: (peer) => connections.to(peer), log })
  const ownAddresses = (): string[] => transport.ownAddresses()
  const reach = new Reach({ transport, connections, relays, ownAddresses })
  const directory = new KadDirectory(libp2p.services.kad, transport.self, gate)
  const blame = (peer: PeerId, why: string): void => transport.blame(peer, why)
  const broadcast = new GossipBroadcast({ gossip: libp2p.services.gossip, gate, blame, log })
  transport.watch((_, up) => {
    if (up) directory.met()
  })
  if (config.peers !== undefined) transport.allow(config.peers)
  return {
    transport,
    broadcast,
    directory,
    async close() {
      reach.close()
      directory.close()
      transport.close()
      await sockets.close()
      // Timers of libp2p's own that stop() leaves (a heartbeat, an address update) run out within a second.
      await libp2p.stop()
    },
  }
}

const anyPort = (address: string): string => address.replace(/\/tcp\/\d+/, '/tcp/0')

/** Says in our words why libp2p could not start. */
export async function startedOn<T>(listen: readonly string[], start: () => Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    const why = String(error)
    if (/EADDRINUSE/.test(why)) throw new GodwitError({ code: 'ADDRESS_IN_USE', address: listen.join(', ') })
    if (/listen|multiaddr/i.test(why))
      throw new GodwitError({
        code: 'USAGE',
        why: `cannot listen on ${listen.join(', ')}: ${why.slice(0, 200)}`,
      })
    throw error
  }
}

/** Loopback is told to others only when there is nothing else, as in tests. */
export function reachable(addresses: Multiaddr[]): Multiaddr[] {
  const elsewhere = addresses.filter((address) => !/^\/(ip4\/127\.|ip6\/::1\/)/.test(address.toString()))
  return elsewhere.length > 0 ? elsewhere : addresses
}

/**
 * webtorrent, tamed: it listens where it is told or nowhere, asks nobody for peers unless told, loads no native code, and takes
 * no more from a stranger than guards.ts lets it. To be opened in a thread of its own (migration/gateway/thread.ts): it
 * hashes where it runs, and its picker takes time for every block.
 */
import { registerHooks } from 'node:module'
import { extname } from 'node:path'
import type WebTorrent from 'webtorrent'
import { GodwitError } from '../../protocols/errors.ts'
import { TORRENT_PEERS_MAX } from '../../protocols/limits.ts'
import type { Listen } from '../torrent/gateway.ts'
import { guard, type WireClass } from './guards.ts'

export type { Store, Torrent, TorrentOptions } from 'webtorrent'
export type Client = WebTorrent
type ClientClass = typeof WebTorrent

const beside = (name: string): string =>
  new URL(`./${name}${extname(import.meta.filename)}`, import.meta.url).href
/** What is loaded for whom instead of what. */
const INSTEAD: Readonly<Record<string, string>> = {
  'webrtc-polyfill': beside('absent'),
  'utp-native': beside('absent'),
  bencode: beside('bencode'),
}

let loaded: Promise<ClientClass> | undefined

/** Once in a thread: modules are loaded once. */
const load = (): Promise<ClientClass> => (loaded ??= loadTamed())

async function loadTamed(): Promise<ClientClass> {
  let wires = ''
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const instead = INSTEAD[specifier]
      if (instead !== undefined) return { url: instead, shortCircuit: true }
      const found = next(specifier, context)
      if (specifier === 'bittorrent-protocol') wires = found.url
      return found
    },
  })
  const { default: client } = await import('webtorrent')
  const protocol = (await import(wires)) as { default: WireClass }
  hooks.deregister()
  guard(protocol.default)
  return client
}

/**
 * A client that listens on `listen`, and nowhere when there is none; `dht` asks the public DHT for peers, from a UDP port on all
 * interfaces. Trackers are asked that a torrent is added with, and no others.
 *
 * @throws GodwitError ADDRESS_IN_USE, IO.
 */
export async function openClient(
  listen: Listen | undefined,
  dht: boolean,
  broken: (error: Error) => void,
): Promise<Client> {
  const Client = await load()
  const client = new Client({
    dht,
    tracker: true,
    lsd: false,
    utPex: listen === undefined,
    natUpnp: false,
    natPmp: false,
    utp: false,
    webSeeds: false,
    maxConns: TORRENT_PEERS_MAX,
    torrentPort: listen ?? { host: '127.0.0.1', port: 0 },
  })
  const { tcpServer } = client._connPool
  tcpServer.maxConnections = TORRENT_PEERS_MAX
  await new Promise<void>((resolve, reject) => {
    client.once('listening', resolve)
    client.once('error', (error: Error) => reject(failure(error, listen)))
  })
  client.removeAllListeners('error')
  client.on('error', broken)
  // It cannot be kept from listening; on loopback, and for one turn of the loop, this is as good.
  if (listen === undefined) await new Promise((resolve) => tcpServer.close(resolve))
  return client
}

const failure = (error: Error, listen: Listen | undefined): Error => {
  if (listen === undefined) return error
  const address = printListen(listen)
  const { code } = error as NodeJS.ErrnoException
  return new GodwitError(
    code === 'EADDRINUSE'
      ? { code: 'ADDRESS_IN_USE', address }
      : { code: 'IO', path: address, why: error.message.slice(0, 300) },
  )
}

export const printListen = ({ host, port }: Listen): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

export const closeClient = (client: Client): Promise<void> =>
  new Promise((resolve) => client.destroy(() => resolve()))

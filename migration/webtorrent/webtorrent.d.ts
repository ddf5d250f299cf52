/** The part of webtorrent 3.0.21 that we use; it brings no types of its own. What begins with _ is internal to it. */
declare module 'webtorrent' {
  import type { EventEmitter } from 'node:events'
  import type { Server } from 'node:net'

  export type ClientOptions = {
    readonly dht: boolean
    readonly tracker: boolean
    readonly lsd: boolean
    readonly utPex: boolean
    readonly natUpnp: boolean
    readonly natPmp: boolean
    readonly utp: boolean
    readonly webSeeds: boolean
    readonly maxConns: number
    /** Handed to net.Server.listen as it is: an address goes along. */
    readonly torrentPort: { readonly host: string; readonly port: number }
  }

  export type Store = {
    readonly chunkLength: number
    get(
      index: number,
      options: { offset?: number; length?: number } | null,
      done: (error: Error | null, content?: Uint8Array) => void,
    ): void
    put(index: number, content: Uint8Array, done: (error: Error | null) => void): void
    close(done: (error: Error | null) => void): void
    destroy(done: (error: Error | null) => void): void
  }

  export type TorrentOptions = {
    readonly preloadedStore: Store
    readonly storeCacheSlots: 0
    readonly skipVerify?: boolean
    readonly deselect?: boolean
    readonly bitfield?: Uint8Array
    readonly announce: readonly string[]
    readonly strategy: 'sequential'
    readonly uploads: number
  }

  export type Wire = {
    readonly peerPieces: { get(index: number): boolean }
  }

  export type Torrent = EventEmitter & {
    readonly infoHash: string
    readonly wires: readonly Wire[]
    readonly received: number
    readonly uploaded: number
    readonly destroyed: boolean
    addPeer(address: string): boolean
    select(from: number, to: number): void
    destroy(options: { destroyStore: boolean }, done: () => void): void
    /** Takes a .torrent with nothing but its info, as another peer sent it. */
    _onMetadata(metadata: unknown): unknown
    _startupBitfield: Uint8Array | undefined
  }

  export type Link = { readonly infoHash: string; readonly announce: readonly string[] }

  export default class WebTorrent extends EventEmitter {
    constructor(options: ClientOptions)
    readonly torrents: readonly Torrent[]
    readonly torrentPort: number
    readonly _connPool: { readonly tcpServer: Server }
    add(torrent: Uint8Array | Link, options: TorrentOptions): Torrent
    destroy(done: (error?: Error) => void): void
  }
}

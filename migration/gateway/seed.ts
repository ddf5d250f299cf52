/**
 * Published images, served to any BitTorrent client straight from the chunk store. One client of webtorrent for each address
 * that something is published on; it closes with the last of them.
 */
import { TORRENT_CACHE_BYTES } from '../../protocols/limits.ts'
import { unpackSync } from '../../storage/images/chunk-content.ts'
import { chunkLength } from '../../storage/images/manifest.ts'
import type { Listen } from '../torrent/gateway.ts'
import { parseMetainfo } from '../torrent/metainfo.ts'
import { type Client, closeClient, openClient, printListen, type Torrent } from '../webtorrent/client.ts'
import type { Link } from './link.ts'
import { openPieceStore, readChunks } from './piece-store.ts'

export type Seeding = {
  readonly image: string
  readonly chunkBytes: number
  readonly torrent: Uint8Array
  readonly listen: Listen
}

export type SeedFigures = {
  readonly infoHash: string
  readonly peers: number
  readonly uploadedBytes: number
}

/** Clients fetch a few pieces of each at once; all of them are friends. */
const UPLOADS = 32

type Open = { readonly client: Promise<Client>; readonly torrents: Map<string, Torrent> }

export class Seeder {
  readonly #link: Link
  readonly #clients = new Map<string, Open>()
  /** Unpacked chunks by image and index, the one used last at the end. */
  readonly #cache = new Map<
    string,
    { readonly content: Promise<Uint8Array | undefined>; readonly bytes: number }
  >()
  #cachedBytes = 0

  constructor(link: Link) {
    this.#link = link
  }

  /** @throws GodwitError ADDRESS_IN_USE, IO. The address is the one that is listened on. */
  async add(seeding: Seeding): Promise<{ address: string }> {
    const { image, chunkBytes, torrent, listen } = seeding
    const { infoHash, bytes, pieceBytes } = parseMetainfo(torrent)
    const open = this.#open(listen)
    try {
      const client = await open.client
      const added = client.add(torrent, {
        preloadedStore: openPieceStore({
          pieceBytes: () => pieceBytes,
          put: () => Promise.reject(new Error('it is whole')),
          read: (start, length) => {
            const wanted = Math.min(length, bytes - start)
            return readChunks({ from: start, length: wanted, chunkBytes }, (index) =>
              this.#chunk(image, index, chunkLength({ bytes, chunkBytes }, index)),
            )
          },
        }),
        storeCacheSlots: 0,
        skipVerify: true,
        announce: [],
        strategy: 'sequential',
        uploads: UPLOADS,
      })
      open.torrents.set(infoHash, added)
      await new Promise<void>((resolve, reject) => {
        added.once('ready', resolve)
        added.once('error', reject)
      })
      // A tracker that does not answer is no reason to end it.
      added.on('error', () => {})
      return { address: printListen({ host: listen.host, port: client.torrentPort }) }
    } catch (error) {
      open.torrents.delete(infoHash)
      await this.#closeUnused()
      throw error
    }
  }

  async remove(infoHash: string): Promise<void> {
    for (const { torrents } of this.#clients.values()) {
      const torrent = torrents.get(infoHash)
      torrents.delete(infoHash)
      if (torrent?.destroyed === false)
        await new Promise<void>((resolve) => torrent.destroy({ destroyStore: false }, resolve))
    }
    await this.#closeUnused()
  }

  figures(): SeedFigures[] {
    const all = [...this.#clients.values()].flatMap(({ torrents }) => [...torrents.entries()])
    return all.map(([infoHash, { wires, uploaded }]) => ({
      infoHash,
      peers: wires.length,
      uploadedBytes: uploaded,
    }))
  }

  #open(listen: Listen): Open {
    const address = printListen(listen)
    const open = this.#clients.get(address) ?? {
      client: openClient(listen, false, (error) => {
        // The thread ends, and is begun anew with all that is published.
        throw error
      }),
      torrents: new Map<string, Torrent>(),
    }
    this.#clients.set(address, open)
    return open
  }

  async #closeUnused(): Promise<void> {
    for (const [address, { client, torrents }] of this.#clients) {
      if (torrents.size > 0) continue
      this.#clients.delete(address)
      await client.then(closeClient, () => {})
    }
  }

  #chunk(image: string, index: number, length: number): Promise<Uint8Array | undefined> {
    const key = `${image}/${index}`
    const found = this.#cache.get(key) ?? { content: this.#read(image, index, length), bytes: length }
    this.#drop(key)
    this.#cache.set(key, found)
    this.#cachedBytes += length
    // What could not be read is tried again.
    found.content.then(
      (content) => content === undefined && this.#drop(key),
      () => this.#drop(key),
    )
    for (const [oldest] of this.#cache)
      if (this.#cachedBytes > TORRENT_CACHE_BYTES) this.#drop(oldest)
      else break
    return found.content
  }

  #drop(key: string): void {
    this.#cachedBytes -= this.#cache.get(key)?.bytes ?? 0
    this.#cache.delete(key)
  }

  async #read(image: string, index: number, length: number): Promise<Uint8Array | undefined> {
    const chunk = await this.#link.ask<{ id: string; frame: Uint8Array } | undefined>('chunk', {
      image,
      index,
    })
    return chunk === undefined ? new Uint8Array(length) : unpackSync(chunk.id, chunk.frame, length)
  }
}

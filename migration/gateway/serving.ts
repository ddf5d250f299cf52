/** All that this peer publishes, in one thread, which is begun anew when it dies: at once, then ever less often. */
import type { Manifest } from '../../storage/images/manifest.ts'
import { parseMetainfo } from '../torrent/metainfo.ts'
import type { Served, Serving as Terms } from '../torrent/gateway.ts'
import { GatewayThread } from './gateway-thread.ts'
import type { Answered } from './link.ts'
import type { SeedFigures, Seeding } from './seed.ts'

type ReadChunk = (manifest: Manifest, index: number) => Promise<Answered>
type Entry = { readonly terms: Terms; address: string; uploadedBytes: number }

const AGAIN_MS_MIN = 1_000
const AGAIN_MS_MAX = 60_000

export class Serving {
  readonly #read: ReadChunk
  readonly #entries = new Map<string, Entry>()
  #thread: GatewayThread | undefined
  #again: NodeJS.Timeout | undefined
  #againMs = AGAIN_MS_MIN
  #closed = false

  constructor(read: ReadChunk) {
    this.#read = read
  }

  async add(terms: Terms): Promise<{ address: string }> {
    const { infoHash } = parseMetainfo(terms.torrent)
    const entry = { terms, address: '', uploadedBytes: 0 }
    this.#entries.set(infoHash, entry)
    try {
      entry.address = await this.#seed(this.#running(), terms)
    } catch (error) {
      this.#entries.delete(infoHash)
      throw error
    }
    return { address: entry.address }
  }

  async remove(infoHash: string): Promise<void> {
    if (!this.#entries.delete(infoHash)) return
    await this.#thread?.link.ask('unseed', infoHash)
    if (this.#entries.size === 0) await this.#stop()
  }

  async figures(): Promise<Served[]> {
    const now = (await this.#thread?.link.ask<SeedFigures[]>('figures', undefined).catch(() => [])) ?? []
    return [...this.#entries].map(([infoHash, { address, uploadedBytes }]) => {
      const found = now.find((each) => each.infoHash === infoHash)
      const bytes = uploadedBytes + (found?.uploadedBytes ?? 0)
      return { infoHash, address, peers: found?.peers ?? 0, uploadedBytes: bytes }
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#again)
    await this.#stop()
  }

  async #stop(): Promise<void> {
    const thread = this.#thread
    this.#thread = undefined
    await thread?.end(new Error('nothing is published'))
  }

  #running(): GatewayThread {
    if (this.#thread !== undefined) return this.#thread
    const images = (image: string): Manifest | undefined =>
      [...this.#entries.values()].find(({ terms }) => terms.manifest.image === image)?.terms.manifest
    const thread = new GatewayThread({
      chunk: ({ image, index }: { image: string; index: number }) => {
        const manifest = images(image)
        if (manifest === undefined) throw new Error('it is not published any more')
        return this.#read(manifest, index)
      },
    })
    this.#thread = thread
    void thread.ended.then(() => {
      if (this.#thread !== thread) return
      this.#thread = undefined
      for (const entry of this.#entries.values()) entry.address = ''
      this.#later()
    })
    return thread
  }

  #later(): void {
    if (this.#closed || this.#entries.size === 0) return
    clearTimeout(this.#again)
    this.#again = setTimeout(() => void this.#begin(), this.#againMs)
    this.#againMs = Math.min(this.#againMs * 2, AGAIN_MS_MAX)
  }

  async #begin(): Promise<void> {
    for (const entry of this.#entries.values()) {
      if (entry.address !== '') continue
      // A port that was taken meanwhile: the others go on, and it is tried again.
      entry.address = await this.#seed(this.#running(), entry.terms).catch(() => '')
    }
    if ([...this.#entries.values()].some(({ address }) => address === '')) this.#later()
  }

  async #seed({ link }: GatewayThread, { manifest, torrent, listen }: Terms): Promise<string> {
    const { image, chunkBytes } = manifest
    const terms: Seeding = { image, chunkBytes, torrent: new Uint8Array(torrent), listen }
    return (await link.ask<{ address: string }>('seed', terms)).address
  }
}

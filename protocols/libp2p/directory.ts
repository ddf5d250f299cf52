/** The directory port over kad-dht's provider records. */
import { hash } from 'node:crypto'
import { kadDHT, passthroughMapper, type KadDHT } from '@libp2p/kad-dht'
import type { Directory } from '../directory.ts'
import type { PeerId } from '../ids.ts'
import { ok, type Done } from '../outcome.ts'
import type { Gate } from './gate.ts'

/** Records are in the memory of peers that restart: what is provided is said again this often. */
const PROVIDE_AGAIN_MS = 10 * 60_000
/** A peer that came up may be the one to ask: what is provided is said again soon after. */
const PROVIDE_AFTER_MEETING_MS = 2_000
const PROVIDE_MS_MAX = 20_000
/** Keys said at once, and at all: a peer with more images is found for the first so many. */
const PROVIDING_MAX = 4
const KEYS_MAX = 4_096
const SHA2_256 = [0x12, 32]

export const kademlia = kadDHT({
  protocol: '/godwit/kad/1',
  clientMode: false,
  // Sites are LANs: private and loopback addresses are what there is to tell.
  peerInfoMapper: passthroughMapper,
  // Alone, or not connected yet: an empty answer, not a wait.
  allowQueryWithZeroPeers: true,
  initialQuerySelfInterval: 1_000,
  // Done here, more often (see PROVIDE_AGAIN_MS).
  reprovide: { interval: 24 * 3_600_000 },
})

type Key = Parameters<KadDHT['provide']>[0]

/** kad-dht reads nothing of a CID but its multihash. */
const keyOf = (key: string): Key =>
  ({
    multihash: { bytes: Buffer.concat([Buffer.from(SHA2_256), hash('sha256', key, 'buffer')]) },
  }) as unknown as Key

export class KadDirectory implements Directory {
  readonly #kad: KadDHT
  readonly #self: PeerId
  readonly #gate: Gate
  readonly #provided = new Set<string>()
  /** Keys that are to be said, oldest first. */
  readonly #due = new Set<string>()
  #providing = 0
  readonly #timer: NodeJS.Timeout
  #soon: NodeJS.Timeout | undefined
  readonly #closing = new AbortController()

  constructor(kad: KadDHT, self: PeerId, gate: Gate) {
    this.#kad = kad
    this.#self = self
    this.#gate = gate
    this.#timer = setInterval(() => this.#provideAll(), PROVIDE_AGAIN_MS)
    this.#timer.unref()
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#soon)
    this.#due.clear()
    this.#closing.abort()
  }

  /** Told when a peer came up. */
  met(): void {
    if (this.#closing.signal.aborted || this.#soon !== undefined) return
    this.#soon = setTimeout(() => {
      this.#soon = undefined
      this.#provideAll()
    }, PROVIDE_AFTER_MEETING_MS)
    this.#soon.unref()
  }

  provide(key: string): void {
    if (this.#provided.size >= KEYS_MAX && !this.#provided.has(key)) return
    this.#provided.add(key)
    this.#due.add(key)
    this.#next()
  }

  withdraw(key: string): void {
    this.#provided.delete(key)
    this.#due.delete(key)
    this.#kad.cancelReprovide(keyOf(key)).catch(() => {})
  }

  find(key: string, limit: number, timeoutMs: number, done: Done<PeerId[]>): void {
    void this.#find(key, limit, timeoutMs).then((found) => done(ok(found)))
  }

  async #find(key: string, limit: number, timeoutMs: number): Promise<PeerId[]> {
    const found = new Set<PeerId>()
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal])
    try {
      for await (const event of this.#kad.findProviders(keyOf(key), { signal })) {
        if (event.name !== 'PROVIDER') continue
        for (const { id } of event.providers) {
          const peer = id.toString()
          if (peer !== this.#self && this.#gate.admits(peer)) found.add(peer)
          if (found.size >= limit) return [...found]
        }
      }
    } catch {
      // Whoever was found in time is the answer.
    }
    return [...found]
  }

  #provideAll(): void {
    for (const key of this.#provided) this.#due.add(key)
    this.#next()
  }

  #next(): void {
    for (const key of this.#due) {
      if (this.#providing >= PROVIDING_MAX) return
      this.#due.delete(key)
      this.#providing++
      void this.#provide(key).finally(() => {
        this.#providing--
        this.#next()
      })
    }
  }

  async #provide(key: string): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(PROVIDE_MS_MAX), this.#closing.signal])
    try {
      const events = this.#kad.provide(keyOf(key), { signal })
      for await (const _ of events) if (signal.aborted) break
    } catch {
      // Said again in time.
    }
  }
}

/**
 * Provider records on virtual time. A lookup finds whom messages can reach from the asker; as in a DHT, a record takes
 * a while to spread, and outlives a provider that crashed.
 */
import type { Directory } from '../protocols/directory.ts'
import type { PeerId } from '../protocols/ids.ts'
import { type Done, ok } from '../protocols/outcome.ts'
import type { SimNetwork } from './network.ts'
import type { SimTransport } from './transport.ts'

/** Until a record has reached the peers that are closest to its key. */
const SPREAD_MS = 500
/** A few hops of a lookup; each is a round trip that runs beside others. */
const LOOKUP_MS = { min: 50, max: 400 }
/** How long the dead are still named. */
const STALE_MS = 60_000

export class SimDirectory implements Directory {
  readonly #network: SimNetwork
  readonly #transport: SimTransport

  constructor(network: SimNetwork, transport: SimTransport) {
    this.#network = network
    this.#transport = transport
  }

  provide(key: string): void {
    this.#network.records.put(key, this.#transport.self)
  }

  withdraw(key: string): void {
    this.#network.records.remove(key, this.#transport.self)
  }

  find(key: string, limit: number, timeoutMs: number, done: Done<PeerId[]>): void {
    const { random, records } = this.#network
    const { self } = this.#transport
    const life = this.#network.peer(self)?.life
    const lookupMs = LOOKUP_MS.min + random() * (LOOKUP_MS.max - LOOKUP_MS.min)
    const found = (): void => {
      // Cut off by its asker's patience, a lookup has mostly found somebody: it has asked the nearest first.
      const peers = records.find(key, self)
      done(ok(random.shuffle(peers).slice(0, limit)))
    }
    life?.clock.after(Math.min(lookupMs, timeoutMs), found)
  }
}

/** All records of a network: key, provider, and when the record was there. */
export class Records {
  readonly #network: SimNetwork
  readonly #keys = new Map<string, Map<PeerId, { readonly fromMs: number; goneMs: number | undefined }>>()

  constructor(network: SimNetwork) {
    this.#network = network
  }

  put(key: string, peer: PeerId): void {
    let providers = this.#keys.get(key)
    if (providers === undefined) this.#keys.set(key, (providers = new Map()))
    const known = providers.get(peer)
    const fromMs = known?.fromMs ?? this.#network.world.nowMs + SPREAD_MS
    providers.set(peer, { fromMs, goneMs: undefined })
  }

  remove(key: string, peer: PeerId): void {
    this.#keys.get(key)?.delete(peer)
  }

  /** Providers in sight of `asker`, in order of their ids, `asker` left out. */
  find(key: string, asker: PeerId): PeerId[] {
    const { nowMs } = this.#network.world
    const inSight = this.#network.component(asker)
    const providers = this.#keys.get(key)
    const found: PeerId[] = []
    for (const [peer, record] of providers ?? []) {
      if (peer === asker || record.fromMs > nowMs) continue
      if (inSight.has(peer)) {
        record.goneMs = undefined
        found.push(peer)
        continue
      }
      record.goneMs ??= nowMs
      if (nowMs - record.goneMs > STALE_MS) providers?.delete(peer)
      else if (this.#network.peer(peer) === undefined && inSight.size > 1) found.push(peer)
    }
    return found.sort()
  }
}

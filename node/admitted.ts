/**
 * Who is admitted, as this peer's transport and disk have it: what the mesh's state says, and before there is one, what
 * was known when this peer last ran. Looked at whenever the mesh has agreed on something; what a look does beyond
 * comparing goes with what has changed, for in a storm of joins every peer looks after every join.
 *
 *   admitted ─▶ known, allowed, written down        removed ─PARTING_MS─▶ neither known nor allowed; its record stays
 */
import type { Clock } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import type { Transport } from '../protocols/transport.ts'
import { key } from '../storage/keyspace.ts'
import { knownPeer } from '../storage/records.ts'
import type { Op, Store } from '../storage/store.ts'
import type { MeshState } from './catalog/mesh.ts'

/** How long a removed peer is still heard: the answer to what it asked last. */
const PARTING_MS = 1_000

type Ports = { readonly clock: Clock; readonly store: Store; readonly transport: Transport }
type Addresses = readonly string[]

export class Admitted {
  readonly #ports: Ports
  readonly #peers: () => MeshState['peers']
  readonly #known = new Map<PeerId, Addresses>()
  readonly #parting = new Set<PeerId>()
  /** Not on its way to disk as it is known. */
  readonly #unwritten = new Set<PeerId>()
  #allowed = false
  #stopped = false

  constructor(peers: () => MeshState['peers'], ports: Ports) {
    this.#peers = peers
    this.#ports = ports
    for (const [, value] of ports.store.recovered(key('peer'))) {
      const { id, addresses } = knownPeer.decode(value)
      this.#known.set(id, addresses)
    }
  }

  stop(): void {
    this.#stopped = true
  }

  /** Admitted, or known to have been when this peer last ran. */
  known(): MapIterator<PeerId> {
    return this.#known.keys()
  }

  look(): void {
    const peers = this.#peers()
    const count = this.#take(peers)
    // A state of one is that of whoever founds or recovers the mesh: others are still to be found in it.
    if (count > 1 && this.#known.size > count) this.#part(peers)
    this.#allow()
    this.#write()
  }

  /** @returns How many are admitted. */
  #take(peers: MeshState['peers']): number {
    let count = 0
    for (const id in peers) {
      count++
      const addresses = peers[id]?.addresses ?? []
      const before = this.#known.get(id)
      if (before !== undefined && isSame(before, addresses)) continue
      this.#known.set(id, addresses)
      this.#unwritten.add(id)
      this.#allowed = false
    }
    return count
  }

  /** What was asked by a peer that leaves is still answered. */
  #part(peers: MeshState['peers']): void {
    for (const id of this.#known.keys()) {
      if (peers[id] !== undefined || this.#parting.has(id)) continue
      this.#parting.add(id)
      this.#ports.clock.after(PARTING_MS, () => {
        this.#parting.delete(id)
        if (this.#stopped || this.#peers()[id] !== undefined) return
        // Its record stays: a log that is damaged must not be taken for one that nobody else ever saw (mending.ts).
        this.#known.delete(id)
        this.#allowed = false
        this.look()
      })
    }
  }

  #allow(): void {
    if (this.#allowed) return
    this.#allowed = true
    const { transport } = this.#ports
    transport.allow(new Map([...this.#known].filter(([id]) => id !== transport.self)))
  }

  #write(): void {
    if (this.#unwritten.size === 0) return
    const written = [...this.#unwritten]
    this.#unwritten.clear()
    const ops = written.map((id): Op => {
      const value = knownPeer.encode({ id, addresses: [...(this.#known.get(id) ?? [])] })
      return { kind: 'put', key: key('peer', id), value }
    })
    this.#ports.store.write(ops, false, ({ ok }) => {
      if (!ok) for (const id of written) this.#unwritten.add(id)
    })
  }
}

/** Mostly the very same list: the state changes in place. */
const isSame = (one: Addresses, other: Addresses): boolean =>
  one === other || (one.length === other.length && one.every((each, n) => each === other[n]))

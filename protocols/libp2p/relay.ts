/**
 * Circuit relay: a peer that others cannot dial keeps a slot at one or two that they can, and is dialled through them.
 * Every peer is a relay for admitted peers, and for nobody else (the gate is asked for each slot and each circuit, and
 * both ends prove their ids to each other through it). A relay sees ciphertext only.
 */
import {
  circuitRelayServer,
  circuitRelayTransport,
  type CircuitRelayTransportComponents,
} from '@libp2p/circuit-relay-v2'
import type { Connection, PeerId as Libp2pPeerId, Transport } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../ids.ts'
import { CIRCUIT_BYTES_MAX, CIRCUIT_MS_MAX, CIRCUITS_MAX, DIAL_MS_MAX, RELAY_SLOTS_MAX } from '../limits.ts'

/** A relay's memory of a slot; it is asked for again well before. */
const SLOT_MS = 3_600_000
/** A slot that was refused or lost is asked for again after this, at the next look. */
const AGAIN_MS = 5_000

export const relayServer = circuitRelayServer({
  hopTimeout: DIAL_MS_MAX,
  maxInboundHopStreams: CIRCUITS_MAX,
  maxOutboundStopStreams: CIRCUITS_MAX,
  reservations: {
    maxReservations: RELAY_SLOTS_MAX,
    reservationTtl: SLOT_MS,
    defaultDurationLimit: CIRCUIT_MS_MAX,
    defaultDataLimit: BigInt(CIRCUIT_BYTES_MAX),
  },
})

/** What of libp2p's own reservation store is used: it asks for a slot, renews it, and forgets it with its connection. */
type Slots = {
  addRelay(peer: Libp2pPeerId, type: 'configured'): Promise<unknown>
  hasReservation(peer: Libp2pPeerId): boolean
}

export type RelayTransport = {
  readonly transport: (components: CircuitRelayTransportComponents) => Transport
  /** There once libp2p is. */
  readonly slots: () => Slots | undefined
}

export function relayTransport(): RelayTransport {
  let slots: Slots | undefined
  const make = circuitRelayTransport({
    maxInboundStopStreams: CIRCUITS_MAX,
    reservationCompletionTimeout: DIAL_MS_MAX,
    // It would take a slot at whoever offers one; here whoever is outside is chosen (see reach.ts).
    discoveryFilter: { has: () => true, add: () => {}, remove: () => {} },
  })
  return {
    transport: (components) => {
      const transport = make(components)
      slots = (transport as unknown as { reservationStore: Slots }).reservationStore
      return transport
    },
    slots: () => slots,
  }
}

export class Relays {
  readonly #slots: () => Slots | undefined
  readonly #connectionsTo: (peer: PeerId) => readonly Connection[]
  readonly #log: (line: string) => void
  #wanted: readonly PeerId[] = []
  readonly #notBeforeMs = new Map<PeerId, number>()

  constructor(options: {
    slots: () => Slots | undefined
    connectionsTo: (peer: PeerId) => readonly Connection[]
    log: (line: string) => void
  }) {
    this.#slots = options.slots
    this.#connectionsTo = options.connectionsTo
    this.#log = options.log
  }

  /** Takes slots at these and keeps them; told again and again. A slot that is not wanted any more runs out. */
  want(relays: readonly PeerId[]): void {
    this.#wanted = relays
    for (const peer of this.#notBeforeMs.keys()) if (!relays.includes(peer)) this.#notBeforeMs.delete(peer)
    const nowMs = performance.now()
    for (const peer of relays) {
      if (this.#has(peer) || (this.#notBeforeMs.get(peer) ?? 0) > nowMs) continue
      this.#notBeforeMs.set(peer, nowMs + AGAIN_MS)
      this.#slots()
        ?.addRelay(peerIdFromString(peer), 'configured')
        .then(
          () => this.#log(`${peer}: relays for this peer`),
          (error: unknown) => this.#log(`${peer}: does not relay, ${String(error)}`),
        )
    }
  }

  held(): PeerId[] {
    return this.#wanted.filter((peer) => this.#has(peer))
  }

  /** Addresses of this peer through its relays, by the addresses that it dialled them at. */
  addresses(self: PeerId): string[] {
    return this.held().flatMap((peer) => {
      const connection = this.#connectionsTo(peer).find(
        ({ direct, direction }) => direct && direction === 'outbound',
      )
      if (connection === undefined) return []
      const address = connection.remoteAddr.toString().replace(/\/p2p\/.*$/, '')
      return [`${address}/p2p/${peer}/p2p-circuit/p2p/${self}`]
    })
  }

  #has(peer: PeerId): boolean {
    return this.#slots()?.hasReservation(peerIdFromString(peer)) === true
  }
}

export const isRelayed = (address: string): boolean => address.includes('/p2p-circuit')

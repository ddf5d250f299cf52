/**
 * Who may be dialled and heard: the peers that were allowed, but for those that were cut off for bad frames. libp2p asks
 * before it dials and, the other way, as soon as encryption has proved who it is, before any protocol runs. A peer that
 * was removed gets as far as to be told so, now and then; what it opens meanwhile is refused by each protocol.
 */
import type { ConnectionGater } from '@libp2p/interface'
import type { PeerId } from '../ids.ts'
import { BAD_FRAMES_PER_MINUTE_MAX, FAREWELL_AGAIN_MS, REFUSED_MS } from '../limits.ts'

const MINUTE_MS = 60_000

export class Gate {
  readonly #nowMs: () => number
  readonly #self: PeerId
  #allowed: ReadonlyMap<PeerId, readonly string[]> = new Map()
  /** Times of the newest bad frames, at most one more than a minute may have. */
  readonly #bad = new Map<PeerId, number[]>()
  readonly #refusedUntilMs = new Map<PeerId, number>()
  /** Peers that are none any more, and when each was told. */
  readonly #toldMs = new Map<PeerId, number>()

  constructor(self: PeerId, nowMs: () => number = () => performance.now()) {
    this.#self = self
    this.#nowMs = nowMs
  }

  allow(peers: ReadonlyMap<PeerId, readonly string[]>): void {
    this.#allowed = new Map(peers)
    for (const peer of [...this.#bad.keys(), ...this.#refusedUntilMs.keys()]) {
      if (this.#allowed.has(peer)) continue
      this.#bad.delete(peer)
      this.#refusedUntilMs.delete(peer)
    }
  }

  part(peers: Iterable<PeerId>): void {
    const parted = new Map([...peers].map((peer) => [peer, this.#toldMs.get(peer) ?? -Infinity]))
    this.#toldMs.clear()
    for (const [peer, atMs] of parted) this.#toldMs.set(peer, atMs)
  }

  /** Whether a peer is to be told that it is none any more. */
  owesFarewell(peer: PeerId): boolean {
    const toldMs = this.#toldMs.get(peer)
    return toldMs !== undefined && !this.#allowed.has(peer) && this.#nowMs() >= toldMs + FAREWELL_AGAIN_MS
  }

  /** It is being told. */
  farewell(peer: PeerId): void {
    this.#toldMs.set(peer, this.#nowMs())
  }

  admits(peer: PeerId): boolean {
    return (
      peer !== this.#self &&
      this.#allowed.has(peer) &&
      (this.#refusedUntilMs.get(peer) ?? -Infinity) <= this.#nowMs()
    )
  }

  /** Every peer that may be dialled now, but for this one. */
  peers(): PeerId[] {
    return [...this.#allowed.keys()].filter((peer) => this.admits(peer))
  }

  addressesOf(peer: PeerId): readonly string[] {
    return this.#allowed.get(peer) ?? []
  }

  /** Counts a bad frame; true when this one was too many, and the peer is refused from now on. */
  blame(peer: PeerId): boolean {
    if (!this.#allowed.has(peer)) return false
    const bad = [...this.#recent(peer), this.#nowMs()].slice(-BAD_FRAMES_PER_MINUTE_MAX - 1)
    this.#bad.set(peer, bad)
    if (bad.length <= BAD_FRAMES_PER_MINUTE_MAX) return false
    this.#bad.delete(peer)
    this.#refusedUntilMs.set(peer, this.#nowMs() + REFUSED_MS)
    return true
  }

  /** Bad frames in the last minute. */
  badFrames(peer: PeerId): number {
    return this.#recent(peer).length
  }

  #recent(peer: PeerId): number[] {
    return (this.#bad.get(peer) ?? []).filter((atMs) => atMs > this.#nowMs() - MINUTE_MS)
  }

  gater(): ConnectionGater {
    const deny = (peer: { toString(): string }): boolean => !this.admits(peer.toString())
    const denyInbound = (peer: { toString(): string }): boolean =>
      deny(peer) && !this.owesFarewell(peer.toString())
    return {
      denyDialPeer: deny,
      denyDialMultiaddr: () => false,
      denyOutboundConnection: deny,
      denyInboundEncryptedConnection: denyInbound,
      denyOutboundEncryptedConnection: deny,
      denyInboundUpgradedConnection: denyInbound,
      denyOutboundUpgradedConnection: deny,
      // As a relay: slots and circuits are for the admitted, at both ends. As an end: it proves its id through the relay
      // and is asked for again above; here a stranger does not get as far as that.
      denyInboundRelayReservation: deny,
      denyOutboundRelayedConnection: (source, destination) => deny(source) || deny(destination),
      denyInboundRelayedConnection: (relay, remote) => deny(relay) || deny(remote),
    }
  }
}

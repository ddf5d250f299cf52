/** How other peers stand with one: allowed or not, blamed and refused for a while, reachable lately or not. */
import type { PeerId } from '../protocols/ids.ts'
import { BAD_FRAMES_PER_MINUTE_MAX, PEERS_KEPT_MAX, REFUSED_MS } from '../protocols/limits.ts'
import type { World } from './world.ts'

const MINUTE_MS = 60_000
/** Until a peer that could not be reached is dialled again; doubles. */
const BACKOFF_MS = { min: 500, max: 15_000 }
/** Who waits for an answer gets a dial after this long, whatever the back-off says. */
const URGENT_MS = 1_000

export class Standing {
  readonly #world: World
  readonly #self: PeerId
  readonly #blames = new Map<PeerId, number[]>()
  readonly #refusedUntilMs = new Map<PeerId, number>()
  readonly #failures = new Map<PeerId, { count: number; atMs: number }>()
  #allowed: ReadonlySet<PeerId> = new Set()
  #kept: ReadonlySet<PeerId> | undefined

  constructor(world: World, self: PeerId) {
    this.#world = world
    this.#self = self
  }

  allow(peers: Iterable<PeerId>): void {
    this.#allowed = new Set([...peers].filter((peer) => peer !== this.#self))
    this.#kept = undefined
  }

  isAllowed(peer: PeerId): boolean {
    return this.#allowed.has(peer)
  }

  /** Allowed, and not refused for its bad frames. */
  isWelcome(peer: PeerId): boolean {
    return this.#allowed.has(peer) && (this.#refusedUntilMs.get(peer) ?? 0) <= this.#world.nowMs
  }

  /** Counts a bad frame; true when that was one too many, and the peer is refused from now on. */
  blame(peer: PeerId): boolean {
    const { nowMs } = this.#world
    const recent = (this.#blames.get(peer) ?? []).filter((atMs) => atMs > nowMs - MINUTE_MS)
    this.#blames.set(peer, [...recent, nowMs])
    if (recent.length < BAD_FRAMES_PER_MINUTE_MAX) return false
    this.#blames.delete(peer)
    this.#refusedUntilMs.set(peer, nowMs + REFUSED_MS)
    return true
  }

  reached(peer: PeerId): void {
    this.#failures.delete(peer)
  }

  missed(peer: PeerId): void {
    const count = (this.#failures.get(peer)?.count ?? -1) + 1
    this.#failures.set(peer, { count, atMs: this.#world.nowMs })
  }

  /** Whether the newest dials failed so lately that another waits. */
  backsOff(peer: PeerId, urgent: boolean): boolean {
    return this.#world.nowMs < this.#dialAgainMs(peer, urgent ? URGENT_MS : BACKOFF_MS.max)
  }

  /** Until the next dial that nobody waits for. */
  patienceMs(peer: PeerId): number {
    return Math.max(BACKOFF_MS.min, this.#dialAgainMs(peer, BACKOFF_MS.max) - this.#world.nowMs)
  }

  /** Peers with whom a connection is kept: all, or those that follow in the circle of ids. */
  kept(): ReadonlySet<PeerId> {
    this.#kept ??= this.#chosen()
    return this.#kept
  }

  #chosen(): Set<PeerId> {
    const peers = [...this.#allowed].sort()
    const next = peers.findIndex((peer) => peer > this.#self)
    const circle = next < 0 ? peers : [...peers.slice(next), ...peers.slice(0, next)]
    return new Set(circle.slice(0, PEERS_KEPT_MAX))
  }

  #dialAgainMs(peer: PeerId, most: number): number {
    const failure = this.#failures.get(peer)
    if (failure === undefined) return 0
    return failure.atMs + Math.min(BACKOFF_MS.min * 2 ** failure.count, most)
  }
}

/**
 * The peers that one download knows of, and its channels to them: at most SOURCES_MAX at once, near ones first, lost
 * ones again after a while, banned ones never.
 */
import type { PeerId } from '../../protocols/ids.ts'
import { IDLE_SOURCE_MS, RECONNECT_MS_MAX, RECONNECT_MS_MIN, SOURCES_MAX } from '../../protocols/limits.ts'
import { bucket } from '../../protocols/rate/bucket.ts'
import { CAP_AHEAD_MS } from '../../protocols/rate/caps.ts'
import { PROTOCOL } from '../../protocols/swarm/messages.ts'
import { Conversation, type Heard } from './conversation.ts'
import type { SwarmPorts } from './swarm.ts'

/** Peers that a download remembers: enough to choose from, and a bound on what a directory can make it hold. */
export const KNOWN_MAX = 1_024

export type Link = {
  readonly peer: PeerId
  readonly near: boolean
  opening: boolean
  conversation: Conversation | undefined
  retryAtMs: number
  backoffMs: number
  /** When it was asked for what it holds; 0 before. */
  helloMs: number
  /** It was asked for the manifest and has not refused. */
  manifest: boolean
  /** It does not hold the manifest. */
  unknown: boolean
  /** It was told what is missing. */
  listed: boolean
  /** The picker knows it. */
  joined: boolean
  /** It is told what is gained here. */
  told: boolean
  /** It speaks of blocks. */
  blocks: boolean
}

export class Links {
  readonly #ports: SwarmPorts
  readonly #isBanned: (peer: PeerId) => boolean
  readonly #opened: (link: Link) => void
  readonly #heard: (link: Link, heard: Heard) => void
  readonly #links = new Map<PeerId, Link>()
  /** Bytes of channels that are gone. */
  readonly #spent = new Map<PeerId, number>()
  #closed = false
  /** What all channels together may take in. */
  readonly #limit = bucket(Infinity, CAP_AHEAD_MS)

  constructor(
    ports: SwarmPorts,
    isBanned: (peer: PeerId) => boolean,
    on: { readonly opened: (link: Link) => void; readonly heard: (link: Link, heard: Heard) => void },
  ) {
    this.#ports = ports
    this.#isBanned = isBanned
    this.#opened = on.opened
    this.#heard = on.heard
  }

  add(peer: PeerId, near: boolean): void {
    if (peer === this.#ports.transport.self || this.#links.has(peer) || this.#links.size >= KNOWN_MAX) return
    this.#links.set(peer, {
      peer,
      near,
      opening: false,
      conversation: undefined,
      retryAtMs: 0,
      backoffMs: RECONNECT_MS_MIN,
      helloMs: 0,
      manifest: false,
      unknown: false,
      listed: false,
      joined: false,
      told: false,
      blocks: false,
    })
  }

  /** Whether there is anybody to ask. */
  get known(): boolean {
    return this.#links.size > 0
  }

  get(peer: PeerId): Link | undefined {
    return this.#links.get(peer)
  }

  /** Links with a channel. */
  open(): Link[] {
    return [...this.#links.values()].filter(({ conversation }) => conversation !== undefined)
  }

  /** Opens channels while there are places and peers to try. */
  connect(nowMs: number): void {
    const links = [...this.#links.values()]
    let used = links.filter(({ opening, conversation }) => opening || conversation !== undefined).length
    for (const near of [true, false])
      for (const link of links) {
        if (used >= SOURCES_MAX) return
        if (link.near !== near || link.opening || link.conversation !== undefined) continue
        if (link.retryAtMs > nowMs || this.#isBanned(link.peer)) continue
        used++
        this.#dial(link)
      }
  }

  /**
   * Hangs up on sources that have nothing to give while others wait for a place: with more peers in sight than places,
   * the one that holds the rest would never be called (found by the simulator's mesh, seed 8).
   */
  makeRoom(nowMs: number, isIdle: (peer: PeerId) => boolean): void {
    const links = [...this.#links.values()]
    if (
      links.filter(({ opening, conversation }) => opening || conversation !== undefined).length < SOURCES_MAX
    )
      return
    let waiting = links.filter(
      ({ peer, opening, conversation, retryAtMs }) =>
        !opening && conversation === undefined && retryAtMs <= nowMs && !this.#isBanned(peer),
    ).length
    for (const link of links) {
      if (waiting === 0) return
      const called =
        link.conversation !== undefined && link.helloMs > 0 && nowMs - link.helloMs > IDLE_SOURCE_MS
      if (!called || !isIdle(link.peer)) continue
      this.hangUp(link)
      waiting--
    }
  }

  /** Hangs up, and tries again later. */
  hangUp(link: Link): void {
    const { conversation } = link
    if (conversation === undefined) return
    conversation.close()
    this.#spent.set(link.peer, (this.#spent.get(link.peer) ?? 0) + conversation.wireBytes())
    link.conversation = undefined
    link.manifest = false
    link.unknown = false
    link.listed = false
    link.joined = false
    link.told = false
    link.blocks = false
    link.helloMs = 0
    this.#later(link)
  }

  limit(bytesPerSecond: number): void {
    this.#limit.bytesPerMs = bytesPerSecond / 1_000
  }

  close(): void {
    this.#closed = true
    for (const link of this.#links.values()) this.hangUp(link)
  }

  wireBytes(): number {
    let bytes = 0
    for (const link of this.#links.values()) bytes += this.#bytesOf(link)
    return bytes
  }

  /** Of the peers that were talked to. */
  byPeer(): { peer: PeerId; near: boolean; wireBytes: number }[] {
    return [...this.#links.values()].flatMap((link) => {
      const wireBytes = this.#bytesOf(link)
      return wireBytes === 0 ? [] : [{ peer: link.peer, near: link.near, wireBytes }]
    })
  }

  #bytesOf({ peer, conversation }: Link): number {
    return (this.#spent.get(peer) ?? 0) + (conversation?.wireBytes() ?? 0)
  }

  /** It proved useful: the next loss is a new one. */
  praise(link: Link): void {
    link.backoffMs = RECONNECT_MS_MIN
  }

  #dial(link: Link): void {
    link.opening = true
    this.#ports.transport.open(link.peer, PROTOCOL, (outcome) => {
      link.opening = false
      if (!outcome.ok) return this.#later(link)
      if (this.#closed) return outcome.value.close()
      outcome.value.limit(this.#limit)
      link.conversation = new Conversation(outcome.value, (heard) => this.#heard(link, heard))
      this.#opened(link)
    })
  }

  #later(link: Link): void {
    link.retryAtMs = this.#ports.clock.nowMs() + link.backoffMs
    link.backoffMs = Math.min(RECONNECT_MS_MAX, link.backoffMs * 2)
  }
}

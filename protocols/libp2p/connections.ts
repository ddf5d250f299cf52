/**
 * Connections to allowed peers: which one a conversation rides on, when to dial, and what is kept up without being asked.
 *
 * Two kinds to each peer. The oldest that carries no bulk is for everything small; bulk has one of its own, so that a
 * heartbeat never waits behind a disk in the same TCP queue. Failed dials back off, doubling, so that a dead peer costs
 * one dial in DIAL_BACKOFF_MS_MAX however often it is written to.
 */
import { hash } from 'node:crypto'
import type { Connection, Libp2p, PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { GodwitError } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { DIAL_MS_MAX, PEERS_KEPT_MAX } from '../limits.ts'
import type { Gate } from './gate.ts'

const DIAL_BACKOFF_MS_MIN = 500
const DIAL_BACKOFF_MS_MAX = 15_000
/** An operator who asks again after this long gets a dial, whatever the back-off says. */
const URGENT_BACKOFF_MS = 1_000
/** A connection that lasted this long was a good one: the next dial starts without back-off. */
const GOOD_CONNECTION_MS = 10_000
/** How often the kept peers are looked at. */
const KEEP_MS = 500
/** Of two peers, the one with the higher id lets the other dial first, or both would. */
const YIELD_MS = 1_500
/** Known addresses that failed this often are looked for in the DHT, too. */
const FAILURES_BEFORE_LOOKUP = 2
const LOOKUP_MS = 2_000
/** Bulk connections that carry nothing are closed after this long: dialling one again costs six round trips. */
const BULK_IDLE_MS = 60_000

type Dial = {
  failures: number
  notBeforeMs: number
  failedMs: number
  current: Promise<Connection> | undefined
  /** When this peer may dial without being asked: the other side has its turn first, or has had it. */
  keepFromMs: number | undefined
}

export class Connections {
  readonly #libp2p: Libp2p
  readonly #gate: Gate
  readonly #log: (line: string) => void
  readonly #ids = new Map<PeerId, Libp2pPeerId>()
  readonly #dials = new Map<PeerId, Dial>()
  readonly #bulk = new WeakSet<Connection>()
  readonly #bulkDials = new Map<PeerId, Promise<Connection>>()
  readonly #bulkIdleSinceMs = new WeakMap<Connection, number>()
  readonly #keeper: NodeJS.Timeout
  #closed = false

  constructor(libp2p: Libp2p, gate: Gate, log: (line: string) => void) {
    this.#libp2p = libp2p
    this.#gate = gate
    this.#log = log
    this.#keeper = setInterval(() => this.#keep(), KEEP_MS)
    this.#keeper.unref()
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#keeper)
  }

  /** The connection for everything that is not bulk. */
  control(peer: PeerId): Connection | undefined {
    return this.#open(peer).find((connection) => !this.#bulk.has(connection))
  }

  /**
   * Told when a channel arrives: the other end meant this connection for bulk, unless it is the only one, which the
   * other end falls back to when it cannot dial.
   */
  markBulk(connection: Connection): void {
    if (this.#open(connection.remotePeer.toString()).length > 1) this.#bulk.add(connection)
  }

  /** The control connection, dialled when there is none. `urgent` shortens the back-off. */
  async connect(peer: PeerId, urgent: boolean): Promise<Connection> {
    const connected = this.control(peer)
    if (connected !== undefined) return connected
    const dial = this.#dialOf(peer)
    if (dial.current !== undefined) return dial.current
    const nowMs = performance.now()
    const notBeforeMs = urgent
      ? Math.min(dial.notBeforeMs, dial.failedMs + URGENT_BACKOFF_MS)
      : dial.notBeforeMs
    if (this.#closed || !this.#gate.admits(peer) || nowMs < notBeforeMs) throw unreachable(peer, 0)
    dial.current = this.#dial(peer, dial, nowMs).finally(() => (dial.current = undefined))
    return dial.current
  }

  /** The bulk connection; the control connection when the other side cannot be dialled from here. */
  async bulk(peer: PeerId): Promise<Connection> {
    const control = await this.connect(peer, true)
    const open = this.#open(peer).find((connection) => this.#bulk.has(connection))
    if (open !== undefined) return open
    let dial = this.#bulkDials.get(peer)
    if (dial === undefined) {
      dial = this.#dialBulk(peer, control).finally(() => this.#bulkDials.delete(peer))
      this.#bulkDials.set(peer, dial)
    }
    return dial
  }

  /** Ends every connection with a peer, at once. */
  drop(peer: PeerId, why: string): void {
    this.#log(`${peer}: dropped, ${why}`)
    for (const connection of this.#libp2p.getConnections(this.#idOf(peer))) connection.abort(new Error(why))
  }

  /** New addresses, or a peer that was just seen: the next dial need not wait. */
  hint(peer: PeerId): void {
    const dial = this.#dials.get(peer)
    if (dial !== undefined) dial.notBeforeMs = Math.min(dial.notBeforeMs, dial.failedMs + DIAL_BACKOFF_MS_MIN)
  }

  /** Looks at once at who should be connected; told when that may have changed. */
  kick(): void {
    this.#keep()
  }

  forget(peer: PeerId): void {
    this.#dials.delete(peer)
    this.#ids.delete(peer)
  }

  #open(peer: PeerId): Connection[] {
    return this.#libp2p
      .getConnections(this.#idOf(peer))
      .filter(({ status }) => status === 'open')
      .sort((a, b) => a.timeline.open - b.timeline.open)
  }

  #idOf(peer: PeerId): Libp2pPeerId {
    let id = this.#ids.get(peer)
    if (id === undefined) this.#ids.set(peer, (id = peerIdFromString(peer)))
    return id
  }

  #dialOf(peer: PeerId): Dial {
    let dial = this.#dials.get(peer)
    if (dial === undefined) {
      dial = { failures: 0, notBeforeMs: 0, failedMs: -Infinity, current: undefined, keepFromMs: undefined }
      this.#dials.set(peer, dial)
    }
    return dial
  }

  async #dial(peer: PeerId, dial: Dial, startedMs: number): Promise<Connection> {
    try {
      const target = await this.#targetOf(peer, dial.failures >= FAILURES_BEFORE_LOOKUP)
      // `force`, because what is left may be a bulk connection, which libp2p would hand out instead.
      const connection = await this.#libp2p.dial(target, {
        force: true,
        signal: AbortSignal.timeout(DIAL_MS_MAX),
      })
      connection.addEventListener('close', () => this.#ended(dial, connection), { once: true })
      return connection
    } catch {
      this.#failed(dial)
      const afterMs = Math.round(performance.now() - startedMs)
      if (dial.failures === 1) this.#log(`${peer}: not reached in ${afterMs} ms`)
      throw unreachable(peer, afterMs)
    }
  }

  #failed(dial: Dial): void {
    dial.failures++
    dial.failedMs = performance.now()
    const backoffMs = Math.min(DIAL_BACKOFF_MS_MAX, DIAL_BACKOFF_MS_MIN * 2 ** (dial.failures - 1))
    dial.notBeforeMs = dial.failedMs + backoffMs * (0.75 + Math.random() / 2)
  }

  /** A peer that accepts and hangs up at once does not want us: it is dialled as one that does not answer. */
  #ended(dial: Dial, connection: Connection): void {
    if (Date.now() - connection.timeline.open < GOOD_CONNECTION_MS) return this.#failed(dial)
    dial.failures = 0
    dial.notBeforeMs = 0
    dial.keepFromMs = undefined
  }

  async #targetOf(peer: PeerId, lookUp: boolean): Promise<Multiaddr[] | Libp2pPeerId> {
    const id = this.#idOf(peer)
    const known = await this.#libp2p.peerStore.get(id).then(
      ({ addresses }) => addresses.map((address) => address.multiaddr.toString()),
      () => [],
    )
    const found = lookUp
      ? await this.#libp2p.peerRouting.findPeer(id, { signal: AbortSignal.timeout(LOOKUP_MS) }).then(
          ({ multiaddrs }) => multiaddrs.map(String),
          () => [],
        )
      : []
    const all = new Set(
      [...this.#gate.addressesOf(peer), ...known, ...found].map((each) => withPeer(each, peer)),
    )
    const dialable = [...all].flatMap((each) => parsed(each))
    return dialable.length > 0 ? dialable : id
  }

  async #dialBulk(peer: PeerId, control: Connection): Promise<Connection> {
    try {
      const target = await this.#targetOf(peer, false)
      const connection = await this.#libp2p.dial(target, {
        force: true,
        signal: AbortSignal.timeout(DIAL_MS_MAX),
      })
      // libp2p lets two dials of one peer share their result: then this is the control connection.
      if (connection !== this.control(peer) || this.#open(peer).length > 1) this.#bulk.add(connection)
      return connection
    } catch {
      this.#log(`${peer}: bulk shares the control connection`)
      return control
    }
  }

  #keep(): void {
    for (const peer of this.#kept()) {
      if (this.control(peer) !== undefined) continue
      const dial = this.#dialOf(peer)
      const yields = this.#libp2p.peerId.toString() > peer
      dial.keepFromMs ??= performance.now() + (yields ? YIELD_MS : 0)
      if (performance.now() >= dial.keepFromMs) this.connect(peer, false).catch(() => {})
    }
    for (const connection of this.#libp2p.getConnections()) this.#closeIdle(connection)
  }

  /** All allowed peers, or in a large mesh those that a hash of both ids puts first: the same pairs at both ends. */
  #kept(): PeerId[] {
    const peers = this.#gate.peers()
    if (peers.length <= PEERS_KEPT_MAX) return peers
    const self = this.#libp2p.peerId.toString()
    const rank = (peer: PeerId): string => hash('sha256', [self, peer].sort().join(' '), 'hex')
    const ranked = peers.map((peer) => ({ peer, rank: rank(peer) }))
    return ranked
      .sort((a, b) => (a.rank < b.rank ? -1 : 1))
      .slice(0, PEERS_KEPT_MAX)
      .map(({ peer }) => peer)
  }

  #closeIdle(connection: Connection): void {
    if (!this.#bulk.has(connection) || connection.direction !== 'outbound') return
    const busy = connection.streams.some(({ protocol }) => protocol.endsWith(CHANNEL))
    const nowMs = performance.now()
    const sinceMs = this.#bulkIdleSinceMs.get(connection) ?? nowMs
    if (busy) this.#bulkIdleSinceMs.delete(connection)
    else if (nowMs - sinceMs < BULK_IDLE_MS) this.#bulkIdleSinceMs.set(connection, sinceMs)
    else connection.close().catch(() => connection.abort(new Error('idle')))
  }
}

/** What the three kinds of conversation of one protocol add to its id; a kind that nobody serves is refused by libp2p. */
export const FRAME = '/frame'
export const REQUEST = '/request'
export const CHANNEL = '/channel'

export const unreachable = (peer: PeerId, afterMs: number): GodwitError =>
  new GodwitError({ code: 'PEER_UNREACHABLE', peer, afterMs })

const withPeer = (address: string, peer: PeerId): string =>
  address.includes('/p2p/') ? address : `${address}/p2p/${peer}`

function parsed(address: string): Multiaddr[] {
  try {
    return [multiaddr(address)]
  } catch {
    return []
  }
}

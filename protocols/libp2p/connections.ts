/**
 * Connections to allowed peers: which one a conversation rides on, when to dial, and what is kept up without being asked.
 *
 * Two kinds to each peer. The oldest that carries no bulk is for everything small; bulk has one of its own, so that a
 * heartbeat never waits behind a disk in the same TCP queue. Failed dials back off, doubling, so that a dead peer costs
 * one dial in DIAL_BACKOFF_MS_MAX however often it is written to. A direct connection goes before a relayed one wherever
 * there are both; while there is only a relayed one, the direct way is tried now and then.
 */
import { hash } from 'node:crypto'
import type { Connection, Libp2p, PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { GodwitError } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { DIAL_MS_MAX, PEERS_KEPT_MAX } from '../limits.ts'
import type { Gate } from './gate.ts'
import { isRelayed } from './relay.ts'

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
/** A direct dial of a peer that can also be had through a relay: two round trips of the slowest link, and a lost SYN. */
const DIRECT_MS = 1_500
/** A direct dial that failed is not tried again for this long while there is a relay: the first time, and at most. */
const DIRECT_AGAIN_MS_MIN = 10_000
const DIRECT_AGAIN_MS_MAX = 5 * 60_000
/** What is under way on a relayed connection has this long to end once there is a direct one. */
const RELAYED_LINGER_MS = 2_000
/** Ways through relays that one dial tries: a peer has two, and may just have changed them. */
const RELAYED_DIALS_MAX = 4

type Dial = {
  failures: number
  notBeforeMs: number
  failedMs: number
  current: Promise<Connection> | undefined
  /** When this peer may dial without being asked: the other side has its turn first, or has had it. */
  keepFromMs: number | undefined
  /** Direct dials that failed in a row, while there was a relay. */
  directFailures: number
  directNotBeforeMs: number
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
  /** Made by dialling an address that a peer listens on, and not by both ends at once through their NATs. */
  readonly #dialled = new WeakSet<Connection>()
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

  /** The connection for everything that is not bulk: the oldest direct one, else one through a relay. */
  control(peer: PeerId): Connection | undefined {
    return this.#open(peer).find((connection) => !this.#bulk.has(connection))
  }

  /** Open connections, the oldest direct one first. */
  to(peer: PeerId): readonly Connection[] {
    return this.#open(peer)
  }

  /** Whether an open connection shows that this peer can be dialled. */
  dialled(peer: PeerId): boolean {
    return this.#open(peer).some((connection) => this.#dialled.has(connection))
  }

  /** Whether a peer answers at one of these addresses. The connection that shows it is one to keep, or it is closed. */
  async tryDirect(peer: PeerId, addresses: readonly string[], timeoutMs: number): Promise<boolean> {
    const targets = addresses.flatMap((each) => parsed(withPeer(each, peer)))
    if (targets.length === 0) return false
    try {
      const connection = await this.#dialDirect(targets, timeoutMs)
      const spare =
        this.control(peer) !== connection && !this.#bulk.has(connection) && !this.#bulkDials.has(peer)
      if (spare) connection.close().catch(() => {})
      return true
    } catch {
      return false
    }
  }

  /**
   * Told when a channel arrives: the other end meant this connection for bulk, unless it is the only one, which the
   * other end falls back to when it cannot dial.
   */
  markBulk(connection: Connection): void {
    if (connection.direct && this.#direct(connection.remotePeer.toString()).length > 1)
      this.#bulk.add(connection)
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
    if (performance.now() < this.#dialOf(peer).directNotBeforeMs) return control
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

  /** New addresses, or a peer that was just seen: the next dial need not wait; nor need a direct one, if that is new. */
  hint(peer: PeerId, direct = true): void {
    const dial = this.#dials.get(peer)
    if (dial === undefined) return
    dial.notBeforeMs = Math.min(dial.notBeforeMs, dial.failedMs + DIAL_BACKOFF_MS_MIN)
    if (direct) dial.directNotBeforeMs = 0
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
      .sort((a, b) => Number(b.direct) - Number(a.direct) || a.timeline.open - b.timeline.open)
  }

  #direct(peer: PeerId): Connection[] {
    return this.#open(peer).filter(({ direct }) => direct)
  }

  #idOf(peer: PeerId): Libp2pPeerId {
    let id = this.#ids.get(peer)
    if (id === undefined) this.#ids.set(peer, (id = peerIdFromString(peer)))
    return id
  }

  #dialOf(peer: PeerId): Dial {
    let dial = this.#dials.get(peer)
    if (dial === undefined) {
      dial = {
        failures: 0,
        notBeforeMs: 0,
        failedMs: -Infinity,
        current: undefined,
        keepFromMs: undefined,
        directFailures: 0,
        directNotBeforeMs: 0,
      }
      this.#dials.set(peer, dial)
    }
    return dial
  }

  async #dial(peer: PeerId, dial: Dial, startedMs: number): Promise<Connection> {
    try {
      const connection = await this.#dialEither(peer, dial, startedMs)
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

  async #dialEither(peer: PeerId, dial: Dial, startedMs: number): Promise<Connection> {
    const { direct, relayed } = await this.#targetsOf(peer, dial.failures >= FAILURES_BEFORE_LOOKUP)
    if (relayed.length === 0)
      return this.#dialDirect(direct.length > 0 ? direct : this.#idOf(peer), DIAL_MS_MAX)
    const connection = await this.#upgrade(dial, direct)
    if (connection !== undefined) return connection
    const leftMs = Math.ceil(Math.max(DIRECT_MS, DIAL_MS_MAX - (performance.now() - startedMs)))
    return this.#libp2p.dial(relayed, { force: true, signal: AbortSignal.timeout(leftMs) })
  }

  /** A direct connection to a peer that a relay reaches as well, when it is time to try. */
  async #upgrade(dial: Dial, direct: Multiaddr[]): Promise<Connection | undefined> {
    if (direct.length === 0 || performance.now() < dial.directNotBeforeMs) return undefined
    try {
      const connection = await this.#dialDirect(direct, DIRECT_MS)
      dial.directFailures = 0
      return connection
    } catch {
      const afterMs = Math.min(DIRECT_AGAIN_MS_MAX, DIRECT_AGAIN_MS_MIN * 2 ** dial.directFailures++)
      dial.directNotBeforeMs = performance.now() + afterMs
      return undefined
    }
  }

  /** `force`, because what there is may be relayed or for bulk, and libp2p would hand that out instead. */
  async #dialDirect(target: Multiaddr[] | Libp2pPeerId, timeoutMs: number): Promise<Connection> {
    const connection = await this.#libp2p.dial(target, {
      force: true,
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (connection.direct && connection.direction === 'outbound') this.#dialled.add(connection)
    return connection
  }

  async #targetsOf(peer: PeerId, lookUp: boolean): Promise<{ direct: Multiaddr[]; relayed: Multiaddr[] }> {
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
    const all = [
      ...new Set([...this.#gate.addressesOf(peer), ...known, ...found].map((each) => withPeer(each, peer))),
    ]
    const self = this.#libp2p.peerId.toString()
    const relays = all.filter((each) => isRelayed(each) && !each.includes(self)).slice(0, RELAYED_DIALS_MAX)
    return {
      direct: all.filter((each) => !isRelayed(each)).flatMap(parsed),
      relayed: relays.flatMap(parsed),
    }
  }

  async #dialBulk(peer: PeerId, control: Connection): Promise<Connection> {
    try {
      const { direct, relayed } = await this.#targetsOf(peer, false)
      const connection =
        relayed.length === 0
          ? await this.#dialDirect(direct.length > 0 ? direct : this.#idOf(peer), DIAL_MS_MAX)
          : await this.#upgrade(this.#dialOf(peer), direct)
      if (connection === undefined || !connection.direct) return control
      // libp2p lets two dials of one peer share their result: then this is the control connection.
      if (connection !== this.control(peer) || this.#direct(peer).length > 1) this.#bulk.add(connection)
      return connection
    } catch {
      this.#log(`${peer}: bulk shares the control connection`)
      return control
    }
  }

  #keep(): void {
    for (const peer of this.#kept()) {
      const control = this.control(peer)
      if (control?.direct === true) continue
      const dial = this.#dialOf(peer)
      if (control !== undefined) {
        this.#keepTrying(peer, dial)
        continue
      }
      const yields = this.#libp2p.peerId.toString() > peer
      dial.keepFromMs ??= performance.now() + (yields ? YIELD_MS : 0)
      if (performance.now() >= dial.keepFromMs) this.connect(peer, false).catch(() => {})
    }
    for (const connection of this.#libp2p.getConnections()) this.#closeIdle(connection)
  }

  #keepTrying(peer: PeerId, dial: Dial): void {
    if (dial.current !== undefined || performance.now() < dial.directNotBeforeMs) return
    dial.current = this.#targetsOf(peer, false)
      .then(({ direct }) => this.#upgrade(dial, direct))
      .then((connection) => connection ?? Promise.reject(unreachable(peer, 0)))
      .finally(() => (dial.current = undefined))
    dial.current.catch(() => {})
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
    if (!connection.direct) return this.#closeReplaced(connection)
    if (!this.#bulk.has(connection) || connection.direction !== 'outbound') return
    const busy = connection.streams.some(({ protocol }) => protocol.endsWith(CHANNEL))
    const nowMs = performance.now()
    const sinceMs = this.#bulkIdleSinceMs.get(connection) ?? nowMs
    if (busy) this.#bulkIdleSinceMs.delete(connection)
    else if (nowMs - sinceMs < BULK_IDLE_MS) this.#bulkIdleSinceMs.set(connection, sinceMs)
    else connection.close().catch(() => connection.abort(new Error('idle')))
  }

  /** A relayed connection ends when there is a direct one, and its channels have ended. */
  #closeReplaced(relayed: Connection): void {
    const control = this.control(relayed.remotePeer.toString())
    if (control?.direct !== true || Date.now() - control.timeline.open < RELAYED_LINGER_MS) return
    if (relayed.streams.some(({ protocol }) => protocol.endsWith(CHANNEL))) return
    relayed.close().catch(() => relayed.abort(new Error('there is a direct one')))
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

/**
 * A network of our making: peers in sites, connections that are dialled, carry frames and die, cuts and healings.
 * `SimNetwork.join` gives a peer the twins of its network ports. All of it runs on the world's time and dice.
 */
import type { PeerId } from '../protocols/ids.ts'
import { DIAL_MS_MAX } from '../protocols/limits.ts'
import { SimBroadcast, Topics } from './broadcast.ts'
import { Connection, type Wire } from './connection.ts'
import { Records, SimDirectory } from './directory.ts'
import { SimDoor } from './door.ts'
import { type ClockFaults, Life } from './life.ts'
import { type LinkOptions, LINKS, Links, type Port } from './links.ts'
import type { Random } from './random.ts'
import { SimTransport } from './transport.ts'
import type { World } from './world.ts'

export type NetworkOptions = LinkOptions & {
  /** Peers keep connections to all they are allowed to see, as DHT and gossip do; off for tests of dialling. */
  readonly keep: boolean
}

/** One life of a peer on the network. */
export type SimPeer = {
  readonly id: PeerId
  readonly site: string
  readonly port: Port
  readonly life: Life
  readonly transport: SimTransport
  readonly broadcast: SimBroadcast
  readonly directory: SimDirectory
  readonly door: SimDoor
}

/** TCP, encryption and multiplexer. */
const HANDSHAKE_ROUND_TRIPS = 3
/** When a SYN that nobody answered is sent again (Linux). */
const SYN_MS = [0, 1_000, 3_000]
/** How often the network enters itself into the event hash. */
const DIGEST_MS = 1_000

export class SimNetwork {
  readonly world: World
  readonly links: Links
  readonly keep: boolean
  readonly random: Random
  readonly topics: Topics
  readonly records: Records
  /** What crossed, in frames and bytes, and who was blamed for a frame. */
  readonly counts = { frames: 0, bytes: 0, blames: 0 }
  readonly #peers = new Map<PeerId, SimPeer>()
  /** Hosts without power: nothing there even refuses. */
  readonly #dark = new Set<PeerId>()
  readonly #connections = new Set<Connection>()
  readonly #wire: Wire
  #digest = 0

  constructor(world: World, options: Partial<NetworkOptions> = {}) {
    this.world = world
    this.links = new Links(world, { ...LINKS, ...options })
    this.keep = options.keep ?? true
    this.random = world.random('network')
    this.topics = new Topics(this)
    this.records = new Records(this)
    const arrived = (from: Port, to: Port, bytes: number): void => this.#arrived(from, to, bytes)
    this.#wire = { world, links: this.links, random: this.random, arrived }
    world.after(DIGEST_MS, () => this.#say())
  }

  /** Plugs a peer in, for the first time or again after a crash: a new life, which knows nobody yet. */
  join(id: PeerId, site: string, clock: ClockFaults = {}): SimPeer {
    if (this.#peers.get(id)?.life.alive) throw new Error(`${id} runs already`)
    this.#dark.delete(id)
    const port = this.links.plug(id, site)
    const life = new Life(this.world, clock)
    const transport = new SimTransport(this, port, life)
    const broadcast = new SimBroadcast(this, transport)
    const directory = new SimDirectory(this, transport)
    const door = new SimDoor(this, port, life)
    const peer: SimPeer = { id, site, port, life, transport, broadcast, directory, door }
    this.#peers.set(id, peer)
    this.world.say(`net ${id} joins ${site}`)
    return peer
  }

  /** The present life of a peer, when it has one. */
  peer(id: PeerId): SimPeer | undefined {
    const peer = this.#peers.get(id)
    return peer?.life.alive ? peer : undefined
  }

  /** The process is gone: killed (its host closes what it had open), or without power (its host says nothing more). */
  crash(id: PeerId, how: 'killed' | 'power'): void {
    const peer = this.peer(id)
    if (peer === undefined) return
    this.world.say(`net ${id} ${how}`)
    peer.life.end()
    if (how === 'power') this.#dark.add(id)
    this.topics.changed()
    for (const connection of this.#connections) {
      const { dialler, listener } = connection
      const told = how === 'killed' && this.reaches(dialler.port, listener.port)
      if (dialler.life === peer.life) connection.lose(dialler, told)
      else if (listener.life === peer.life) connection.lose(listener, told)
    }
  }

  cutSite(name: string): void {
    this.world.say(`net cut ${name}`)
    this.links.cutSite(name)
    this.#look()
  }

  cut(a: PeerId, b: PeerId): void {
    this.world.say(`net cut ${a} ${b}`)
    this.links.cutOneWay(a, b)
    this.links.cutOneWay(b, a)
    this.#look()
  }

  cutOneWay(from: PeerId, to: PeerId): void {
    this.world.say(`net cut ${from} > ${to}`)
    this.links.cutOneWay(from, to)
    this.#look()
  }

  healPair(a: PeerId, b: PeerId): void {
    this.world.say(`net heal ${a} ${b}`)
    this.links.healPair(a, b)
    this.#look()
  }

  /** Ends every cut, or that of one site. */
  heal(site?: string): void {
    this.world.say(`net heal ${site ?? 'all'}`)
    if (site === undefined) this.links.heal()
    else this.links.healSite(site)
    this.#look()
  }

  reaches(a: Port, b: Port): boolean {
    return !this.links.blocked(a, b) && !this.links.blocked(b, a)
  }

  /**
   * Tries to connect: once `welcome` (asked when the handshake is through) says so. `done` with the connection, or
   * with nothing: at once where nobody listens, after DIAL_MS_MAX where nobody answers.
   */
  dial(
    from: { port: Port; life: Life },
    to: PeerId,
    welcome: (there: SimPeer) => boolean,
    done: (connection: Connection | undefined, there: SimPeer | undefined) => void,
  ): void {
    const known = this.#peers.get(to)
    const end = (ms: number): unknown =>
      this.world.after(ms, () => from.life.run(() => done(undefined, undefined)))
    if (known === undefined) return void end(0)
    const roundTrip = 2 * this.links.latencyMs(from.port, known.port)
    const knock = (attempt: number): void => {
      const at = SYN_MS[attempt]
      if (at === undefined) return void end(DIAL_MS_MAX - (SYN_MS.at(-1) ?? 0))
      if (this.#dark.has(to) || !this.reaches(from.port, known.port)) {
        const next = SYN_MS[attempt + 1] ?? at
        return void this.world.after(next - at, () => knock(attempt + 1))
      }
      if (this.peer(to) === undefined) return void end(roundTrip)
      const handshake = roundTrip * HANDSHAKE_ROUND_TRIPS * (1 + this.random() / 10)
      this.world.after(handshake, () => {
        const there = this.peer(to)
        if (!from.life.alive) return
        if (there === undefined || !this.reaches(from.port, there.port) || !welcome(there)) end(0)
        else from.life.run(() => done(this.#connect(from, there), there))
      })
    }
    knock(0)
  }

  /** Peers that messages can reach from `id` over live connections, itself included. */
  component(id: PeerId): Set<PeerId> {
    const found = new Set([id])
    for (const each of found) for (const next of this.peer(each)?.transport.connected() ?? []) found.add(next)
    return found
  }

  #connect(from: { port: Port; life: Life }, there: SimPeer): Connection {
    const connection = new Connection(this.#wire, from, there)
    this.#connections.add(connection)
    connection.onEnd = () => this.#connections.delete(connection)
    return connection
  }

  #look(): void {
    for (const connection of this.#connections) connection.look()
  }

  #arrived(from: Port, to: Port, bytes: number): void {
    this.counts.frames++
    this.counts.bytes += bytes
    // FNV-1a over what arrived where and when: cheap enough for every frame.
    const at = Math.floor(this.world.nowMs * 1_000)
    for (const part of [from.index, to.index, bytes, at | 0])
      this.#digest = Math.imul(this.#digest ^ part, 0x01000193)
  }

  #say(): void {
    this.world.say(
      `net ${this.counts.frames} frames ${this.counts.bytes} B ${(this.#digest >>> 0).toString(16)}`,
    )
    this.world.after(DIGEST_MS, () => this.#say())
  }
}

/** The transport on virtual time: connections are dialled when they are needed, and kept when the network says so. */
import assert from 'node:assert/strict'
import type { Failure } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import {
  DIAL_MS_MAX,
  FAREWELL_AGAIN_MS,
  FRAME_BYTES_MAX,
  REQUESTS_PER_PEER_MAX,
  SEND_QUEUE_FRAMES_MAX,
} from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { type Cap, type Held, heldDown, heldUp, hold } from '../protocols/rate/caps.ts'
import type { Channel, Path, Service, Transport } from '../protocols/transport.ts'
import { type Caps, SimChannel } from './channel.ts'
import type { Connection, End } from './connection.ts'
import type { Life } from './life.ts'
import type { Port } from './links.ts'
import type { SimNetwork } from './network.ts'
import { Standing } from './standing.ts'

type Frame = { readonly protocol: string; readonly bytes: Uint8Array }
type Dial = { frames: Frame[]; readonly waiting: ((connection: Connection | undefined) => void)[] }
/** How a request ends when its connection dies. */
type Abort = () => void

/** Stream id, protocol and length of a frame, with what the encrypter adds. */
const HEADER_BYTES = 40
const NOBODY: ReadonlySet<PeerId> = new Set()
const NOBODY_PARTS = { protocol: '', frames: new Map<PeerId, Uint8Array>() }

export class SimTransport implements Transport {
  readonly self: PeerId
  readonly #network: SimNetwork
  readonly #end: End
  readonly #services = new Map<string, Service>()
  readonly #connections = new Map<PeerId, Connection>()
  readonly #channels = new Map<PeerId, Set<Connection>>()
  readonly #dials = new Map<PeerId, Dial>()
  readonly #asked = new Map<PeerId, Set<Abort>>()
  readonly #answering = new Map<PeerId, number>()
  readonly #standing: Standing
  readonly #keeping = new Set<PeerId>()
  readonly #watchers: ((peer: PeerId, up: boolean) => void)[] = []
  #connected: readonly PeerId[] = []
  #farewells: { readonly protocol: string; readonly frames: ReadonlyMap<PeerId, Uint8Array> } = NOBODY_PARTS
  #caps: readonly Held[] = []
  readonly #toldMs = new Map<PeerId, number>()

  constructor(network: SimNetwork, port: Port, life: Life) {
    this.#network = network
    this.self = port.peer
    this.#end = { port, life }
    this.#standing = new Standing(network.world, port.peer)
  }

  send(to: PeerId, protocol: string, frame: Uint8Array, { dial = true }: { dial?: boolean } = {}): void {
    assert(frame.length <= FRAME_BYTES_MAX)
    if (!this.#lives() || !this.allows(to)) return
    const connection = this.#connections.get(to)
    if (connection !== undefined) return this.#carry(connection, protocol, Uint8Array.from(frame))
    if (!this.#dials.has(to) && (!dial || this.#standing.backsOff(to, false))) return
    const { frames } = this.#dial(to)
    frames.push({ protocol, bytes: Uint8Array.from(frame) })
    if (frames.length > SEND_QUEUE_FRAMES_MAX) frames.shift()
  }

  request(to: PeerId, protocol: string, frame: Uint8Array, timeoutMs: number, done: Done<Uint8Array>): void {
    assert(frame.length <= FRAME_BYTES_MAX)
    if (!this.#lives()) return
    const { clock } = this.#end.life
    const startedMs = clock.nowMs()
    const bytes = Uint8Array.from(frame)
    const asked = setOf(this.#asked, to)
    let over = false
    let withdraw = (): void => {}
    const end = (outcome: Outcome<Uint8Array>): void => {
      if (over) return
      over = true
      timer.cancel()
      asked.delete(abort)
      done(outcome)
    }
    const abort = (): void => end(failed(unreachable(to, clock.nowMs() - startedMs)))
    const timer = clock.after(timeoutMs, () => {
      withdraw()
      end(failed({ code: 'TIMEOUT', what: protocol, afterMs: timeoutMs }))
    })
    if (asked.size >= REQUESTS_PER_PEER_MAX) return this.#soon(() => end(failed(busy(to))))
    asked.add(abort)
    this.#reach(to, (connection) => {
      if (over) return
      if (connection === undefined) return abort()
      const there = this.#across(connection)
      connection.carry(this.#endOf(connection), bytes.length + HEADER_BYTES, false, () => {
        const drop = there?.answer(this.self, connection, { protocol, bytes }, end)
        withdraw = () => connection.carry(this.#endOf(connection), HEADER_BYTES, false, () => drop?.())
      })
    })
  }

  open(to: PeerId, protocol: string, done: Done<Channel>): void {
    if (!this.#lives()) return
    const startedMs = this.#end.life.clock.nowMs()
    const fail = (): void => done(failed(unreachable(to, this.#end.life.clock.nowMs() - startedMs)))
    this.#reach(to, (connection) => {
      if (connection === undefined) return fail()
      let serves = true
      const welcome = (there: { transport: SimTransport }): boolean => {
        serves = there.transport.#services.get(protocol)?.channel !== undefined
        return serves && there.transport.allows(this.self)
      }
      this.#network.dial(this.#end, to, welcome, (own, there) => {
        if (!serves) return done(failed({ code: 'UNSUPPORTED', what: protocol }))
        if (own === undefined || there === undefined) return fail()
        const [near, far] = SimChannel.pair(own, this.#capsFor(to), there.transport.#capsFor(this.self))
        this.#mind(to, own)
        there.transport.#mind(this.self, own)
        there.life.run(() => there.transport.#services.get(protocol)?.channel?.(this.self, far))
        done(ok(near))
      })
    })
  }

  serve(protocol: string, service: Service): void {
    assert(!this.#services.has(protocol), `${protocol} is served already`)
    this.#services.set(protocol, service)
  }

  allow(peers: ReadonlyMap<PeerId, readonly string[]>): void {
    this.#standing.allow(peers.keys())
    for (const peer of new Set([...this.#connections.keys(), ...this.#channels.keys()]))
      if (!this.allows(peer)) this.#part(peer)
    for (const peer of this.#kept()) this.#keep(peer)
  }

  shape(caps: readonly Cap[]): void {
    this.#caps = hold(this.#caps, caps, this.#end.life.clock.nowMs())
  }

  #capsFor(peer: PeerId): Caps {
    return { up: () => heldUp(this.#caps, peer), down: () => heldDown(this.#caps, peer) }
  }

  part(protocol: string, frames: ReadonlyMap<PeerId, Uint8Array>): void {
    this.#farewells = { protocol, frames }
  }

  allows(peer: PeerId): boolean {
    return this.#standing.isWelcome(peer)
  }

  connected(): PeerId[] {
    return [...this.#connected]
  }

  watch(handler: (peer: PeerId, up: boolean) => void): void {
    this.#watchers.push(handler)
  }

  rttMs(peer: PeerId): number | undefined {
    const connection = this.#connections.get(peer)
    if (connection === undefined) return undefined
    return 2 * this.#network.links.latencyMs(connection.dialler.port, connection.listener.port)
  }

  /** No NAT here: nobody needs a relay. */
  path(peer: PeerId): Path | undefined {
    return this.#connections.has(peer) ? 'direct' : undefined
  }

  addresses(): string[] {
    const { site, index } = this.#end.port
    return [`/ip4/10.${site.index & 255}.${index >> 8}.${index & 255}/tcp/4710/p2p/${this.self}`]
  }

  blame(peer: PeerId, why: string): void {
    const { world, counts } = this.#network
    counts.blames++
    world.say(`net ${this.self} blames ${peer}: ${why}`)
    if (this.#standing.blame(peer)) this.#part(peer)
  }

  /** The live connection to a peer, for the other twins. */
  connectionTo(peer: PeerId): Connection | undefined {
    return this.#connections.get(peer)
  }

  hear(from: PeerId, protocol: string, bytes: Uint8Array): void {
    this.#services.get(protocol)?.frame?.(from, bytes)
  }

  /** Serves one request; returns how its asker takes it back. */
  answer(
    from: PeerId,
    connection: Connection,
    { protocol, bytes }: Frame,
    end: Done<Uint8Array>,
  ): () => void {
    let over = false
    const back = (outcome: Outcome<Uint8Array>): void => {
      const length = outcome.ok ? outcome.value.length : JSON.stringify(outcome.failure).length
      connection.carry(this.#endOf(connection), length + HEADER_BYTES, false, () => end(outcome))
    }
    const service = this.#services.get(protocol)
    if (service?.request === undefined) {
      back(failed({ code: 'UNSUPPORTED', what: protocol }))
      return () => {}
    }
    const answering = this.#answering.get(from) ?? 0
    if (answering >= REQUESTS_PER_PEER_MAX) {
      back(failed(busy(this.self)))
      return () => {}
    }
    this.#answering.set(from, answering + 1)
    const release = (): void => {
      if (!over) this.#answering.set(from, (this.#answering.get(from) ?? 1) - 1)
      over = true
    }
    service.request(from, bytes, (outcome) => {
      if (over) return
      release()
      back(outcome.ok ? ok(Uint8Array.from(outcome.value)) : outcome)
    })
    return release
  }

  #lives(): boolean {
    return this.#end.life.alive
  }

  #soon(run: () => void): void {
    this.#end.life.clock.after(0, run)
  }

  #carry(connection: Connection, protocol: string, bytes: Uint8Array): void {
    const there = this.#across(connection)
    connection.carry(this.#endOf(connection), bytes.length + HEADER_BYTES, false, () =>
      there?.hear(this.self, protocol, bytes),
    )
  }

  #endOf(connection: Connection): End {
    return connection.dialler.life === this.#end.life ? connection.dialler : connection.listener
  }

  /** The transport at the other end, in the life that made the connection. */
  #across(connection: Connection): SimTransport | undefined {
    const { port, life } = connection.other(this.#endOf(connection))
    const peer = this.#network.peer(port.peer)
    return peer?.life === life ? peer.transport : undefined
  }

  /** Uses the connection to a peer, dialling first if need be. */
  #reach(to: PeerId, use: (connection: Connection | undefined) => void): void {
    const connection = this.#connections.get(to)
    if (connection !== undefined) return use(connection)
    const refused = !this.allows(to) || (!this.#dials.has(to) && this.#standing.backsOff(to, true))
    if (refused) return this.#soon(() => use(undefined))
    this.#dial(to).waiting.push(use)
  }

  #dial(to: PeerId): Dial {
    const found = this.#dials.get(to)
    if (found !== undefined) return found
    const dial: Dial = { frames: [], waiting: [] }
    this.#dials.set(to, dial)
    const welcome = ({ transport }: { transport: SimTransport }): boolean => {
      if (!transport.allows(this.self)) transport.#bidFarewell(this)
      return transport.allows(this.self) && this.allows(to)
    }
    this.#network.dial(this.#end, to, welcome, (connection, there) => {
      const earlier = this.#connections.get(to)
      // Both dialled at once, and the other was first.
      if (earlier !== undefined) connection?.close()
      else if (connection !== undefined && there !== undefined) {
        connection.onDown = () => {
          this.#end.life.run(() => this.#down(to, connection))
          there.life.run(() => there.transport.#down(this.self, connection))
        }
        there.transport.#up(this.self, connection)
        this.#up(to, connection)
      }
      if (!this.#connections.has(to)) this.#standing.missed(to)
      this.#dialled(to, this.#connections.get(to))
    })
    return dial
  }

  /** Who was removed and dials is told so. */
  #bidFarewell(to: SimTransport): void {
    const { protocol, frames } = this.#farewells
    const frame = frames.get(to.self)
    const { nowMs } = this.#network.world
    if (frame === undefined || nowMs < (this.#toldMs.get(to.self) ?? -Infinity) + FAREWELL_AGAIN_MS) return
    this.#toldMs.set(to.self, nowMs)
    const { port, life } = to.#end
    const latencyMs = this.#network.links.latencyMs(this.#end.port, port)
    life.clock.after(latencyMs, () => {
      if (to.allows(this.self)) to.hear(this.self, protocol, Uint8Array.from(frame))
    })
  }

  #dialled(to: PeerId, connection: Connection | undefined): void {
    const dial = this.#dials.get(to)
    this.#dials.delete(to)
    if (dial === undefined) return
    if (connection !== undefined)
      for (const { protocol, bytes } of dial.frames) this.#carry(connection, protocol, bytes)
    for (const use of dial.waiting) use(connection)
  }

  #up(peer: PeerId, connection: Connection): void {
    this.#connections.set(peer, connection)
    this.#standing.reached(peer)
    this.#network.world.say(`net ${this.self} up ${peer}`)
    this.#changed(peer, true)
    // A dial of our own that is still on its way has found what it was for.
    this.#end.life.run(() => {
      this.#dialled(peer, connection)
      for (const watcher of this.#watchers) watcher(peer, true)
    })
  }

  #down(peer: PeerId, connection: Connection): void {
    if (this.#connections.get(peer) !== connection) return
    this.#connections.delete(peer)
    this.#network.world.say(`net ${this.self} down ${peer}`)
    this.#changed(peer, false)
    this.#answering.delete(peer)
    for (const abort of Array.from(this.#asked.get(peer) ?? [])) abort()
    for (const watcher of this.#watchers) watcher(peer, false)
    if (this.#kept().has(peer)) this.#keep(peer)
  }

  #changed(peer: PeerId, up: boolean): void {
    const others = this.#connected.filter((each) => each !== peer)
    const at = others.findIndex((each) => each > peer)
    this.#connected = up ? others.toSpliced(at === -1 ? others.length : at, 0, peer) : others
    this.#network.topics.changed(this.self)
  }

  /** Keeps the connection of a channel in mind, so that it ends when the peer is no longer allowed. */
  #mind(peer: PeerId, connection: Connection): void {
    const channels = setOf(this.#channels, peer)
    channels.add(connection)
    const onEnd = connection.onEnd
    connection.onEnd = () => {
      onEnd()
      channels.delete(connection)
    }
  }

  #part(peer: PeerId): void {
    this.#connections.get(peer)?.close()
    for (const connection of Array.from(this.#channels.get(peer) ?? [])) connection.close()
  }

  #kept(): ReadonlySet<PeerId> {
    return this.#network.keep ? this.#standing.kept() : NOBODY
  }

  /** Dials until there is a connection. Of two, the one with the lesser id goes first. */
  #keep(peer: PeerId): void {
    if (this.#keeping.has(peer)) return
    this.#keeping.add(peer)
    const { clock } = this.#end.life
    const { random } = this.#network
    const attempt = (): void => {
      if (!this.#standing.isAllowed(peer) || this.#connections.has(peer)) {
        this.#keeping.delete(peer)
        return
      }
      this.#reach(peer, (connection) => {
        if (connection !== undefined) this.#keeping.delete(peer)
        else clock.after(this.#standing.patienceMs(peer) * (1 + random() / 4), attempt)
      })
    }
    clock.after((this.self < peer ? 0 : 500) + 200 * random(), attempt)
  }
}

const unreachable = (peer: PeerId, afterMs: number): Failure => ({
  code: 'PEER_UNREACHABLE',
  peer,
  afterMs: Math.round(Math.min(afterMs, 2 * DIAL_MS_MAX)),
})
const busy = (peer: PeerId): Failure => ({ code: 'PEER_BUSY', peer, what: 'requests' })

function setOf<V>(map: Map<PeerId, Set<V>>, key: PeerId): Set<V> {
  let found = map.get(key)
  if (found === undefined) map.set(key, (found = new Set()))
  return found
}

/** The transport port over libp2p: what is served, what is asked, and the lines and channels that carry it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { peerIdFromString } from '@libp2p/peer-id'
import { bulkAnswer, bulkAsk, PROTOCOL as BULK } from '../bulk/messages.ts'
import { failureOf, type Failure } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { BULK_ASK_MS, DIAL_MS_MAX, FAREWELL_MS, FRAME_BYTES_MAX, INBOUND_STREAMS_MAX } from '../limits.ts'
import { failed, ok, type Done, type Outcome } from '../outcome.ts'
import type { Cap } from '../rate/caps.ts'
import type { Channel, Path, Service, Transport } from '../transport.ts'
import type { BulkSockets } from './bulk-sockets.ts'
import { StreamChannel } from './channel.ts'
import { CHANNEL, Connections, FRAME, REQUEST, unreachable } from './connections.ts'
import { packFrame } from './frames.ts'
import type { Gate } from './gate.ts'
import { readFrames } from './inbound.ts'
import { failureOfOpening, Line, sendOn } from './line.ts'
import { isRelayed } from './relay.ts'
import { answerRequests, Asker, InHand } from './requests.ts'
import { RoundTrips } from './round-trips.ts'
import { Shaper } from './shaper.ts'

type Log = (line: string) => void

export class Libp2pTransport implements Transport {
  readonly self: PeerId
  readonly #libp2p: Libp2p
  readonly #gate: Gate
  readonly #log: Log
  readonly connections: Connections
  readonly #relayed: () => string[]
  readonly #sockets: BulkSockets
  readonly #channels = new Map<string, NonNullable<Service['channel']>>()
  readonly #roundTrips: RoundTrips
  readonly #shaper: Shaper
  readonly #asked = new InHand()
  readonly #answering = new InHand()
  readonly #lines = new Map<string, Line>()
  readonly #askers = new Map<string, Asker>()
  readonly #watchers: ((peer: PeerId, up: boolean) => void)[] = []
  readonly #up = new Set<PeerId>()
  #farewells: { readonly protocol: string; readonly frames: ReadonlyMap<PeerId, Uint8Array> } = NOBODY_PARTS
  #closed = false

  /** `relayed` gives addresses of this peer through its relays. */
  constructor(libp2p: Libp2p, gate: Gate, log: Log, sockets: BulkSockets, relayed: () => string[]) {
    this.self = libp2p.peerId.toString()
    this.#libp2p = libp2p
    this.#gate = gate
    this.#log = log
    this.#relayed = relayed
    this.#sockets = sockets
    this.connections = new Connections(libp2p, gate, log)
    this.#roundTrips = new RoundTrips(this.connections)
    this.#shaper = new Shaper()
    libp2p.addEventListener('connection:open', ({ detail }) => this.#meet(detail))
    libp2p.addEventListener('peer:connect', ({ detail }) => this.#saw(detail.toString(), true))
    libp2p.addEventListener('peer:disconnect', ({ detail }) => this.#saw(detail.toString(), false))
    sockets.start({
      shaper: this.#shaper,
      admits: (peer) => !this.#closed && gate.admits(peer),
      blame: (peer, why) => this.blame(peer, why),
      opened: (peer, protocol, channel) => this.#channels.get(protocol)?.(peer, channel),
    })
    if (sockets.on) this.serve(BULK, { request: (from, frame, reply) => reply(this.#ticket(from, frame)) })
    libp2p.addEventListener('peer:discovery', ({ detail }) => this.connections.hint(detail.id.toString()))
  }

  close(): void {
    this.#closed = true
    this.connections.close()
    this.#roundTrips.close()
    this.#shaper.close()
    for (const asker of this.#askers.values()) asker.close({ code: 'STOPPING', peer: this.self })
    for (const line of this.#lines.values()) line.abort('closed')
  }

  send(to: PeerId, protocol: string, frame: Uint8Array, { dial = true }: { dial?: boolean } = {}): void {
    if (this.#closed || !this.#gate.admits(to)) return
    if (frame.length > FRAME_BYTES_MAX)
      return this.#log(`${protocol}: a frame of ${frame.length} B was not sent`)
    this.#lineTo(to, protocol).send(packFrame(frame), dial)
  }

  request(to: PeerId, protocol: string, frame: Uint8Array, timeoutMs: number, done: Done<Uint8Array>): void {
    const refusal = this.#refusal(to, frame)
    if (refusal !== undefined) setImmediate(() => done(failed(refusal)))
    else this.#askerOf(to, protocol).ask(frame, timeoutMs, done)
  }

  open(to: PeerId, protocol: string, done: Done<Channel>): void {
    const refusal = this.#refusal(to)
    if (refusal !== undefined) {
      setImmediate(() => done(failed(refusal)))
      return
    }
    void this.#openChannel(to, protocol).then(done)
  }

  serve(protocol: string, service: Service): void {
    if (service.frame !== undefined)
      this.#handle(protocol + FRAME, (stream, peer, blame) =>
        readFrames(stream, { onFrame: (frame) => service.frame?.(peer, frame), onBad: blame }),
      )
    if (service.request !== undefined)
      this.#handle(protocol + REQUEST, (stream, peer, blame) => {
        const answer = (frame: Uint8Array, reply: Done<Uint8Array>): void =>
          service.request?.(peer, frame, reply)
        answerRequests(stream, { peer, inHand: this.#answering, answer, blame })
      })
    if (service.channel !== undefined) {
      this.#channels.set(protocol, service.channel)
      this.#handle(protocol + CHANNEL, (stream, peer, blame, connection) => {
        this.connections.markBulk(connection)
        service.channel?.(peer, this.#streamChannel(stream, peer, !connection.direct, blame))
      })
    }
  }

  allow(peers: ReadonlyMap<PeerId, readonly string[]>): void {
    const before = new Map(
      [...this.#gate.peers(), ...this.#up].map((peer) => [peer, this.#gate.addressesOf(peer)]),
    )
    this.#gate.allow(peers)
    for (const peer of before.keys()) if (!this.#gate.admits(peer)) this.#part(peer, 'not allowed any more')
    for (const peer of this.#gate.peers()) {
      const [known, now] = [before.get(peer) ?? [], this.#gate.addressesOf(peer)]
      if (before.has(peer) && String(known) === String(now)) continue
      this.#remember(peer)
      const news = now.filter((address) => !known.includes(address))
      this.connections.hint(peer, !before.has(peer) || news.some((address) => !isRelayed(address)))
    }
    this.connections.kick()
  }

  part(protocol: string, frames: ReadonlyMap<PeerId, Uint8Array>): void {
    this.#farewells = { protocol, frames }
    this.#gate.part(frames.keys())
  }

  shape(caps: readonly Cap[]): void {
    this.#shaper.shape(caps)
  }

  connected(): PeerId[] {
    return [...this.#up].sort()
  }

  watch(handler: (peer: PeerId, up: boolean) => void): void {
    this.#watchers.push(handler)
  }

  rttMs(peer: PeerId): number | undefined {
    return this.#roundTrips.rttMs(peer)
  }

  addresses(): string[] {
    return [...this.ownAddresses(), ...this.#relayed()]
  }

  /** Where it listens itself. */
  ownAddresses(): string[] {
    return this.#libp2p
      .getMultiaddrs()
      .map(String)
      .filter((address) => !isRelayed(address))
  }

  path(peer: PeerId): Path | undefined {
    const connection = this.connections.control(peer)
    return connection === undefined ? undefined : connection.direct ? 'direct' : 'relay'
  }

  blame(peer: PeerId, why: string): void {
    this.#log(`${peer}: bad frame, ${why}`)
    if (this.#gate.blame(peer)) this.#part(peer, 'too many bad frames')
  }

  #refusal(to: PeerId, frame?: Uint8Array): Failure | undefined {
    if (this.#closed) return { code: 'STOPPING', peer: this.self }
    if (!this.#gate.admits(to)) return { code: 'PEER_UNREACHABLE', peer: to, afterMs: 0 }
    if (frame === undefined || frame.length <= FRAME_BYTES_MAX) return undefined
    return { code: 'FRAME_TOO_LARGE', bytes: frame.length, bytesMax: FRAME_BYTES_MAX }
  }

  #lineTo(peer: PeerId, protocol: string): Line {
    const key = `${peer} ${protocol}`
    let line = this.#lines.get(key)
    if (line === undefined) {
      const connect = (dial: boolean): Promise<Connection> => this.#connect(peer, dial, false)
      line = new Line({ peer, protocol: protocol + FRAME, connect })
      this.#lines.set(key, line)
    }
    return line
  }

  #askerOf(peer: PeerId, protocol: string): Asker {
    const key = `${peer} ${protocol}`
    let asker = this.#askers.get(key)
    if (asker === undefined) {
      const connect = (): Promise<Connection> => this.#connect(peer, true, true)
      const blame = (why: string): void => this.blame(peer, why)
      asker = new Asker({ peer, protocol: protocol + REQUEST, inHand: this.#asked, connect, blame })
      this.#askers.set(key, asker)
    }
    return asker
  }

  #connect(peer: PeerId, dial: boolean, urgent: boolean): Promise<Connection> {
    const connection = this.connections.control(peer)
    if (connection !== undefined) return Promise.resolve(connection)
    return dial ? this.connections.connect(peer, urgent) : Promise.reject(unreachable(peer, 0))
  }

  async #openChannel(to: PeerId, protocol: string): Promise<Outcome<Channel>> {
    return (await this.#openSocket(to, protocol)) ?? this.#openStream(to, protocol)
  }

  /** Undefined where sockets do not get in: a stream does. */
  async #openSocket(to: PeerId, protocol: string): Promise<Outcome<Channel> | undefined> {
    if (!this.#sockets.mayTry(to)) return undefined
    const control = await this.connections.connect(to, true).catch(() => undefined)
    const host = control?.direct === true ? hostOf(control) : undefined
    if (host === undefined) return undefined
    const said = await new Promise<Outcome<Uint8Array>>((resolve) =>
      this.request(to, BULK, bulkAsk.encode({ protocol }), BULK_ASK_MS, resolve),
    )
    if (!said.ok) {
      const { failure } = said
      if (failure.code === 'UNSUPPORTED' && failure.what === protocol) return failed(failure)
      this.#sockets.refused(to, `no ticket: ${failure.code}`)
      return undefined
    }
    try {
      const channel = await this.#sockets.dial(to, host, bulkAnswer.decode(said.value))
      if (channel !== undefined) return ok(channel)
      this.#sockets.refused(to, `no way in at ${host}`)
    } catch (error) {
      this.blame(to, failureOf(error).code)
    }
    return undefined
  }

  #ticket(from: PeerId, frame: Uint8Array): Outcome<Uint8Array> {
    try {
      const { protocol } = bulkAsk.decode(frame)
      if (!this.#channels.has(protocol)) return failed({ code: 'UNSUPPORTED', what: protocol })
      const given = this.#sockets.give(from, protocol)
      return given === undefined
        ? failed({ code: 'PEER_BUSY', peer: this.self, what: 'tickets' })
        : ok(bulkAnswer.encode(given))
    } catch (error) {
      this.blame(from, failureOf(error).code)
      return failed(failureOf(error))
    }
  }

  async #openStream(to: PeerId, protocol: string): Promise<Outcome<Channel>> {
    try {
      const connection = await this.connections.bulk(to)
      const stream = await connection.newStream(protocol + CHANNEL, {
        signal: AbortSignal.timeout(DIAL_MS_MAX),
        maxOutboundStreams: INBOUND_STREAMS_MAX,
        runOnLimitedConnection: true,
      })
      return ok(this.#streamChannel(stream, to, !connection.direct, (why) => this.blame(to, why)))
    } catch (error) {
      return failed(failureOfOpening(error, { peer: to, protocol }))
    }
  }

  #streamChannel(
    stream: Stream,
    peer: PeerId,
    relayed: boolean,
    blame: (why: string) => void,
  ): StreamChannel {
    return new StreamChannel(stream, { peer, relayed, pace: this.#shaper.pace(peer), blame })
  }

  #handle(
    protocol: string,
    handler: (stream: Stream, peer: PeerId, blame: (why: string) => void, connection: Connection) => void,
  ): void {
    const onStream = (stream: Stream, connection: Connection): void => {
      const peer = connection.remotePeer.toString()
      if (!this.#gate.admits(peer)) return stream.abort(new Error('not allowed'))
      handler(stream, peer, (why) => this.blame(peer, why), connection)
    }
    const options = {
      maxInboundStreams: INBOUND_STREAMS_MAX,
      maxOutboundStreams: INBOUND_STREAMS_MAX,
      runOnLimitedConnection: true,
    }
    this.#libp2p.handle(protocol, onStream, options).catch((error: unknown) => {
      if (!this.#closed) this.#log(`${protocol}: not served, ${failureOf(error).code}`)
    })
  }

  /** Who gets as far as this and is not admitted is a peer that was removed: it is told so, and hung up on. */
  #meet(connection: Connection): void {
    const peer = connection.remotePeer.toString()
    const { protocol, frames } = this.#farewells
    const frame = frames.get(peer)
    if (frame === undefined || !this.#gate.owesFarewell(peer)) return
    this.#gate.farewell(peer)
    this.#log(`${peer}: told that it was removed`)
    bidFarewell(connection, protocol + FRAME, frame).catch((error: Error) => connection.abort(error))
  }

  #saw(peer: PeerId, up: boolean): void {
    if (up === this.#up.has(peer) || (up && !this.#gate.admits(peer))) return
    if (up) {
      this.#up.add(peer)
      this.#roundTrips.start(peer)
    } else {
      this.#up.delete(peer)
      this.#roundTrips.stop(peer)
      this.#sockets.drop(peer)
    }
    if (!this.#closed) for (const handler of this.#watchers) handler(peer, up)
  }

  /** Ends what there is with a peer that is not admitted any more. */
  #part(peer: PeerId, why: string): void {
    for (const lines of [this.#lines, this.#askers])
      for (const key of lines.keys()) if (key.startsWith(`${peer} `)) this.#forget(lines, key, peer)
    this.connections.drop(peer, why)
    this.connections.forget(peer)
    this.#sockets.drop(peer)
  }

  #forget(lines: Map<string, Line | Asker>, key: string, peer: PeerId): void {
    const line = lines.get(key)
    lines.delete(key)
    if (line instanceof Asker) line.close({ code: 'PEER_UNREACHABLE', peer, afterMs: 0 })
    else line?.abort('not allowed')
  }

  /** Kept where kad-dht finds it, too. */
  #remember(peer: PeerId): void {
    const multiaddrs = this.#gate.addressesOf(peer).flatMap((address) => {
      try {
        return [multiaddr(address)]
      } catch {
        this.#log(`${peer}: ${address} is no multiaddr`)
        return []
      }
    })
    if (multiaddrs.length === 0) return
    this.#libp2p.peerStore.merge(peerIdFromString(peer), { multiaddrs }).catch(() => {})
  }
}

/** In which the other end reads what has arrived. */
const FAREWELL_READ_MS = 500
const NOBODY_PARTS = { protocol: '', frames: new Map<PeerId, Uint8Array>() }

async function bidFarewell(connection: Connection, protocol: string, frame: Uint8Array): Promise<void> {
  const signal = AbortSignal.timeout(FAREWELL_MS)
  const stream = await connection.newStream(protocol, { signal, runOnLimitedConnection: true })
  sendOn(stream, packFrame(frame))
  await stream.close({ signal })
  // Its end of the stream goes with the connection, read or not.
  await sleep(FAREWELL_READ_MS)
  await connection.close({ signal })
}

/** The address of the other end, where the connection is one that a socket could be made beside. */
const hostOf = ({ remoteAddr }: Connection): string | undefined =>
  /^\/ip[46]\/([^/]+)\/tcp\/\d+/.exec(remoteAddr.toString())?.[1]

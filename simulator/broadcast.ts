/**
 * Gossip on virtual time: each topic is a graph of a few neighbours per subscriber, over connections that exist, and a
 * message is passed on by everyone who accepted it.
 */
import type { Broadcast, Verdict } from '../protocols/broadcast.ts'
import type { PeerId } from '../protocols/ids.ts'
import { GOSSIP_BYTES_MAX } from '../protocols/limits.ts'
import type { SimNetwork } from './network.ts'
import type { SimTransport } from './transport.ts'

type Message = {
  readonly topic: string
  readonly author: PeerId
  readonly frame: Uint8Array
  /** Who has it: a peer hears a message once, over whichever way it came first. */
  readonly seen: Set<PeerId>
}
type Handler = (from: PeerId, frame: Uint8Array) => Verdict

/** Gossipsub's D. */
const DEGREE = 6
/** Signature, author, sequence number and topic. */
const ENVELOPE_BYTES = 160

export class SimBroadcast implements Broadcast {
  readonly #network: SimNetwork
  readonly #transport: SimTransport
  readonly #handlers = new Map<string, Handler>()

  constructor(network: SimNetwork, transport: SimTransport) {
    this.#network = network
    this.#transport = transport
  }

  publish(topic: string, frame: Uint8Array): void {
    if (frame.length > GOSSIP_BYTES_MAX) return
    const author = this.#transport.self
    this.#pass({ topic, author, frame: Uint8Array.from(frame), seen: new Set([author]) }, author)
  }

  subscribe(topic: string, handler: Handler): void {
    this.#handlers.set(topic, handler)
    this.#network.topics.subscribed(topic, this.#transport.self)
  }

  hears(topic: string): boolean {
    return this.#handlers.has(topic)
  }

  #pass(message: Message, from: PeerId): void {
    const self = this.#transport.self
    for (const to of this.#network.topics.neighbours(message.topic, self)) {
      const connection = this.#transport.connectionTo(to)
      if (connection === undefined || to === from || message.seen.has(to)) continue
      const end = connection.dialler.port.peer === self ? connection.dialler : connection.listener
      connection.carry(end, message.frame.length + ENVELOPE_BYTES, false, () =>
        this.#network.peer(to)?.broadcast.hear(message, self),
      )
    }
  }

  hear(message: Message, from: PeerId): void {
    const self = this.#transport.self
    if (message.seen.has(self)) return
    message.seen.add(self)
    const handler = this.#handlers.get(message.topic)
    if (handler === undefined || !this.#transport.allows(message.author)) return
    // One frame for all who hear it: decoders copy what they keep.
    const verdict = handler(message.author, message.frame)
    if (verdict === 'accept') this.#pass(message, from)
    else if (verdict === 'reject') this.#transport.blame(from, `gossip on ${message.topic}`)
  }
}

/** Who passes on to whom, for all topics. Made anew when it is asked for and subscriptions or connections have changed. */
export class Topics {
  readonly #network: SimNetwork
  readonly #topics = new Map<string, Topic>()

  constructor(network: SimNetwork) {
    this.#network = network
  }

  /** Connections of `peer` have changed; of anybody, when nobody is named. */
  changed(peer?: PeerId): void {
    for (const topic of this.#topics.values()) {
      if (peer === undefined) topic.nearest.clear()
      else topic.nearest.delete(peer)
      topic.links = undefined
    }
  }

  subscribed(name: string, peer: PeerId): void {
    const topic = this.#topic(name)
    topic.subscribers.add(peer)
    // Whoever is connected with it may tell it from now on.
    topic.nearest.clear()
    topic.links = undefined
  }

  /** Whom `peer` tells. One that publishes without hearing tells a few subscribers (gossipsub's fan-out). */
  neighbours(name: string, peer: PeerId): readonly PeerId[] {
    const topic = this.#topic(name)
    topic.links ??= this.#links(name, topic)
    return topic.links.get(peer) ?? this.#nearest(name, topic, peer)
  }

  #topic(name: string): Topic {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = { subscribers: new Set(), nearest: new Map(), links: undefined }
      this.#topics.set(name, topic)
    }
    return topic
  }

  /** A link is there when either end chose it, so nobody is left without one. */
  #links(name: string, topic: Topic): Map<PeerId, PeerId[]> {
    const links = new Map<PeerId, Set<PeerId>>()
    const link = (a: PeerId, b: PeerId): void => {
      let known = links.get(a)
      if (known === undefined) links.set(a, (known = new Set()))
      known.add(b)
    }
    for (const peer of topic.subscribers) {
      for (const near of this.#hears(name, peer) ? this.#nearest(name, topic, peer) : []) {
        link(peer, near)
        link(near, peer)
      }
    }
    return new Map([...links].map(([peer, known]) => [peer, [...known].sort()]))
  }

  /** The first few of the connected subscribers in an order that is every peer's own. */
  #nearest(name: string, topic: Topic, peer: PeerId): readonly PeerId[] {
    const known = topic.nearest.get(peer)
    if (known !== undefined) return known
    const connected = this.#network.peer(peer)?.transport.connected() ?? []
    const others = connected.filter((other) => topic.subscribers.has(other) && this.#hears(name, other))
    const distance = (other: PeerId): number => mix(this.#indexOf(peer) ^ mix(this.#indexOf(other)))
    const nearest =
      others.length <= DEGREE
        ? others
        : others
            .map((other): [number, PeerId] => [distance(other), other])
            .sort(([a], [b]) => a - b)
            .slice(0, DEGREE)
            .map(([, other]) => other)
    topic.nearest.set(peer, nearest)
    return nearest
  }

  #hears(name: string, peer: PeerId): boolean {
    return this.#network.peer(peer)?.broadcast.hears(name) ?? false
  }

  #indexOf(peer: PeerId): number {
    return this.#network.peer(peer)?.port.index ?? 0
  }
}

type Topic = {
  readonly subscribers: Set<PeerId>
  /** Whom each would tell by itself. */
  readonly nearest: Map<PeerId, readonly PeerId[]>
  links: ReadonlyMap<PeerId, readonly PeerId[]> | undefined
}

/** murmur3's finaliser. */
function mix(value: number): number {
  let x = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

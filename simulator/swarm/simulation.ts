/**
 * A swarm of the real cores (picker, holdings, super-seeding) on virtual time: one source that holds an image, peers that all
 * want it, each with a line of its own; some come late, leave, or freeze. What is left out is bytes: chunks are never made,
 * hashed or stored, so a thousand peers cost a minute and a few hundred MiB.
 */
import { HAVE_MORE_MS, PICK_MS, SERVED_CHANNELS_MAX } from '../../protocols/limits.ts'
import { type Download, HERE, startDownload } from '../../migration/swarm/holdings.ts'
import { type Effect, type Event, step } from '../../migration/swarm/picker.ts'
import { startSuperSeeding, type SuperSeeding } from '../../migration/swarm/receivers.ts'
import { type Event as SeedingEvent, step as stepSeeding } from '../../migration/swarm/super-seeding.ts'
import { World } from '../world.ts'
import { MBIT } from './fluid-bound.ts'
import { Line, type Sending } from './line.ts'
import { boundOf, type Kind, kindOf, type Setting, stays } from './setting.ts'

export type Result = {
  readonly boundMs: number
  readonly lastMs: number
  readonly medianMs: number
  /** Chunks that the source sent, over those of the image. */
  readonly egress: number
  /** Chunks that came twice, over all that came. */
  readonly duplicates: number
  readonly events: number
}

/** No swarm takes so many times its bound: it is stuck. */
const PATIENCE = 10
const SOURCE = 'source'
const nameOf = (at: number): string => `p${at}`

/** What one who asks wants of one who serves, in the order of asking. */
type Queue = { readonly from: Peer; readonly wants: Set<number>; sending: boolean }

type Peer = {
  readonly name: string
  readonly kind: Kind
  readonly line: Line
  /** Those who ask here, by name and in the order of their turns. */
  readonly queues: Queue[]
  readonly queueOf: Map<string, Queue>
  /** Undefined at the source. */
  readonly download: Download | undefined
  news: number[]
  doneMs: number
  /** It has come and has not left. */
  here: boolean
  /** It has come and neither left nor frozen. */
  alive: boolean
}

export function simulate(setting: Setting, seed: number): Result {
  return new Simulation(setting, seed).run()
}

class Simulation {
  readonly #setting: Setting
  readonly #world: World
  readonly #source: Peer
  readonly #peers: Peer[]
  readonly #byName: Map<string, Peer>
  readonly #seeding: SuperSeeding
  /** Peers that download from the source, by their key there. */
  readonly #receivers: Peer[]
  readonly #keys: Map<Peer, number>
  /** Whom each asks. */
  readonly #graph: Map<Peer, Set<Peer>>
  #left: number

  constructor(setting: Setting, seed: number) {
    const { peers, chunks, source } = setting
    this.#setting = setting
    this.#world = new World(seed)
    const all = Array.from({ length: chunks }, (_, index) => index)
    this.#source = this.#peer(SOURCE, { ...kindOf(setting, 0), ...source, joinMs: 0 }, undefined)
    this.#source.here = this.#source.alive = true
    this.#peers = Array.from({ length: peers }, (_, at) => {
      const [name, kind] = [nameOf(at), kindOf(setting, at)]
      return this.#peer(
        name,
        kind,
        startDownload(this.#image(), all, this.#world.random(name), kind.joinMs, name),
      )
    })
    this.#left = this.#peers.filter(({ kind }) => stays(kind)).length
    this.#byName = new Map([this.#source, ...this.#peers].map((peer) => [peer.name, peer]))
    this.#seeding = startSuperSeeding(setting, all, this.#world.random('seeding'), 0)
    this.#receivers = this.#peers.slice(0, SERVED_CHANNELS_MAX)
    this.#keys = new Map(this.#receivers.map((peer, key) => [peer, key]))
    this.#graph = this.#draw()
    for (const peer of this.#peers) this.#live(peer)
    this.#beat()
  }

  run(): Result {
    const boundMs = boundOf(this.#setting)
    const untilMs = boundMs * PATIENCE
    while (this.#left > 0 && this.#world.nowMs < untilMs) this.#world.run(this.#world.nowMs + 1_000)
    const times = this.#peers.flatMap(({ doneMs, kind }) => (stays(kind) ? doneMs : [])).sort((a, b) => a - b)
    let came = 0
    let twice = 0
    for (const { download } of this.#peers) {
      came += download?.meter.frames ?? 0
      twice += (download?.meter.duplicateBytes ?? 0) / this.#setting.chunkBytes
    }
    return {
      boundMs,
      lastMs: times.at(-1) as number,
      medianMs: times[Math.floor(times.length / 2)] as number,
      egress: this.#source.line.sent / this.#setting.chunks,
      duplicates: twice / came,
      events: this.#world.steps,
    }
  }

  // Setting up -----------------------------------------------------------------------------------------------------

  #image(): { bytes: number; chunkBytes: number } {
    const { chunks, chunkBytes } = this.#setting
    return { bytes: chunks * chunkBytes, chunkBytes }
  }

  #peer(name: string, kind: Kind, download: Download | undefined): Peer {
    const { chunkBytes, delayMs, queueMs, parts } = this.#setting
    const ms = {
      up: chunkBytes / (kind.upMbit * MBIT),
      down: chunkBytes / (kind.downMbit * MBIT),
      delay: delayMs + queueMs,
    }
    const line: Line = new Line(this.#world, ms, parts, () => this.#takeTurn(peer))
    const peer: Peer = {
      name,
      kind,
      line,
      queues: [],
      queueOf: new Map(),
      download,
      news: [],
      doneMs: Infinity,
      here: false,
      alive: false,
    }
    return peer
  }

  #live(peer: Peer): void {
    const { joinMs, leaveMs, freezeMs } = peer.kind
    this.#world.after(joinMs, () => {
      peer.here = peer.alive = true
      const others = this.#graph.get(peer) as Set<Peer>
      for (const other of others)
        if (other.here) {
          this.#connect(peer, other)
          this.#connect(other, peer)
        }
      const key = this.#keys.get(peer)
      if (key !== undefined) this.#greet(peer, key)
    })
    if (freezeMs < Infinity) this.#world.after(freezeMs, () => (peer.alive = false))
    if (leaveMs < Infinity) this.#world.after(leaveMs, () => this.#leave(peer))
  }

  #leave(peer: Peer): void {
    peer.here = peer.alive = false
    const key = this.#keys.get(peer)
    this.#later(1, () => {
      for (const other of this.#peers) this.#step(other, { kind: 'lost', peer: peer.name })
      if (key !== undefined) this.#seed({ kind: 'gone', key })
    })
  }

  /** Everyone knows `degree` others, as far as there are so many: the next ones on circles that the dice laid out. */
  #draw(): Map<Peer, Set<Peer>> {
    const { degree } = this.#setting
    const known = new Map(this.#peers.map((peer) => [peer, new Set<Peer>()]))
    const most = Math.min(degree, this.#peers.length - 1)
    const dice = this.#world.random('graph')
    while ((known.get(this.#peers[0] as Peer) as Set<Peer>).size < most) {
      const circle = dice.shuffle(this.#peers)
      circle.forEach((peer, at) => {
        const next = circle[(at + 1) % circle.length] as Peer
        known.get(peer)?.add(next)
        known.get(next)?.add(peer)
      })
    }
    return known
  }

  /** `peer` asks `other`, who says what it holds. */
  #connect(peer: Peer, other: Peer): void {
    if (other.queueOf.has(peer.name)) return
    const queue = { from: peer, wants: new Set<number>(), sending: false }
    other.queues.push(queue)
    other.queueOf.set(peer.name, queue)
    const rttMs = 2 * this.#setting.delayMs
    this.#later(2, () => {
      this.#step(peer, { kind: 'source', peer: other.name, near: false, rttMs })
      const { download } = other
      if (download === undefined) return
      const indexes = [...download.state.keys()].filter((index) => download.state[index] === HERE)
      this.#step(peer, { kind: 'have-more', peer: other.name, indexes })
    })
  }

  #greet(peer: Peer, key: number): void {
    this.#connect(peer, this.#source)
    const { chunks: count } = this.#setting
    const bits = new Uint8Array(Math.ceil(count / 8))
    this.#later(1, () => this.#seed({ kind: 'receiver', key, site: undefined }))
    this.#later(3, () => this.#seed({ kind: 'needs-not', key, from: 0, count, bits, last: true }))
  }

  #beat(): void {
    this.#world.after(PICK_MS, () => {
      this.#seed({ kind: 'tick' })
      for (const peer of this.#peers) this.#step(peer, { kind: 'tick' })
      if (this.#left > 0) this.#beat()
    })
  }

  // What happens ---------------------------------------------------------------------------------------------------

  /** After so many ways from peer to peer. */
  #later(ways: number, run: () => void): void {
    const { delayMs, queueMs } = this.#setting
    this.#world.after(ways * (delayMs + queueMs), run)
  }

  #seed(event: SeedingEvent): void {
    for (const effect of stepSeeding(this.#seeding, event, this.#world.nowMs)) {
      const { indexes } = effect
      const peer = this.#receivers[effect.key] as Peer
      this.#later(1, () => this.#step(peer, { kind: 'have-more', peer: SOURCE, indexes }))
    }
  }

  #step(peer: Peer, event: Event): void {
    const { download } = peer
    if (download === undefined || !peer.alive || peer.doneMs < Infinity) return
    for (const effect of step(download, event, this.#world.nowMs)) this.#perform(peer, effect)
  }

  #perform(peer: Peer, effect: Effect): void {
    switch (effect.kind) {
      case 'want':
      case 'cancel': {
        const other = this.#byName.get(effect.peer) as Peer
        return this.#later(1, () => this.#asked(peer, other, effect))
      }
      case 'write':
        return void this.#world.after(1, () => this.#stored(peer, effect.index, effect.bytes))
      case 'complete':
        peer.doneMs = this.#world.nowMs
        if (stays(peer.kind)) this.#left--
        return
      case 'drop':
        return
      case 'ban':
      case 'starved':
        throw new Error(`${peer.name} at ${this.#world.nowMs} ms: ${JSON.stringify(effect)}`)
    }
  }

  #asked(peer: Peer, other: Peer, { kind, indexes }: Extract<Effect, { kind: 'want' | 'cancel' }>): void {
    const wants = other.queueOf.get(peer.name)?.wants
    if (wants === undefined || !other.alive) return
    for (const index of indexes)
      if (kind === 'want') wants.add(index)
      else wants.delete(index)
    if (other === this.#source && kind === 'want')
      this.#seed({ kind: 'wanted', key: this.#keys.get(peer) as number, indexes })
    other.line.wake()
  }

  /** The next chunk of the next who wants one and to whom none is under way. */
  #takeTurn(peer: Peer): Sending | undefined {
    const { queues, name } = peer
    if (!peer.alive) return undefined
    for (let tried = 0; tried < queues.length; tried++) {
      const queue = queues.shift() as Queue
      queues.push(queue)
      const { from, wants } = queue
      const [index] = wants
      if (index === undefined || queue.sending) continue
      wants.delete(index)
      queue.sending = this.#setting.parts > 1
      const bytes = this.#setting.chunkBytes
      return {
        to: from.line,
        sent: () => (queue.sending = false),
        arrived: () => {
          if (peer.alive) this.#step(from, { kind: 'piece', peer: name, index, bytes })
        },
      }
    }
    return undefined
  }

  #stored(peer: Peer, index: number, bytes: number): void {
    if (!peer.alive) return
    const isFirst = peer.news.length === 0
    peer.news.push(index)
    this.#step(peer, { kind: 'stored', index, bytes })
    if (isFirst) this.#world.after(peer.doneMs < Infinity ? 0 : HAVE_MORE_MS, () => this.#tell(peer))
  }

  /** Those who download from a peer, and the source, hear what it gained. */
  #tell(peer: Peer): void {
    const indexes = peer.news
    peer.news = []
    if (!peer.alive) return
    this.#later(1, () => {
      for (const { from } of peer.queues) this.#step(from, { kind: 'have-more', peer: peer.name, indexes })
      const key = this.#keys.get(peer)
      if (key === undefined) return
      this.#seed({ kind: 'gained', key, indexes })
      if (peer.doneMs < Infinity) this.#seed({ kind: 'gone', key })
    })
  }
}

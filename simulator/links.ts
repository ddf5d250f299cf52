/**
 * Sites, the lines between them, and how long bytes take over them. A site has one uplink that all its peers share;
 * inside a site every peer has a switch port of its own.
 *
 * Loss shows as TCP shows it: as the delay of a retransmission, which everything behind it waits for.
 */
import type { PeerId } from '../protocols/ids.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

export type LinkOptions = {
  /** One way inside a site, ms. */
  readonly lanMs: number
  /** One way between two sites, ms; each pair draws its own from this range. */
  readonly wanMs: { readonly min: number; readonly max: number }
  /** How much of its latency a frame may be late, 0..1. */
  readonly jitter: number
  /** Probability that a packet between two sites is lost. */
  readonly loss: number
  /** Lost frames are gone, as over a datagram transport, instead of late. */
  readonly drops: boolean
  readonly uplinkMbit: number
  readonly lanMbit: number
}

export const LINKS: LinkOptions = {
  lanMs: 0.25,
  wanMs: { min: 5, max: 75 },
  jitter: 0.1,
  loss: 0.001,
  drops: false,
  uplinkMbit: 100,
  lanMbit: 1_000,
}

/** A line that sends one thing after another. */
type Line = { bytesPerMs: number; freeAtMs: number; framesFreeAtMs: number }
type Site = {
  readonly name: string
  readonly index: number
  readonly up: Line
  readonly down: Line
  /** Nothing goes in or out. */
  cut: boolean
}
/** Where a peer is plugged in. */
export type Port = { readonly peer: PeerId; readonly index: number; readonly site: Site; readonly line: Line }

/** What bulk bytes in front can cost a frame: the buffer of a router. Fair queueing between connections does the rest. */
const BUFFER_MS = 100
const PACKET_BYTES = 1_400
/** Linux' least retransmission timeout. */
const RETRANSMIT_MS_MIN = 200

export class Links {
  readonly #world: World
  readonly #options: LinkOptions
  readonly #random: Random
  readonly #sites = new Map<string, Site>()
  readonly #ports = new Map<PeerId, Port>()
  /** One-way ms by pair of sites. */
  readonly #latencies = new Map<number, number>()
  readonly #cutPeers = new Set<string>()

  constructor(world: World, options: LinkOptions) {
    this.#world = world
    this.#options = options
    this.#random = world.random('links')
  }

  plug(peer: PeerId, siteName: string): Port {
    const found = this.#ports.get(peer)
    if (found !== undefined) return found
    const { uplinkMbit, lanMbit } = this.#options
    let site = this.#sites.get(siteName)
    if (site === undefined) {
      site = {
        name: siteName,
        index: this.#sites.size,
        up: line(uplinkMbit),
        down: line(uplinkMbit),
        cut: false,
      }
      this.#sites.set(siteName, site)
    }
    const port = { peer, index: this.#ports.size, site, line: line(lanMbit) }
    this.#ports.set(peer, port)
    return port
  }

  /** When what leaves `from` now is whole at `to`; undefined when it is lost. */
  dueMs(from: Port, to: Port, bytes: number, bulk: boolean): number | undefined {
    const { nowMs } = this.#world
    const { jitter, loss, drops } = this.#options
    const latency = this.latencyMs(from, to) * (1 + jitter * this.#random())
    if (from.site === to.site) return occupy(from.line, nowMs, bytes, bulk) + latency

    const sent = occupy(from.site.up, nowMs, bytes, bulk)
    const due = occupy(to.site.down, sent + latency - bytes / to.site.down.bytesPerMs, bytes, bulk)
    if (loss === 0 || !this.#random.chance(Math.min(1, loss * Math.ceil(bytes / PACKET_BYTES)))) return due
    if (drops && !bulk) return undefined
    return due + Math.max(RETRANSMIT_MS_MIN, 2 * latency)
  }

  /** One way, without jitter and queues. */
  latencyMs(from: Port, to: Port): number {
    if (from.site === to.site) return this.#options.lanMs
    const key = both(from.site, to.site)
    let ms = this.#latencies.get(key)
    if (ms === undefined) {
      const { min, max } = this.#options.wanMs
      const names = [from.site.name, to.site.name].toSorted().join(' ')
      // Dice of their own: a pair is as far apart as ever, whoever spoke first.
      ms = min + (max - min) * this.#world.random(`latency ${names}`)()
      this.#latencies.set(key, ms)
    }
    return ms
  }

  /** One way, the same in both directions. */
  setLatency(a: string, b: string, ms: number): void {
    this.#latencies.set(both(this.#site(a), this.#site(b)), ms)
  }

  setUplink(site: string, mbit: number): void {
    const { up, down } = this.#site(site)
    up.bytesPerMs = down.bytesPerMs = mbit * 125
  }

  blocked(from: Port, to: Port): boolean {
    if (from.site !== to.site && (from.site.cut || to.site.cut)) return true
    return this.#cutPeers.size > 0 && this.#cutPeers.has(`${from.peer} ${to.peer}`)
  }

  /** Nothing goes from `from` to `to`; the other direction stays. */
  cutOneWay(from: PeerId, to: PeerId): void {
    this.#cutPeers.add(`${from} ${to}`)
  }

  cutSite(name: string): void {
    this.#site(name).cut = true
  }

  heal(): void {
    for (const site of this.#sites.values()) site.cut = false
    this.#cutPeers.clear()
  }

  healPair(a: PeerId, b: PeerId): void {
    this.#cutPeers.delete(`${a} ${b}`)
    this.#cutPeers.delete(`${b} ${a}`)
  }

  healSite(name: string): void {
    this.#site(name).cut = false
  }

  #site(name: string): Site {
    const found = this.#sites.get(name)
    if (found === undefined) throw new Error(`no site ${name}`)
    return found
  }
}

const line = (mbit: number): Line => ({ bytesPerMs: mbit * 125, freeAtMs: 0, framesFreeAtMs: 0 })
const both = (a: Site, b: Site): number => Math.min(a.index, b.index) * 65_536 + Math.max(a.index, b.index)

/** Takes the line for `bytes` from `atMs` on; returns when the last of them has left. */
function occupy(line: Line, atMs: number, bytes: number, bulk: boolean): number {
  const ms = bytes / line.bytesPerMs
  const behind = bulk
    ? line.freeAtMs
    : Math.max(line.framesFreeAtMs, Math.min(line.freeAtMs, atMs + BUFFER_MS))
  const end = Math.max(atMs, behind) + ms
  if (!bulk) line.framesFreeAtMs = end
  line.freeAtMs = Math.max(line.freeAtMs, atMs) + ms
  return end
}

/**
 * One connection between two lives of peers: bytes in order in each direction, late when a packet was lost, held back
 * while the path is cut, and gone when the cut lasts.
 */
import type { Timer } from '../protocols/clock.ts'
import type { Life } from './life.ts'
import type { Links, Port } from './links.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

/** One end of a connection. */
export type End = { readonly port: Port; readonly life: Life }
type Held = { readonly bytes: number; readonly bulk: boolean; readonly run: () => void }
type Direction = {
  readonly from: End
  readonly to: End
  /** Arrival of the newest bytes: what is sent later arrives later. */
  dueMs: number
  held: Held[]
  heldSinceMs: number
}

/** Sent and unacknowledged while the path is cut; the oldest go, as if the buffer of the sender had been full. */
const HELD_MAX = 1_024
/** What is sent later arrives later, also when sums of fractions are rounded. */
const ORDER_MS = 1e-6
/** How long a connection lives without an answer before its keep-alive gives it up. */
const GIVE_UP_MS = 8_000

export type Wire = {
  readonly world: World
  readonly links: Links
  readonly random: Random
  /** Called for everything that arrives: the event hash. */
  arrived(from: Port, to: Port, bytes: number): void
}

export class Connection {
  readonly dialler: End
  readonly listener: End
  /** Called once, when it has died: by the network, and by who uses it. */
  onEnd: () => void = () => {}
  onDown: () => void = () => {}
  readonly #wire: Wire
  readonly #there: Direction
  readonly #back: Direction
  #up = true
  /** One end is dead for good: no healing brings it back. */
  #lost = false
  #giveUp: Timer | undefined

  constructor(wire: Wire, dialler: End, listener: End) {
    this.#wire = wire
    this.dialler = dialler
    this.listener = listener
    this.#there = direction(dialler, listener)
    this.#back = direction(listener, dialler)
  }

  get up(): boolean {
    return this.#up
  }

  other(end: End): End {
    return end === this.dialler ? this.listener : this.dialler
  }

  /** Brings `bytes` from one end to the other, where `run` is then run, unless the connection dies before. */
  carry(from: End, bytes: number, bulk: boolean, run: () => void): void {
    if (!this.#up) return
    const way = from === this.dialler ? this.#there : this.#back
    if (way.held.length > 0 || this.#wire.links.blocked(way.from.port, way.to.port)) {
      if (way.held.length === 0) way.heldSinceMs = this.#wire.world.nowMs
      way.held.push({ bytes, bulk, run })
      if (way.held.length > HELD_MAX) way.held.shift()
      return
    }
    this.#send(way, bytes, bulk, run, 0)
  }

  /** Looks at the path again, after a cut or a healing. */
  look(): void {
    if (!this.#up || this.#lost) return
    const { world, links, random } = this.#wire
    const { port: a } = this.dialler
    const { port: b } = this.listener
    if (links.blocked(a, b) || links.blocked(b, a)) {
      this.#giveUp ??= world.after(GIVE_UP_MS * (0.75 + random() / 2), () => this.close())
    } else {
      this.#giveUp?.cancel()
      this.#giveUp = undefined
    }
    for (const way of [this.#there, this.#back]) {
      if (way.held.length === 0 || links.blocked(way.from.port, way.to.port)) continue
      // TCP doubles its patience: after a silence of s it sends again within another s.
      const late = random() * (world.nowMs - way.heldSinceMs)
      for (const { bytes, bulk, run } of way.held.splice(0)) this.#send(way, bytes, bulk, run, late)
    }
  }

  /** Whatever is on its way is lost. */
  close(): void {
    if (!this.#up) return
    this.#up = false
    this.#giveUp?.cancel()
    this.onEnd()
    this.onDown()
  }

  /** The host of `dead` is silent from now on: the other end finds out when it gives up, or at once when told. */
  lose(dead: End, told: boolean): void {
    if (!this.#up || this.#lost) return
    this.#lost = true
    const { world, links, random } = this.#wire
    const patience = told
      ? links.latencyMs(dead.port, this.other(dead).port)
      : GIVE_UP_MS * (0.75 + random() / 2)
    this.#giveUp?.cancel()
    this.#giveUp = world.after(patience, () => this.close())
  }

  #send(way: Direction, bytes: number, bulk: boolean, run: () => void, late: number): void {
    const { world, links } = this.#wire
    const due = links.dueMs(way.from.port, way.to.port, bytes, bulk)
    if (due === undefined) return
    way.dueMs = Math.max(way.dueMs + ORDER_MS, due + late)
    world.after(way.dueMs - world.nowMs, () => {
      if (!this.#up || !way.to.life.alive) return
      this.#wire.arrived(way.from.port, way.to.port, bytes)
      way.to.life.run(run)
    })
  }
}

const direction = (from: End, to: End): Direction => ({ from, to, dueMs: 0, held: [], heldSinceMs: 0 })

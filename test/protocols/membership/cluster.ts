/** Many membership cores on virtual time, over links that lose and delay frames; what goes over them is encoded. */
import { type Effect, type Membership, newMembership } from '../../../protocols/membership/state.ts'
import { type Event, step } from '../../../protocols/membership/membership.ts'
import { message } from '../../../protocols/membership/messages.ts'
import type { Random } from '../../../simulator/random.ts'
import { World } from '../../../simulator/world.ts'

const TICK_MS = 100
const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

export type Change = { atMs: number; at: string; peer: string; state: string }

export class Cluster {
  readonly world: World
  readonly peers: string[]
  readonly cores = new Map<string, Membership>()
  readonly changes: Change[] = []
  readonly down = new Set<string>()
  frames = 0
  bytes = 0
  /** Whether a frame arrives; loss comes on top. */
  passes: (from: string, to: string) => boolean = () => true
  readonly #loss: number
  readonly #dice: Random

  constructor(terms: { seed: number; peers: number; loss: number }) {
    this.world = new World(terms.seed)
    this.#loss = terms.loss
    this.#dice = this.world.random('links')
    this.peers = Array.from({ length: terms.peers }, () =>
      Array.from({ length: 44 }, () => BASE58[this.#dice.below(BASE58.length)]).join(''),
    )
    for (const peer of this.peers) this.start(peer)
    for (const a of this.peers) for (const b of this.peers) if (a < b) this.connect(a, b, true)
  }

  /** Starts a peer, again if it ran before: it remembers nothing. */
  start(peer: string): void {
    this.down.delete(peer)
    const dice = this.world.random(`dice of ${peer} at ${this.world.nowMs}`)
    const core = newMembership({ self: peer, incarnation: 0, nowMs: this.world.nowMs }, dice)
    this.cores.set(peer, core)
    this.feed(peer, { kind: 'members', peers: this.peers })
    const tick = (): void => {
      if (this.cores.get(peer) !== core) return
      this.feed(peer, { kind: 'tick', nowMs: this.world.nowMs })
      this.world.after(TICK_MS, tick)
    }
    this.world.after(dice() * TICK_MS, tick)
  }

  /** A power cut: nobody is told, connections stay up. */
  crash(peer: string): void {
    this.down.add(peer)
    this.cores.delete(peer)
  }

  connect(a: string, b: string, up: boolean): void {
    this.feed(a, { kind: 'connection', peer: b, up })
    this.feed(b, { kind: 'connection', peer: a, up })
  }

  feed(peer: string, event: Event): void {
    const core = this.cores.get(peer)
    if (core === undefined) return
    for (const effect of step(core, event, this.#dice)) this.#perform(peer, effect)
  }

  #perform(from: string, effect: Effect): void {
    const { world } = this
    if (effect.kind === 'change') {
      this.changes.push({ atMs: world.nowMs, at: from, peer: effect.peer, state: effect.state })
      return
    }
    const { to } = effect
    const frame = message.encode(effect.message)
    this.frames++
    this.bytes += frame.length
    if (!this.passes(from, to) || this.#dice.chance(this.#loss)) return
    const arrive = (): void => this.feed(to, { kind: 'message', from, message: message.decode(frame) })
    world.after(1 + this.#dice() * 80, arrive)
  }

  run(ms: number): void {
    this.world.run(this.world.nowMs + ms)
  }

  stateOf(peer: string, at: string): string | undefined {
    return this.cores.get(at)?.members.get(peer)?.state
  }

  /** How many of the others that run hold `peer` in `state`. */
  count(peer: string, state: string): number {
    return [...this.cores.keys()].filter((at) => at !== peer && this.stateOf(peer, at) === state).length
  }
}

/**
 * One group whose members are far apart: the real core, and the shell that paces it, on virtual time. Messages travel on
 * streams: in order, late by what their packets' losses cost (a lost packet is sent again after a timeout that doubles, and
 * everything behind it waits). Disks take a few ms.
 */
import { Pacing } from '../../../node/pacing.ts'
import { TICK_MS } from '../../../protocols/limits.ts'
import { ok, type Outcome } from '../../../protocols/outcome.ts'
import type { Asked } from '../../../protocols/raft/envelope.ts'
import { genesis } from '../../../protocols/raft/genesis.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { create, type Raft, type Status, status, step } from '../../../protocols/raft/raft.ts'
import { dueInTicks } from '../../../protocols/raft/ticking.ts'
import { DEFAULT_TIMING } from '../../../protocols/raft/timing.ts'
import type { RaftEffect, RaftEvent, Role, Timing } from '../../../protocols/raft/types.ts'
import { World } from '../../../simulator/world.ts'

export type Wan = {
  readonly voters: number
  /** One way between two members, ms: each pair draws its own. */
  readonly oneWayMs: readonly [min: number, max: number]
  readonly loss: number
  /** What the group has agreed on already. */
  readonly timing?: Timing
}

const RETRANSMIT_MS_MIN = 200
const JITTER = 0.1
const DISK_MS = 2
const LOOK_MS = 500

export class WanGroup {
  readonly world: World
  readonly terms: Wan
  readonly members: Member[]
  /** How often somebody came to lead. */
  leaders = 0
  readonly #latency = new Map<string, number>()
  readonly #busyMs = new Map<string, number>()
  readonly #dice

  constructor(seed: number, terms: Wan) {
    this.world = new World(seed, 0)
    this.terms = terms
    this.#dice = this.world.random('streams')
    const ids = Array.from({ length: terms.voters }, (_, n) => `peer${n + 1}`.repeat(4))
    this.members = ids.map((id) => new Member(this, id, ids))
    for (const member of this.members) member.begin()
  }

  get leader(): Member | undefined {
    return this.members
      .filter(({ up, role }) => up && role === 'leader')
      .toSorted((a, b) => b.status().term - a.status().term)[0]
  }

  /** @returns Whether `done` came to hold within `ms`. */
  until(done: () => boolean, ms: number): boolean {
    const endMs = this.world.nowMs + ms
    while (this.world.nowMs < endMs && !done()) this.world.run(Math.min(endMs, this.world.nowMs + 1))
    return done()
  }

  /** One way, the same in both directions. */
  setLatency(ms: (a: string, b: string) => number): void {
    for (const { id: a } of this.members)
      for (const { id: b } of this.members) if (a < b) this.#latency.set(`${a} ${b}`, ms(a, b))
  }

  send(message: Message): void {
    const { from, to } = message
    const ms = this.#latencyMs(from, to)
    let delayMs = ms * (1 + JITTER * this.#dice())
    for (let again = Math.max(RETRANSMIT_MS_MIN, 2 * ms + 50); this.#dice.chance(this.terms.loss); again *= 2)
      delayMs += again
    const { nowMs } = this.world
    const dueMs = Math.max(nowMs + delayMs, (this.#busyMs.get(from + to) ?? 0) + 1e-6)
    this.#busyMs.set(from + to, dueMs)
    const there = this.members.find(({ id }) => id === to)
    this.world.after(dueMs - nowMs, () => there?.hear(message))
  }

  #latencyMs(a: string, b: string): number {
    const pair = a < b ? `${a} ${b}` : `${b} ${a}`
    const [min, max] = this.terms.oneWayMs
    const known = this.#latency.get(pair) ?? min + (max - min) * this.#dice()
    this.#latency.set(pair, known)
    return known
  }
}

class Member {
  readonly id: string
  up = true
  role: Role = 'follower'
  leader = ''
  timing: Timing
  readonly #group: WanGroup
  readonly raft: Raft
  readonly #pacing: Pacing
  readonly #held = new Map<number, Message[]>()
  #toldMs = 0
  #wakes = 0

  constructor(group: WanGroup, id: string, ids: readonly string[]) {
    this.id = id
    this.#group = group
    this.timing = group.terms.timing ?? DEFAULT_TIMING
    const config = { cluster: 'c', group: 'mesh', generation: 0, self: id, ...this.timing }
    this.raft = create({ ...config, dice: group.world.random(id) }, genesis(ids))
    this.#pacing = new Pacing(this, group.world.clock())
  }

  get member(): string {
    return this.id
  }

  status(): Status {
    return status(this.raft)
  }

  begin(): void {
    const { world } = this.#group
    const look = (): void => {
      this.#pacing.look()
      world.after(LOOK_MS, look)
    }
    world.after(world.random(`starts ${this.id}`)() * LOOK_MS, look)
    this.#feed({ kind: 'tick' })
  }

  hear(message: Message): void {
    if (!this.up) return
    this.#pacing.heard(message)
    this.#feed({ kind: 'message', message })
  }

  pace(timing: Timing): void {
    this.#feed({ kind: 'timing', ...timing })
  }

  submit(asked: Asked, done: (outcome: Outcome<Outcome<unknown>>) => void): void {
    if (asked.kind !== 'timing') return
    const data = Buffer.from(JSON.stringify(asked.timing))
    this.#feed({ kind: 'propose', proposals: [{ token: 1, data }] })
    done(ok(ok(null)))
  }

  /** Power goes, for good. */
  crash(): void {
    this.up = false
  }

  #feed(event: RaftEvent): void {
    if (!this.up) return
    const ticks = Math.floor((this.#group.world.nowMs - this.#toldMs) / TICK_MS)
    this.#toldMs += ticks * TICK_MS
    if (ticks > 0) this.#perform(step(this.raft, { kind: 'tick', count: ticks }))
    if (event.kind !== 'tick') this.#perform(step(this.raft, event))
    const due = dueInTicks(this.raft)
    const wake = ++this.#wakes
    if (!Number.isFinite(due)) return
    const dueMs = this.#toldMs + due * TICK_MS - this.#group.world.nowMs
    this.#group.world.after(dueMs, () => wake === this.#wakes && this.#feed({ kind: 'tick' }))
  }

  #perform(effects: readonly RaftEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'send') this.#send(effect.message, effect.after)
      else if (effect.kind === 'store') this.#store(effect.token)
      else if (effect.kind === 'apply') this.#apply(effect.entries)
      else if (effect.kind === 'role') {
        if (effect.role === 'leader') this.#group.leaders++
        this.role = effect.role
        this.leader = effect.leader
        this.#pacing.look()
      }
    }
  }

  #send(message: Message, after: number | undefined): void {
    const held = after === undefined ? undefined : this.#held.get(after)
    if (held !== undefined) return void held.push(message)
    this.#pacing.sent(message, true)
    this.#group.send(message)
  }

  #store(token: number): void {
    this.#held.set(token, [])
    this.#group.world.after(DISK_MS, () => {
      if (!this.up) return
      const held = this.#held.get(token) ?? []
      this.#held.delete(token)
      for (const message of held) this.#send(message, undefined)
      this.#feed({ kind: 'stored', token })
    })
  }

  #apply(entries: Extract<RaftEffect, { kind: 'apply' }>['entries']): void {
    for (const { kind, data } of entries) {
      if (kind !== 'normal' || data.length === 0) continue
      this.timing = JSON.parse(Buffer.from(data).toString()) as Timing
      this.#feed({ kind: 'timing', ...this.timing })
    }
    this.#feed({ kind: 'applied', index: entries.at(-1)?.index ?? 0 })
  }
}

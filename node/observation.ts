/**
 * What this peer sees of others: who is in sight (SWIM), what hosts say of themselves on their site's topic, what each
 * site's digest says on the mesh's. Bounded, newest wins, always with an age. Nothing here enters Raft.
 */
import type { Timer } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import { step as stepMembership, type Event as MembershipEvent } from '../protocols/membership/membership.ts'
import { message as swimMessage, PROTOCOL as SWIM } from '../protocols/membership/messages.ts'
import { type Membership, newMembership } from '../protocols/membership/state.ts'
import type { Context, Ports } from './context.ts'

/** Four times a second: nothing in membership has a finer grain. */
const TICK_MS = 250

export type Sample = {
  driver: string
  version: string
  cpus: number
  memoryTotalBytes: number
  memoryUsedBytes: number
  cpuLoad: number
  diskFreeBytes: number
  vms: { id: string; state: string; why: string; cpuSeconds: number; memoryBytes: number }[]
  jobs: string[]
}
export type Digest = {
  vmsTotal: number
  vmsRunning: number
  memoryMiB: number
  memoryCommittedMiB: number
  vms: {
    id: string
    name: string
    host: string
    hostName: string
    epoch: string
    wanted: 'running' | 'stopped'
    state: string
    cpus: number
    memoryMiB: number
  }[]
}

export class Observation {
  readonly #context: () => Context
  readonly #ports: Ports
  readonly #membership: Membership
  readonly #timers = new Set<Timer>()
  #stopped = false

  constructor(context: () => Context, self: PeerId, ports: Ports) {
    this.#context = context
    this.#ports = ports
    const { clock, dice, transport } = ports
    // Above whatever an earlier life of this peer used, so that old rumours about it are old.
    const incarnation = Math.floor(clock.wallMs() / 1_000)
    this.#membership = newMembership({ self, incarnation, nowMs: clock.nowMs() }, dice)
    transport.serve(SWIM, {
      frame: (from, frame) => this.#feed({ kind: 'message', from, message: swimMessage.decode(frame) }),
    })
    transport.watch((peer, up) => this.#feed({ kind: 'connection', peer, up }))
  }

  start(): void {
    this.members()
    for (const peer of this.#ports.transport.connected()) this.#feed({ kind: 'connection', peer, up: true })
    const tick = (): void => {
      if (this.#stopped) return
      this.#feed({ kind: 'tick', nowMs: this.#ports.clock.nowMs() })
      this.#later(TICK_MS, tick)
    }
    tick()
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) timer.cancel()
  }

  /** Who is admitted may have changed. */
  members(): void {
    this.#feed({ kind: 'members', peers: Object.keys(this.#context().agreement.mesh.state.peers) })
  }

  /** Something worth telling has happened here. */
  hurry(): void {}

  peerState(peer: PeerId): 'alive' | 'suspect' | 'unreachable' | 'lost' | 'unknown' {
    return this.#membership.members.get(peer)?.state ?? 'unknown'
  }

  sample(_peer: PeerId): { sample: Sample; ageMs: number } | undefined {
    return undefined
  }

  digest(_site: string): { digest: Digest; ageMs: number } | undefined {
    return undefined
  }

  #feed(event: MembershipEvent): void {
    if (this.#stopped) return
    for (const effect of stepMembership(this.#membership, event, this.#ports.dice)) {
      if (effect.kind === 'send')
        this.#ports.transport.send(effect.to, SWIM, swimMessage.encode(effect.message), { dial: false })
    }
  }

  #later(delayMs: number, run: () => void): void {
    const timer = this.#ports.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
  }
}

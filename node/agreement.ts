/**
 * The two groups of this peer, mesh and own site (DESIGN section 3), and the way of a proposal to whoever leads. The
 * leader also brings in the peers that were admitted but are not in the group yet, as learners.
 */
import type { Clock, Dice, Timer } from '../protocols/clock.ts'
import { answer, HOPS_MAX, PROPOSE, proposal } from '../protocols/ask/messages.ts'
import type { Failure } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { PROPOSE_MS, REQUEST_MS } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import type { Machine } from '../protocols/raft/envelope.ts'
import { message as raftMessage, PROTOCOL as RAFT } from '../protocols/raft/messages.ts'
import type { Recovered, Role } from '../protocols/raft/types.ts'
import type { Transport } from '../protocols/transport.ts'
import { recover } from '../storage/raft-log.ts'
import type { Identity } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import { answered } from './asking.ts'
import {
  applyMesh,
  emptyMesh,
  meshCommand,
  type MeshCommand,
  meshState,
  type MeshState,
  peersOfSite,
} from './catalog/mesh.ts'
import {
  applySite,
  emptySite,
  siteCommand,
  type SiteCommand,
  siteState,
  type SiteState,
} from './catalog/site.ts'
import { Group } from './group.ts'

const MESH: Machine<MeshState, MeshCommand> = {
  empty: emptyMesh,
  state: meshState,
  command: meshCommand,
  apply: applyMesh,
}
const SITE: Machine<SiteState, SiteCommand> = {
  empty: emptySite,
  state: siteState,
  command: siteCommand,
  apply: applySite,
}

/** How often a leader looks for admitted peers that are not in its group; an asker for a leader. */
const LEARNERS_MS = 500
const LEADER_AGAIN_MS = 100

type Ports = {
  readonly clock: Clock
  readonly dice: Dice
  readonly store: Store
  readonly transport: Transport
}

type Events = {
  /** The agreed state of either group has changed. */
  changed(): void
  role(group: string, role: Role, leader: PeerId): void
}

export class Agreement {
  readonly mesh: Group<MeshState, MeshCommand>
  readonly site: Group<SiteState, SiteCommand>
  readonly siteGroup: string
  readonly #identity: Identity
  readonly #ports: Ports
  readonly #timers = new Set<Timer>()
  /** Askers that wait for a leader, and what they are told when this peer stops. */
  readonly #waiting = new Set<() => void>()
  #stopped = false

  /** @throws GodwitError DATA_CORRUPT when a log on disk is not what was written. */
  constructor(identity: Identity, ports: Ports, events: Events) {
    this.#identity = identity
    this.#ports = ports
    this.siteGroup = `site/${identity.siteName}`
    const groupPorts = {
      clock: ports.clock,
      dice: ports.dice,
      store: ports.store,
      send: (message: Parameters<typeof raftMessage.encode>[0]): void =>
        ports.transport.send(message.to, RAFT, raftMessage.encode(message)),
    }
    const group = <State, Command>(
      name: string,
      voters: readonly PeerId[],
      machine: Machine<State, Command>,
    ): Group<State, Command> =>
      new Group(name, identity.peer, this.#recovered(name, voters), machine, groupPorts, {
        applied: () => events.changed(),
        restored: () => events.changed(),
        role: (role, leader) => {
          // A group may lead before `this.mesh` is there: a mesh is founded a turn later.
          if (name === 'mesh') this.#later(0, () => this.#found())
          events.role(name, role, leader)
        },
      })
    this.mesh = group('mesh', identity.meshVoters, MESH)
    this.site = group(this.siteGroup, identity.siteVoters, SITE)

    ports.transport.serve(RAFT, { frame: (from, frame) => this.#hear(from, frame) })
    ports.transport.serve(PROPOSE, { request: (_from, frame, reply) => this.#serve(frame, reply) })
    ports.transport.watch((peer, up) => {
      if (up) return
      this.mesh.unreachable(peer)
      this.site.unreachable(peer)
    })
  }

  start(): void {
    this.mesh.start()
    this.site.start()
    const look = (): void => {
      if (this.#stopped) return
      this.#bringIn(this.mesh, Object.keys(this.mesh.state.peers))
      this.#bringIn(this.site, peersOfSite(this.mesh.state, this.#identity.site))
      this.#later(LEARNERS_MS, look)
    }
    look()
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) timer.cancel()
    for (const tell of this.#waiting) tell()
    this.mesh.stop()
    this.site.stop()
  }

  proposeMesh(command: MeshCommand, done: Done<unknown>): void {
    this.#propose(this.mesh, meshCommand.encode(command), command, 0, done)
  }

  proposeSite(command: SiteCommand, done: Done<unknown>): void {
    this.#propose(this.site, siteCommand.encode(command), command, 0, done)
  }

  /**
   * To the leader, wherever it is; for at most PROPOSE_MS while there is none. A command whose answer was lost may have
   * been carried out: commands are compare-and-set, so asking again is harmless.
   */
  #propose<C>(
    group: Pick<Group<unknown, C>, 'name' | 'role' | 'leader' | 'propose'>,
    frame: Uint8Array,
    command: C,
    hops: number,
    done: Done<unknown>,
  ): void {
    const { clock, transport } = this.#ports
    const endMs = clock.nowMs() + PROPOSE_MS
    const attempt = (): void => {
      if (this.#stopped) return done(failed({ code: 'STOPPING', peer: this.#identity.peerName }))
      if (group.role === 'leader') return group.propose(command, settle)
      if (group.leader === '' || group.leader === transport.self)
        return again({ code: 'NO_LEADER', group: group.name, afterMs: PROPOSE_MS })
      const asked = proposal.encode({ group: group.name, command: frame, hops: hops + 1 })
      transport.request(group.leader, PROPOSE, asked, REQUEST_MS, (outcome) =>
        settle(outcome.ok ? answered(outcome.value) : outcome),
      )
    }
    const settle = (outcome: Outcome<unknown>): void => {
      if (!outcome.ok && (outcome.failure.code === 'NOT_LEADER' || outcome.failure.code === 'NO_LEADER'))
        return again(outcome.failure)
      done(outcome)
    }
    const again = (failure: Failure): void => {
      if (clock.nowMs() + LEADER_AGAIN_MS > endMs || hops >= HOPS_MAX) return done(failed(failure))
      const waiting = (): void => done(failed({ code: 'STOPPING', peer: this.#identity.peerName }))
      this.#waiting.add(waiting)
      this.#later(LEADER_AGAIN_MS, () => {
        this.#waiting.delete(waiting)
        attempt()
      })
    }
    attempt()
  }

  #serve(frame: Uint8Array, reply: Done<Uint8Array>): void {
    const { group, command, hops } = proposal.decode(frame)
    const say: Done<unknown> = (outcome) =>
      reply(outcome.ok ? ok(answer.encode({ json: JSON.stringify(outcome.value ?? null) })) : outcome)
    if (group === 'mesh') return this.#propose(this.mesh, command, meshCommand.decode(command), hops, say)
    if (group === this.siteGroup)
      return this.#propose(this.site, command, siteCommand.decode(command), hops, say)
    say(failed({ code: 'NOT_FOUND', what: 'group', name: group }))
  }

  #hear(from: PeerId, frame: Uint8Array): void {
    const message = raftMessage.decode(frame)
    if (message.from !== from)
      return this.#ports.transport.blame(from, `a raft message in the name of ${message.from}`)
    if (message.group === 'mesh') this.mesh.hear(message)
    else if (message.group === this.siteGroup) this.site.hear(message)
  }

  /** The first entry of a mesh, by the peer that `init` made. */
  #found(): void {
    if (this.#stopped || !this.#identity.founds || this.mesh.role !== 'leader' || this.mesh.state.mesh !== '')
      return
    const { mesh, peer, peerName, site, siteName } = this.#identity
    const addresses = this.#ports.transport.addresses().slice(0, 16)
    this.mesh.propose({ kind: 'found', mesh, peer, peerName, site, siteName, addresses }, () => {})
  }

  #bringIn(
    group: Pick<Group<unknown, never>, 'role' | 'status' | 'change'>,
    members: readonly PeerId[],
  ): void {
    if (group.role !== 'leader') return
    const { configuration } = group.status()
    const known = new Set([
      ...configuration.voters,
      ...configuration.votersOutgoing,
      ...configuration.learners,
    ])
    const peer = members.toSorted().find((id) => !known.has(id))
    if (peer === undefined) return
    // One change at a time is a rule of the group's; the next follows as soon as this one is applied.
    group.change({ kind: 'add-learner', peer }, (outcome) => {
      if (outcome.ok && !this.#stopped) this.#bringIn(group, members)
    })
  }

  #recovered(group: string, voters: readonly PeerId[]): Recovered {
    const found = recover(this.#ports.store, group)
    return (
      found ?? {
        hardState: { term: 0, vote: '', commit: 0 },
        snapshot: {
          index: 0,
          term: 0,
          configuration: { voters, votersOutgoing: [], learners: [] },
          data: new Uint8Array(),
        },
        entries: [],
      }
    )
  }

  #later(delayMs: number, run: () => void): void {
    const timer = this.#ports.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
  }
}

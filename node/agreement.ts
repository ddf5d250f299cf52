/**
 * The two groups of this peer, mesh and own site (DESIGN section 3), and the way of a proposal to whoever leads. Who
 * is in them is decided in electing.ts, how patient they are in pacing.ts.
 */
import type { Clock, Dice } from '../protocols/clock.ts'
import { answer, HOPS_MAX, PROPOSE, proposal } from '../protocols/ask/messages.ts'
import { type Failure } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { FOLLOW_ADRIFT_MS, REQUEST_MS } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { type Asked, envelopeCommand, type Machine } from '../protocols/raft/envelope.ts'
import { type Message, message as raftMessage, PROTOCOL as RAFT } from '../protocols/raft/messages.ts'
import { votersOf } from '../protocols/raft/configuration.ts'
import { peerOf } from '../protocols/raft/member.ts'
import type { Role } from '../protocols/raft/types.ts'
import type { Transport } from '../protocols/transport.ts'
import type { Identity } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import { answered } from './asking.ts'
import { outranks } from './catalog/generations.ts'
import {
  applyMesh,
  emptyMesh,
  meshCommand,
  type MeshCommand,
  meshState,
  type MeshState,
} from './catalog/mesh.ts'
import {
  applySite,
  emptySite,
  siteCommand,
  type SiteCommand,
  siteState,
  type SiteState,
} from './catalog/site.ts'
import { Contact, type Freshness } from './contact.ts'
import { MESH_GROUP, siteGroupOf } from './founding.ts'
import { featureOff, type Gated } from './gating.ts'
import { Group, type GroupTerms } from './group.ts'
import { mendMesh, mendSite } from './mending.ts'
import { type Mend, recoveredState } from './opening.ts'
import { Pacing } from './pacing.ts'
import { Proposing } from './proposing.ts'
import { Raising } from './raising.ts'
import { Timers } from './timers.ts'

export const MESH: Machine<MeshState, MeshCommand> = {
  empty: emptyMesh,
  state: meshState,
  command: meshCommand,
  apply: applyMesh,
}
export const SITE: Machine<SiteState, SiteCommand> = {
  empty: emptySite,
  state: siteState,
  command: siteCommand,
  apply: applySite,
}

/** How often a leader looks at its links, and whoever has no leader at how long that has been. */
const PACE_MS = 500

type Ports = {
  readonly clock: Clock
  readonly dice: Dice
  readonly store: Store
  readonly transport: Transport
}

/** Of a group, what failures and views of it need to know. */
export type GroupName = 'mesh' | 'site'

type Events = {
  /** Whether membership and the transport see a peer. */
  inSight(peer: PeerId): boolean
  /** The agreed state of either group has changed. */
  changed(): void
  /** The mesh's did, by this command; by any, when nobody can tell. */
  agreed(command: MeshCommand | undefined): void
  role(group: string, role: Role, leader: PeerId): void
  /** A group's log was put aside while this peer ran. */
  putAside(group: string): void
  /** A group is at a feature level that this version does not know. */
  halted(group: string): void
  /** This peer's disk does not take a group's log any more, or does again. */
  turned(group: string, unwritable: Failure | undefined): void
  /** A group's log has come further, or who leads it has changed. */
  moved(group: string): void
  /** How long ago everything there is was here, as far as following tells. */
  followedMs(group: string): number
  /** Another site's group of which this peer has a copy (copies.ts): it leads where the site was lost and that was recovered. */
  copyOf(group: string): Group<SiteState, SiteCommand> | undefined
}

type Led = Gated & Pick<Group<unknown, never>, 'role' | 'leader' | 'submit' | 'heardLeader'>

export class Agreement {
  readonly mesh: Group<MeshState, MeshCommand>
  readonly site: Group<SiteState, SiteCommand>
  readonly siteGroup: string
  readonly #identity: Identity
  readonly #ports: Ports
  readonly #contact: { readonly mesh: Contact; readonly site: Contact }
  readonly #inSight: (peer: PeerId) => boolean
  readonly #pacing: { readonly mesh: Pacing; readonly site: Pacing }
  readonly #raising: { readonly mesh: Raising; readonly site: Raising }
  readonly #timers: Timers
  readonly #proposing: { readonly mesh: Proposing; readonly site: Proposing }
  readonly #events: Pick<Events, 'followedMs' | 'copyOf'>
  #stopped = false

  constructor(identity: Identity, ports: Ports, events: Events) {
    this.#events = events
    this.#identity = identity
    this.#ports = ports
    this.#timers = new Timers(ports.clock)
    this.siteGroup = siteGroupOf(identity)
    this.#inSight = (of) => events.inSight(of)
    const nowMs = ports.clock.nowMs()
    this.#contact = { mesh: new Contact(identity.peer, nowMs), site: new Contact(identity.peer, nowMs) }
    const groupPorts = {
      clock: ports.clock,
      dice: ports.dice,
      store: ports.store,
      send: (message: Message): void => {
        const to = peerOf(message.to)
        if (message.kind === 'MsgPreVote') this.#askedVotes(message.group)
        this.#pacingOf(message.group)?.sent(message, ports.transport.path(to) !== undefined)
        ports.transport.send(to, RAFT, raftMessage.encode(message))
      },
    }
    const group = <State, Command>(
      name: string,
      machine: Machine<State, Command>,
      terms: Pick<GroupTerms<State>, 'mend' | 'outranks'>,
      agreed: (command: Command | undefined) => void,
    ): Group<State, Command> =>
      new Group({ name, cluster: identity.mesh, peer: identity.peer, ...terms }, machine, groupPorts, {
        applied: (command) => {
          agreed(command)
          events.changed()
        },
        restored: () => {
          agreed(undefined)
          events.changed()
        },
        moved: () => events.moved(name),
        role: (role, leader) => {
          // A group may lead before `this.mesh` is there: a mesh is founded a turn later.
          this.#timers.after(0, () => this.#heardOf(name, leader))
          this.#pacingOf(name)?.look()
          events.role(name, role, leader)
          events.moved(name)
        },
        putAside: () => this.#timers.after(0, () => events.putAside(name)),
        halted: () => this.#timers.after(0, () => events.halted(name)),
        turned: (unwritable) => events.turned(name, unwritable),
      })
    const { store } = ports
    const { peer, site } = identity
    const mend = (state: MeshState, generation: number): ReturnType<Mend<MeshState>> =>
      mendMesh(store, peer, state, generation)
    this.mesh = group(MESH_GROUP, MESH, { mend }, (command) => events.agreed(command))
    const ofSite: Pick<GroupTerms<SiteState>, 'mend' | 'outranks'> = {
      mend: (state, generation) =>
        mendSite(store, { peer, site, mesh: recoveredState(store, MESH_GROUP, MESH) }, state, generation),
      outranks: (heard, own) => outranks(this.mesh.state.generations?.[site], heard, own),
    }
    this.site = group(this.siteGroup, SITE, ofSite, () => {})
    this.#proposing = { mesh: this.#proposingTo(this.mesh), site: this.#proposingTo(this.site) }
    this.#raising = { mesh: new Raising(this.mesh), site: new Raising(this.site) }
    this.#pacing = { mesh: new Pacing(this.mesh, ports.clock), site: new Pacing(this.site, ports.clock) }

    ports.transport.serve(RAFT, { frame: (from, frame) => this.#hear(from, frame) })
    ports.transport.serve(PROPOSE, { request: (_from, frame, reply) => this.#serve(frame, reply) })
    ports.transport.watch((peer, up) => {
      if (up) return
      this.mesh.unreachable(peer)
      this.site.unreachable(peer)
      this.#pacing.mesh.lost(peer)
      this.#pacing.site.lost(peer)
    })
  }

  start(): void {
    this.mesh.start()
    this.site.start()
    const look = (): void => {
      if (this.#stopped) return
      this.#pacing.mesh.look()
      this.#pacing.site.look()
      this.#raising.mesh.look()
      this.#raising.site.look()
      this.#timers.after(PACE_MS, look)
    }
    look()
  }

  /** For a look at what the logs say: this peer takes no part in its groups. */
  load(): void {
    this.mesh.load()
    this.site.load()
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
    this.#proposing.mesh.stop()
    this.#proposing.site.stop()
    this.mesh.stop()
    this.site.stop()
  }

  /** Membership has lost sight of a peer: where it leads, another may at once. */
  forget(peer: PeerId): void {
    this.mesh.forget(peer)
    this.site.forget(peer)
  }

  proposeMesh(command: MeshCommand, done: Done<unknown>): void {
    this.#proposing.mesh.propose(meshCommand.encode(command), done)
  }

  proposeSite(command: SiteCommand, done: Done<unknown>): void {
    this.#proposing.site.propose(siteCommand.encode(command), done)
  }

  /** How old what this peer's copy of a group says may be, by what its members say or by whom it is followed from. */
  freshness(which: GroupName): Freshness {
    const heard = this.#contact[which].freshness(this.#known(which), this.#ports.clock.nowMs())
    if (this[which].heardLeader() !== '') return heard
    const ageMs = this.#events.followedMs(this[which].name)
    if (ageMs >= heard.ageMs) return heard
    // A voter that is asking for votes knows better than what others heard before: there may be no leader any more.
    const { role } = this[which]
    const isAsking = role === 'candidate' || role === 'pre-candidate'
    return { ageMs, stale: isAsking || ageMs > FOLLOW_ADRIFT_MS || this.missing(which).length > 0 }
  }

  /** Voters out of sight, when they are so many that the group can agree on nothing. */
  missing(which: GroupName): PeerId[] {
    return this.#contact[which].missing(this.#known(which), this.#inSight, this.#ports.clock.nowMs())
  }

  /** Leader: whether a voter owes too many heartbeats. */
  isSilent(which: GroupName, peer: PeerId): boolean {
    return this.#contact[which].isSilent(this.#known(which), peer, this.#ports.clock.nowMs())
  }

  /** Since anything of that group came from a peer; undefined when nothing did in this life. */
  heardMs(which: GroupName, peer: PeerId): number | undefined {
    return this.#contact[which].sinceMs(peer, this.#ports.clock.nowMs())
  }

  /**
   * A failure for want of a leader or of its answer, as what it mostly is: too many voters are out of sight. Everything
   * else stays as it was said.
   */
  explained(failure: Failure): Failure {
    const open = failure.code === 'OUTCOME_UNKNOWN'
    if (!open && failure.code !== 'NO_LEADER') return failure
    const which = this.#which(failure.group)
    const missing = which === undefined ? [] : this.missing(which)
    if (which === undefined || missing.length === 0) return failure
    return {
      code: 'NO_QUORUM',
      group: failure.group,
      voters: votersOf(this[which].status().configuration).length,
      missing: missing.map((peer) => this.#nameOf(peer)).toSorted(),
      afterMs: Math.round(this.freshness(which).ageMs),
      pending: open,
    }
  }

  #nameOf(peer: PeerId): string {
    return this.mesh.state.peers[peer]?.name ?? peer.slice(-8)
  }

  #known(which: GroupName): Parameters<Contact['freshness']>[0] {
    const { leader, role } = this[which]
    return { leader, role, timing: this[which].timing, configuration: this[which].status().configuration }
  }

  #proposingTo(group: Led): Proposing {
    return new Proposing(group, this.#ports.clock, (asked, timeoutMs, done) =>
      this.#reach(group, asked, { timeoutMs, hops: 0 }, done),
    )
  }

  /** To the leader, if this peer leads or knows who does. */
  #reach(
    group: Led,
    asked: Asked,
    { timeoutMs, hops }: { timeoutMs: number; hops: number },
    done: Done<Outcome<unknown>>,
  ): void {
    const { transport } = this.#ports
    if (group.role === 'leader') return group.submit(asked, done)
    const to = this.#towards(group)
    if (to === '' || to === transport.self || hops >= HOPS_MAX)
      return done(failed({ code: 'NO_LEADER', group: group.name, afterMs: 0 }))
    // A leader of an older version would take it for a bad frame.
    const off = featureOff(group, asked)
    if (off !== undefined) return done(failed(off))
    const command = envelopeCommand.encode({ ...asked, nowMs: 0 })
    const frame = proposal.encode({ group: group.name, command, hops: hops + 1 })
    transport.request(to, PROPOSE, frame, timeoutMs, (outcome) =>
      done(outcome.ok ? said(group.name, this.#nameOf(to), outcome.value) : outcome),
    )
  }

  /**
   * Whom a proposal goes to. Who follows knows the leader by hearsay: when there is no connection to it, any voter in
   * reach passes it on, for it hears of the next leader first.
   */
  #towards(group: Led): PeerId {
    const { transport } = this.#ports
    const connected = transport.connected()
    if (group.heardLeader() !== '' || connected.includes(group.leader)) return group.leader
    const voters = votersOf(group.status().configuration).map(peerOf)
    if (voters.includes(transport.self)) return group.leader
    return voters.find((voter) => connected.includes(voter)) ?? group.leader
  }

  #serve(frame: Uint8Array, reply: Done<Uint8Array>): void {
    const { group: name, command, hops } = proposal.decode(frame)
    const asked = envelopeCommand.decode(command)
    const which = this.#which(name)
    const group = which === undefined ? this.#events.copyOf(name) : this[which]
    if (group === undefined) return reply(failed({ code: 'NOT_FOUND', what: 'group', name }))
    // What no state machine can read costs its sender, and enters no log.
    if (asked.kind === 'do') (which === 'mesh' ? meshCommand : siteCommand).decode(asked.command)
    this.#reach(group, asked, { timeoutMs: REQUEST_MS, hops }, (outcome) =>
      reply(outcome.ok ? ok(answer.encode({ json: JSON.stringify(outcome.value) })) : outcome),
    )
  }

  #hear(from: PeerId, frame: Uint8Array): void {
    const message = raftMessage.decode(frame)
    if (peerOf(message.from) !== from)
      return this.#ports.transport.blame(from, `a raft message in the name of ${message.from}`)
    const which = this.#which(message.group)
    if (which === undefined) return this.#events.copyOf(message.group)?.hear(message)
    this.#pacing[which].heard(message)
    this[which].hear(message)
    const { leader, role } = this[which]
    this.#contact[which].heard(from, leader === from || role === 'leader', this.#ports.clock.nowMs())
  }

  #askedVotes(group: string): void {
    const which = this.#which(group)
    if (which !== undefined) this.#contact[which].asked(this.#ports.clock.nowMs())
  }

  /** Undefined until both groups are there: a group may speak before that. */
  #pacingOf(group: string): Pacing | undefined {
    const which = this.#which(group)
    return which && this.#pacing?.[which]
  }

  /** Which of this peer's two groups has that name. */
  #which(group: string): GroupName | undefined {
    if (group === MESH_GROUP) return 'mesh'
    return group === this.siteGroup ? 'site' : undefined
  }

  #heardOf(group: string, leader: PeerId): void {
    if (this.#stopped) return
    const which = this.#which(group)
    if (leader !== '' && which !== undefined) this.#proposing[which].leaderChanged()
    if (which === 'mesh') this.#found()
  }

  /** The first entry of a mesh, by the peer that `init` made, or by those that found it together. */
  #found(): void {
    if (this.#stopped || !this.#identity.founds || this.mesh.role !== 'leader' || this.mesh.state.mesh !== '')
      return
    const { mesh, peer, peerName, site, siteName } = this.#identity
    const alone = { peer, peerName, addresses: this.#ports.transport.addresses().slice(0, 16) }
    // Whoever of them leads says the same.
    const [first = alone, ...others] = this.#identity.founders ?? []
    this.proposeMesh(
      { kind: 'found', mesh, ...first, site, siteName, ...(others.length > 0 && { others }) },
      () => {},
    )
  }
}

/** The group's answer as the peer that leads it passed it on. */
function said(group: string, from: string, frame: Uint8Array): Outcome<Outcome<unknown>> {
  const read = answered(frame)
  const isOutcome = read.ok && typeof (read.value as { ok?: unknown } | null)?.ok === 'boolean'
  if (isOutcome) return ok(onDiskOf(from, read.value as Outcome<unknown>))
  return failed({ code: 'OUTCOME_UNKNOWN', group, why: 'its answer cannot be read' })
}

/** Whoever asked has a disk of his own to look at first: it is the leader's that is full, and is passed on as what it is. */
function onDiskOf(peer: string, outcome: Outcome<unknown>): Outcome<unknown> {
  if (outcome.ok || (outcome.failure.code !== 'DISK_FULL' && outcome.failure.code !== 'IO')) return outcome
  const { path } = outcome.failure
  return path.includes(':') ? outcome : failed({ ...outcome.failure, path: `${peer}:${path}` })
}

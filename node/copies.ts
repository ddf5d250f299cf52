/**
 * Copies of other sites' logs that this peer keeps (protocols/roles/copies.ts): each a group of its own, followed like the mesh's,
 * in the same records.
 *
 *   (none) ──the leader of that site says that the log names this peer──▶ kept: followed from any peer of that site
 *   kept ──this peer has all there is, and the log no longer names it──▶ gone, records and all
 *   kept ──the site is lost; `raft recover --group site/NAME` here, with the peer stopped──▶ led from here, by its one vote
 *   led from here ──a host of the site is in sight──▶ learner there, caught up, voter; then this peer is out again (electing.ts)
 *
 * A copy is for nobody's decisions: no command is answered from it, nothing in it is a grant for this host, and it places
 * nothing by itself. The hosts of a site that was recovered here present what they hold like those of any recovered group.
 */
import type { Clock, Dice } from '../protocols/clock.ts'
import type { Failure } from '../protocols/errors.ts'
import { COPIES_KEPT_MAX, FOLLOW_ADRIFT_MS } from '../protocols/limits.ts'
import type { PeerId } from '../protocols/ids.ts'
import { failed, ok } from '../protocols/outcome.ts'
import { type Message, message as raftMessage, PROTOCOL as RAFT } from '../protocols/raft/messages.ts'
import { peerOf } from '../protocols/raft/member.ts'
import { copyAnswer, copyAsk, PROTOCOL as COPY } from '../protocols/roles/copy-messages.ts'
import type { Transport } from '../protocols/transport.ts'
import { key } from '../storage/keyspace.ts'
import { clearOps } from '../storage/raft-salvage.ts'
import type { Identity } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import { SITE } from './agreement.ts'
import type { SiteCommand, SiteState } from './catalog/site.ts'
import type { Own } from './electing.ts'
import type { Following } from './following.ts'
import { MESH_GROUP, siteGroupOf } from './founding.ts'
import { Group } from './group.ts'
import { Timers } from './timers.ts'

export type SiteGroup = Group<SiteState, SiteCommand>

type Around = {
  readonly own: Own
  /** Whether a log of one generation takes the place of another's. */
  outranks(group: string, heard: number, own: number): boolean
  /** Whether a peer is of the site that a group is the group of. */
  isOfGroup(group: string, peer: PeerId): boolean
  readonly following: Pick<Following, 'add' | 'drop' | 'followed' | 'moved'>
  /** A group that this peer may come to lead, and one that it no longer may. */
  opened(group: SiteGroup): void
  dropped(group: string): void
  /** A log was put aside, or found damaged. */
  putAside(group: SiteGroup): void
  /** It is at a feature level that this version does not know. */
  halted(group: SiteGroup): void
  /** This peer's disk does not take its log any more, or does again. */
  turned(group: string, unwritable: Failure | undefined): void
}

type Ports = {
  readonly clock: Clock
  readonly dice: Dice
  readonly store: Store
  readonly transport: Transport
}

const LOOK_MS = 10_000

export class Copies {
  readonly #identity: Identity
  readonly #ports: Ports
  readonly #around: () => Around
  readonly #groups = new Map<string, SiteGroup>()
  readonly #timers: Timers
  readonly #startedMs: number
  #stopped = false

  /** `around` is complete when `start` is called. */
  constructor(identity: Identity, ports: Ports, around: () => Around) {
    this.#identity = identity
    this.#ports = ports
    this.#around = around
    this.#timers = new Timers(ports.clock)
    this.#startedMs = ports.clock.nowMs()
    ports.transport.serve(COPY, {
      request: (from, frame, reply) => {
        const { kind, group } = copyAsk.decode(frame)
        if (this.#stopped) return reply(failed({ code: 'STOPPING', peer: identity.peerName }))
        if (!this.#around().isOfGroup(group, from))
          return reply(failed({ code: 'NOT_FOUND', what: 'group', name: group }))
        if (kind === 'keep') this.#keep(group)
        reply(ok(copyAnswer.encode(this.#answer(group))))
      },
    })
    ports.transport.watch((peer, up) => {
      if (!up) for (const group of this.#groups.values()) group.unreachable(peer)
    })
  }

  /** Every copy that is on disk is taken up again. */
  start(): void {
    const prefix = key('raftMember', '')
    for (const [at] of this.#ports.store.recovered(prefix)) this.#keep(at.slice(prefix.length))
    const look = (): void => {
      if (this.#stopped) return
      for (const group of this.#groups.values()) if (this.#isOver(group)) this.#drop(group)
      this.#timers.after(LOOK_MS, look)
    }
    look()
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
    for (const group of this.#groups.values()) group.stop()
  }

  get(group: string): SiteGroup | undefined {
    return this.#groups.get(group)
  }

  all(): SiteGroup[] {
    return [...this.#groups.values()]
  }

  #answer(group: string): Parameters<typeof copyAnswer.encode>[0] {
    const { uplink, power } = this.#around().own
    return {
      keeps: this.#groups.has(group),
      hasRoom: this.#groups.size < COPIES_KEPT_MAX,
      uplink,
      uptimeMs: Math.floor(this.#ports.clock.nowMs() - this.#startedMs),
      power: power(),
    }
  }

  #keep(name: string): void {
    const isOwn = name === MESH_GROUP || name === siteGroupOf(this.#identity)
    if (isOwn || this.#groups.has(name) || this.#groups.size >= COPIES_KEPT_MAX) return
    const { clock, dice, store, transport } = this.#ports
    const around = this.#around()
    const { following } = around
    const moved = (): void => following.moved(name)
    const { mesh: cluster, peer } = this.#identity
    const send = (message: Message): void =>
      transport.send(peerOf(message.to), RAFT, raftMessage.encode(message))
    const ports = { clock, dice, store, send }
    const outranks = (heard: number, of: number): boolean => around.outranks(name, heard, of)
    const aside = (): void => void this.#timers.after(0, () => around.putAside(group))
    const halted = (): void => void this.#timers.after(0, () => around.halted(group))
    const turned = (unwritable: Failure | undefined): void => around.turned(name, unwritable)
    const told = { moved, role: moved, putAside: aside, halted, turned }
    const events = { applied: () => {}, restored: () => {}, ...told }
    const group: SiteGroup = new Group({ name, cluster, peer, outranks }, SITE, ports, events)
    this.#groups.set(name, group)
    group.start()
    following.add(group)
    around.opened(group)
    around.putAside(group)
  }

  /** Who has all there is and is not named in it keeps it for nobody. */
  #isOver(group: SiteGroup): boolean {
    const { peer } = this.#identity
    if (group.appliedIndex === 0 || group.isMember(peer)) return false
    const isFresh = this.#around().following.followed(group.name).ageMs < FOLLOW_ADRIFT_MS
    return isFresh && group.state.copies?.includes(peer) !== true
  }

  #drop(group: SiteGroup): void {
    this.#groups.delete(group.name)
    this.#around().following.drop(group.name)
    this.#around().dropped(group.name)
    group.stop()
    this.#ports.store.write(clearOps(group.name), false, () => {})
  }
}

/**
 * One log of a group in this life: its Raft core, and all that is needed to drive it. Events are heard one at a time: all
 * effects of one are performed before the core hears of the next, and what they bring up meanwhile waits its turn.
 *
 * Writes and messages are performed here: a `send` with `after` leaves only when that write is durable, and a failed write
 * (full disk) is tried again, in order, until it is: nothing that depends on it leaves before. What concerns the agreed state, and those who wait for it, is the group's (node/group.ts). When a group begins anew its old log is ended,
 * and another one is driven in its place.
 */
import type { Clock, Dice } from '../protocols/clock.ts'
import type { Failure } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { APPEND_BYTES_MAX } from '../protocols/limits.ts'
import { membersOf } from '../protocols/raft/configuration.ts'
import type { Timing } from '../protocols/raft/envelope.ts'
import { entryBytes } from '../protocols/raft/log.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { Message } from '../protocols/raft/messages.ts'
import { create, dueInTicks, type Raft, type Status, status, step } from '../protocols/raft/raft.ts'
import { successorOf } from '../protocols/raft/standing-aside.ts'
import type { Proposal, RaftEffect, RaftEvent, Snapshot } from '../protocols/raft/types.ts'
import { type LogOwner, storeOps } from '../storage/raft-log.ts'
import type { Store } from '../storage/store.ts'
import { Copying } from './copying.ts'
import { LogWriter } from './log-writer.ts'
import { type Opened, supersede } from './opening.ts'
import { Outbox } from './outbox.ts'
import { Ticker } from './ticker.ts'
import { Timers } from './timers.ts'

export type DrivingTerms = {
  readonly group: string
  readonly cluster: string
  readonly timing: Timing
  /** Feature level of this version. */
  readonly level: number
}

export type GroupPorts = {
  readonly clock: Clock
  readonly dice: Dice
  readonly store: Store
  send(message: Message): void
}

/** What is the group's to perform. */
export type HostEffect = Exclude<RaftEffect, { kind: 'send' | 'store' }>

type Hooks = {
  perform(effect: HostEffect): void
  /** Everything was heard and performed. */
  rested(): void
  /** A write has failed; it is tried again. */
  unwritable(failure: Failure): void
  /** The disk does not take the log, or does again. */
  turned(unwritable: Failure | undefined): void
  /** How far the state is, and what it is; undefined when it is too large to be copied. */
  appliedIndex(): number
  capture(): Snapshot | undefined
}

export class Driving {
  readonly raft: Raft
  readonly owner: LogOwner
  readonly #group: string
  readonly #ports: GroupPorts
  readonly #hooks: Hooks
  readonly #ticker: Ticker
  readonly #timers: Timers
  readonly #writer: LogWriter
  readonly #copying: Copying
  /**
   * What the core has yet to hear. What waits in it was brought up by the effects of one event: two or three by the group
   * itself, and what those who were answered ask for next, of whom there are PROPOSALS_MAX and READS_MAX at most.
   */
  #queue: RaftEvent[] = []
  #feeding = false
  /** As many as may wait for commitment at the most. */
  #gathered: Proposal[] = []
  #ended = false
  #peers: { readonly of: readonly MemberId[]; readonly peers: ReadonlySet<PeerId> } = {
    of: [],
    peers: new Set(),
  }

  constructor(
    { group, cluster, timing, level }: DrivingTerms,
    { owner, recovered, first }: Pick<Opened, 'owner' | 'recovered' | 'first'>,
    ports: GroupPorts,
    hooks: Hooks,
  ) {
    this.#group = group
    this.#hooks = hooks
    this.#ports = ports
    const { clock, dice, store } = ports
    this.owner = owner
    const { generation, member: self } = owner
    // Of two hosts of a site the second learns, and holds an entry before that is acknowledged (DESIGN section 3).
    const heldForLearner = group !== 'mesh'
    const raft = create(
      { cluster, group, generation, self, ...timing, level, dice, heldForLearner },
      recovered,
    )
    this.raft = raft
    this.#timers = new Timers(clock)
    const later = (delayMs: number, run: () => void): void => void this.#timers.after(delayMs, run)
    const outbox = new Outbox({ send: (message) => ports.send(message), later })
    this.#writer = new LogWriter(store, first, {
      send: (message) => outbox.send(message),
      later,
      stored: (token) => this.feed({ kind: 'stored', token }),
      failed: (failure) => hooks.unwritable(failure),
      turned: (unwritable) => hooks.turned(unwritable),
      stuck: () => this.#handOver(),
    })
    this.#copying = new Copying(group, owner, recovered, {
      store,
      timers: this.#timers,
      at: () => ({ index: hooks.appliedIndex(), configuration: raft.configuration }),
      capture: () => hooks.capture(),
    })
    this.#ticker = new Ticker(clock, {
      due: () => dueInTicks(raft),
      tick: (count) => this.#tick(count),
    })
  }

  start(): void {
    this.#ticker.start()
    this.#writer.begin()
  }

  /** Nothing is heard, sent or written after this. */
  end(): void {
    this.#ended = true
    this.#queue = []
    this.#writer.end()
    this.#ticker.stop()
    this.#timers.stop()
  }

  /** The group has begun `generation` without this log. @returns What is driven in its place. */
  supersede(generation: number): Opened {
    this.end()
    const { clock, dice } = this.#ports
    const { log, snapshot, term, vote } = this.raft
    const held = { hardState: { term, vote, commit: log.commit }, snapshot, entries: log.entries }
    const terms = { group: this.#group, peer: peerOf(this.owner.member), dice, wallMs: clock.wallMs() }
    return supersede(terms, this.owner, held, generation)
  }

  /**
   * Proposals of one turn of the event loop go together: in one message to each follower, and in one write. Of whoever does
   * not lead they are refused at once.
   */
  propose(proposal: Proposal): void {
    if (this.raft.role !== 'leader') return this.feed({ kind: 'propose', proposals: [proposal] })
    if (this.#gathered.length === 0) this.#timers.after(0, () => this.#proposeGathered())
    this.#gathered.push(proposal)
  }

  feed(event: RaftEvent): void {
    if (this.#ended) return
    this.#queue.push(event)
    if (this.#feeding) return
    this.#feeding = true
    try {
      this.#ticker.catchUp()
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#step(next)
    } finally {
      this.#feeding = false
    }
    this.#ticker.sleep()
    this.#hooks.rested()
  }

  unreachable(peer: PeerId): void {
    for (const member of membersOf(this.raft.configuration))
      if (peerOf(member) === peer) this.feed({ kind: 'unreachable', peer: member })
  }

  /** The state has come further. */
  copyLater(): void {
    this.#copying.later()
  }

  /** This peer is about to stop. */
  copyNow(): void {
    this.#copying.now()
  }

  /** Why the newest try to write failed; undefined once one came through. */
  get unwritable(): Failure | undefined {
    return this.#writer.unwritable
  }

  status(): Status {
    return status(this.raft)
  }

  /** The leader, if this peer leads or has heard it within two election timeouts, and is still told by it. */
  heardLeader(): PeerId {
    // Who has no vote sleeps through its ticks.
    if (!this.#ended && !this.#feeding) this.#ticker.catchUp()
    const { role, leader, electionElapsed, electionTimeout, configuration } = this.raft
    // Who was taken out is told nothing more, however lately it heard. A new member knows of no members yet.
    const members = membersOf(configuration)
    const isTold = members.length === 0 || members.includes(this.owner.member)
    const heard = role === 'leader' || (isTold && electionElapsed < 2 * electionTimeout)
    return heard ? peerOf(leader) : ''
  }

  isMember(peer: PeerId): boolean {
    const members = membersOf(this.raft.configuration)
    // The same list as long as the configuration is the same; asked for every peer, again and again.
    if (this.#peers.of !== members) this.#peers = { of: members, peers: new Set(members.map(peerOf)) }
    return this.#peers.peers.has(peer)
  }

  #proposeGathered(): void {
    const gathered = this.#gathered
    this.#gathered = []
    for (const proposals of pagesOf(gathered)) this.feed({ kind: 'propose', proposals })
  }

  /** From the ticker: by itself, or because it catches up before something else is heard. */
  #tick(count: number): void {
    if (this.#feeding) this.#step({ kind: 'tick', count })
    else this.feed({ kind: 'tick', count })
  }

  #step(event: RaftEvent): void {
    // A log that is given up in the middle has nothing more to say.
    for (const effect of step(this.raft, event)) if (!this.#ended) this.#perform(effect)
  }

  #perform(effect: RaftEffect): void {
    if (effect.kind === 'send') return this.#writer.send(effect.message, effect.after)
    if (effect.kind !== 'store') return this.#hooks.perform(effect)
    this.#writer.write(effect.token, [...storeOps(this.#group, effect), ...this.#copying.dropped(effect)])
  }

  /** A leader that cannot write applies nothing, though the others may agree: one of them is to lead. */
  #handOver(): void {
    const to = this.raft.role === 'leader' ? successorOf(this.status()) : undefined
    if (to !== undefined) this.feed({ kind: 'transfer', to })
  }
}

/** What the core says in one message each. */
function pagesOf(proposals: readonly Proposal[]): Proposal[][] {
  const pages: Proposal[][] = []
  let room = 0
  for (const proposal of proposals) {
    const bytes = entryBytes(proposal)
    if (bytes > room) {
      pages.push([])
      room = APPEND_BYTES_MAX
    }
    room -= bytes
    pages.at(-1)?.push(proposal)
  }
  return pages
}

/**
 * How fresh what this peer knows of a group is, and whom the group misses. Agreed facts are read from this peer's own copy,
 * whoever is out of sight: they are as old as the last word from whoever could have added to them.
 *
 *   leader     as old as the least of the words of a majority, its own included
 *   others     as old as the last word of the leader
 *
 * A group without a leader has no present: what is shown of it is stale from the first moment.
 */
import { ELECTION_TICKS, HEARTBEAT_TICKS, TICK_MS } from '../protocols/limits.ts'
import type { PeerId } from '../protocols/ids.ts'
import type { Configuration } from '../protocols/raft/types.ts'
import { votersOf } from '../protocols/raft/configuration.ts'
import { peerOf } from '../protocols/raft/member.ts'

/** Heartbeats that a voter may owe before it counts as missing: the third is no accident. */
const HEARTBEATS_OWED = 3

type Known = {
  readonly role: string
  readonly leader: PeerId
  readonly timing: { readonly heartbeatTicks: number; readonly electionTicks: number } | undefined
  readonly configuration: Configuration
}

export type Freshness = { readonly ageMs: number; readonly stale: boolean }

export class Contact {
  readonly #self: PeerId
  readonly #startedMs: number
  readonly #heardMs = new Map<PeerId, number>()
  #freshMs: number | undefined
  /** When this peer last asked for votes, and when before that: without a leader it asks ever more rarely (pacing.ts). */
  #askedMs: { readonly last: number; readonly before: number | undefined } | undefined

  constructor(self: PeerId, nowMs: number) {
    this.#self = self
    this.#startedMs = nowMs
  }

  /**
   * A message of the group came. `isLed`: from its leader, or to it. Who led and lost its majority goes on to hear the rest for an
   * election timeout at most, before it gives up: by so much its last word may seem younger than it is.
   */
  heard(from: PeerId, isLed: boolean, nowMs: number): void {
    this.#heardMs.set(from, nowMs)
    if (isLed) this.#freshMs = nowMs
  }

  /** This peer asks the voters whether it could win, each of which answers: called for each of them. */
  asked(nowMs: number): void {
    if (this.#askedMs?.last !== nowMs) this.#askedMs = { last: nowMs, before: this.#askedMs?.last }
  }

  /** Since this peer last heard of another in this group; undefined when it never did. */
  sinceMs(peer: PeerId, nowMs: number): number | undefined {
    if (peer === this.#self) return 0
    const at = this.#heardMs.get(peer)
    return at === undefined ? undefined : nowMs - at
  }

  /** Whether a leader has waited for a voter's heartbeats for too long. */
  isSilent(known: Known, peer: PeerId, nowMs: number): boolean {
    const owesMs = this.sinceMs(peer, nowMs) ?? nowMs - this.#startedMs
    return owesMs > HEARTBEATS_OWED * heartbeatMs(known)
  }

  freshness(known: Known, nowMs: number): Freshness {
    if (known.role === 'leader') {
      const ageMs = Math.max(...halves(known.configuration).map((half) => this.#majorityMs(half, nowMs)))
      this.#freshMs = Math.max(this.#freshMs ?? 0, nowMs - ageMs)
      return { ageMs: heartbeatMs(known) < ageMs ? ageMs : 0, stale: false }
    }
    const ageMs = nowMs - (this.#freshMs ?? this.#startedMs)
    // A learner waits for its leader for ever: it never campaigns.
    const stale = known.leader === '' || ageMs > 2 * electionMs(known)
    return { ageMs: stale || heartbeatMs(known) < ageMs ? ageMs : 0, stale }
  }

  /**
   * Voters that are out of sight, when so many are that nobody can lead; empty when the group has a quorum as far as this
   * peer can tell. `sees` is what membership and the transport say of a peer.
   */
  missing(known: Known, sees: (peer: PeerId) => boolean, nowMs: number): PeerId[] {
    const voters = votersOf(known.configuration).map(peerOf)
    // A leader hears its voters at every heartbeat; a voter without one, at every election that it tries. Others hear leaders
    // alone, and have only what membership says.
    const leads = known.role === 'leader'
    const patienceMs = leads ? HEARTBEATS_OWED * heartbeatMs(known) : 1.5 * electionMs(known)
    const hears = leads || (known.leader === '' && voters.includes(this.#self))
    const askedMs = leads ? undefined : this.#overdueMs(patienceMs, nowMs)
    const isMissing = (peer: PeerId): boolean => {
      if (peer === this.#self) return false
      const owesMs = this.sinceMs(peer, nowMs) ?? nowMs - this.#startedMs
      const owes = askedMs === undefined ? owesMs > patienceMs : nowMs - owesMs < askedMs
      return !sees(peer) || (hears && owes)
    }
    const gone = voters.filter(isMissing)
    const lost = halves(known.configuration).some((half) => {
      const left = half.filter((peer) => !gone.includes(peer)).length
      return left < majority(half.length)
    })
    return lost ? gone : []
  }

  /**
   * The newest election since there was a leader to which every voter in reach must have answered; undefined before there
   * was one. Who is in reach and has been asked for nothing since is silent by right.
   */
  #overdueMs(patienceMs: number, nowMs: number): number | undefined {
    const { last, before } = this.#askedMs ?? {}
    const sinceLed = (at: number | undefined): number | undefined =>
      at !== undefined && at > (this.#freshMs ?? -1) ? at : undefined
    // An election of before there was a leader says nothing of how rarely this peer asks now.
    const previous = sinceLed(before)
    const waitMs = last === undefined || previous === undefined ? 0 : (last - previous) / 2
    const isOver = last !== undefined && nowMs - last > Math.max(patienceMs, waitMs)
    return isOver ? sinceLed(last) : previous
  }

  /** Age of the oldest word in the freshest majority of `peers`. */
  #majorityMs(peers: readonly PeerId[], nowMs: number): number {
    const ages = peers.map((peer) => this.sinceMs(peer, nowMs) ?? nowMs - this.#startedMs)
    return ages.toSorted((a, b) => a - b)[majority(peers.length) - 1] ?? 0
  }
}

const majority = (count: number): number => Math.floor(count / 2) + 1

/** Of a joint configuration both must agree. */
const halves = ({ voters, votersOutgoing }: Configuration): PeerId[][] =>
  [voters, votersOutgoing].filter((half) => half.length > 0).map((half) => half.map(peerOf))

const heartbeatMs = ({ timing }: Known): number => (timing?.heartbeatTicks ?? HEARTBEAT_TICKS) * TICK_MS

const electionMs = ({ timing }: Known): number => (timing?.electionTicks ?? ELECTION_TICKS) * TICK_MS

/**
 * The timing of one group on this peer. While it leads, it measures how long each heartbeat takes there and back, and
 * proposes other timing when the links ask for it; always, it tells the core what is agreed on, or, without a leader for
 * long, what is more patient (protocols/raft/timing.ts decides all of it).
 *
 * A heartbeat is known by its number when it is answered; when the stream to a member breaks, those under way are forgotten.
 */
import type { Clock } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import { votersOf } from '../protocols/raft/configuration.ts'
import type { Timing } from '../protocols/raft/envelope.ts'
import type { Message } from '../protocols/raft/messages.ts'
import { DEFAULT_TIMING, type Measuring, newMeasuring, patient, step } from '../protocols/raft/timing.ts'
import type { Group } from './group.ts'

type Paced = Pick<
  Group<unknown, never>,
  'member' | 'role' | 'leader' | 'status' | 'timing' | 'pace' | 'submit'
>

/** How long a member stays patient under a new leader, which needs a few round trips to have longer timing agreed on. */
const CALM_MS = 30_000
/** Heartbeats under way to one member: past it the oldest is taken for lost. */
const UNDER_WAY_MAX = 64

export class Pacing {
  readonly #group: Paced
  readonly #clock: Clock
  /** Heartbeats that are not answered yet, by their numbers: when each was sent. */
  readonly #sentMs = new Map<MemberId, Map<number, number>>()
  /** Only while this peer leads. */
  #measuring: Measuring | undefined
  /** Since when there is a leader, or none. */
  #led = false
  #sinceMs: number
  /** Where the last time without a leader has led, if that is longer than what was agreed on then. */
  #patience: { readonly agreed: Timing; readonly timing: Timing } | undefined
  #told: Timing = DEFAULT_TIMING

  constructor(group: Paced, clock: Clock) {
    this.#group = group
    this.#clock = clock
    this.#sinceMs = clock.nowMs()
  }

  sent(message: Message, isConnected: boolean): void {
    // What waits for a connection says nothing about the link.
    if (message.kind !== 'MsgHeartbeat' || !isConnected) return
    const sentMs = this.#sentMs.get(message.to) ?? new Map<number, number>()
    sentMs.set(message.beat, this.#clock.nowMs())
    const [oldest] = sentMs.keys()
    if (sentMs.size > UNDER_WAY_MAX && oldest !== undefined) sentMs.delete(oldest)
    this.#sentMs.set(message.to, sentMs)
  }

  heard(message: Message): void {
    if (message.kind !== 'MsgHeartbeatResp' || this.#measuring === undefined) return
    const { from, beat } = message
    const beats = this.#sentMs.get(from)
    const sentMs = beats?.get(beat)
    if (beats === undefined || sentMs === undefined) return
    // Answers come in order: those before this one are lost.
    for (const each of beats.keys()) if (each <= beat) beats.delete(each)
    step(this.#measuring, { kind: 'round-trip', member: from, ms: this.#clock.nowMs() - sentMs })
  }

  /** The connection is gone. */
  lost(peer: PeerId): void {
    for (const member of this.#sentMs.keys()) if (peerOf(member) === peer) this.#sentMs.delete(member)
  }

  /** A few times a second, and when the leader or what is agreed on has changed. */
  look(): void {
    const { role, leader } = this.#group
    const timing = this.#group.timing ?? DEFAULT_TIMING
    const nowMs = this.#clock.nowMs()
    const led = role === 'leader' || leader !== ''
    if (led !== this.#led) {
      const isPatient = this.#told.electionTicks > timing.electionTicks
      if (led) this.#patience = isPatient ? { agreed: timing, timing: this.#told } : undefined
      this.#led = led
      this.#sinceMs = nowMs
    }
    const wanted = this.#wanted(timing, nowMs - this.#sinceMs)
    // What is agreed on the group tells its core itself.
    if (!isSame(wanted, this.#told)) {
      this.#told = wanted
      this.#group.pace(wanted)
    }
    if (role !== 'leader') {
      this.#measuring = undefined
      this.#sentMs.clear()
      return
    }
    this.#measuring ??= newMeasuring(nowMs)
    const voters = votersOf(this.#group.status().configuration)
    const followers = voters.filter((voter) => voter !== this.#group.member)
    for (const effect of step(this.#measuring, { kind: 'look', nowMs, followers, agreed: timing }))
      // Whatever comes of it, the next look sees.
      this.#group.submit({ kind: 'timing', timing: effect.timing }, () => {})
  }

  #wanted(agreed: Timing, forMs: number): Timing {
    const isOver = this.#led && forMs >= CALM_MS
    const isOld = this.#patience !== undefined && !isSame(this.#patience.agreed, agreed)
    if (isOver || isOld) this.#patience = undefined
    const from = this.#patience?.timing ?? agreed
    return this.#led ? from : patient(from, forMs)
  }
}

const isSame = (a: Timing, b: Timing): boolean =>
  a.heartbeatTicks === b.heartbeatTicks &&
  a.electionTicks === b.electionTicks &&
  a.staggerTicks === b.staggerTicks

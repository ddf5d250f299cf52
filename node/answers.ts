/**
 * Who waits for what of one Raft group on this peer. A proposal is *asked* until it is in the log, then *pending* under its
 * index until that is applied; reads and transfers wait under the token by which the core knows them. Everybody is told
 * once: who asked for what is in no log is refused, who asked for what may be in one hears OUTCOME_UNKNOWN.
 */
import type { Clock } from '../protocols/clock.ts'
import { describeFailure, type Failure } from '../protocols/errors.ts'
import { ELECTION_TICKS, PROPOSALS_MAX, TICK_MS } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { type Answered, envelopeCommand } from '../protocols/raft/envelope.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { Entry, RaftEffect } from '../protocols/raft/types.ts'
import { Timers } from './timers.ts'

/** The core gives a transfer up after an election timeout; a far heir may need a little longer to be heard of. */
const TRANSFER_MS = ELECTION_TICKS * TICK_MS + 500

export type Answer = Done<Outcome<unknown>>
type Pending = { readonly term: number; readonly done: Answer }
type EffectOf<K extends RaftEffect['kind']> = Extract<RaftEffect, { kind: K }>

export class Answers {
  readonly #group: string
  readonly #asked = new Map<number, Answer>()
  readonly #pending = new Map<number, Pending>()
  readonly #reads = new Map<number, Done<void>>()
  readonly #transfers = new Map<number, Done<void>>()
  readonly #timers: Timers
  #nextToken = 1

  constructor(group: string, clock: Clock) {
    this.#group = group
    this.#timers = new Timers(clock)
  }

  /** @returns The token to propose under. */
  proposal(done: Answer): number {
    this.#asked.set(this.#nextToken, done)
    return this.#nextToken++
  }

  /** Whether as many proposals wait as may. */
  get isFull(): boolean {
    return this.#asked.size + this.#pending.size >= PROPOSALS_MAX
  }

  read(done: Done<void>): number {
    this.#reads.set(this.#nextToken, done)
    return this.#nextToken++
  }

  transfer(to: MemberId, done: Done<void>): number {
    const token = this.#nextToken++
    this.#transfers.set(token, done)
    const late: Failure = { code: 'TIMEOUT', what: `the transfer to ${peerOf(to)}`, afterMs: TRANSFER_MS }
    this.#timers.after(TRANSFER_MS, () => take(this.#transfers, token)?.(failed(late)))
    return token
  }

  proposed({ token, index, term }: EffectOf<'proposed'>): void {
    const done = take(this.#asked, token)
    if (done !== undefined) this.#pending.set(index, { term, done })
  }

  readReady(token: number): void {
    take(this.#reads, token)?.(ok(undefined))
  }

  refused(effect: EffectOf<'refused'>): void {
    const { token } = effect
    const done = take(this.#asked, token) ?? take(this.#reads, token) ?? take(this.#transfers, token)
    done?.(failed(refusal(this.#group, effect)))
  }

  /** Another leads: whatever transfer was asked for, it came to that. */
  anotherLeads(): void {
    for (const done of takeAll(this.#transfers)) done(ok(undefined))
  }

  /** An entry was applied. `applied` is undefined for what no state machine sees. */
  applied({ index, term, data }: Entry, applied: Answered<unknown> | undefined): void {
    const pending = take(this.#pending, index)
    if (pending === undefined) return
    // Another leader's entry stands where ours was to be: whether ours is anywhere is not known to us.
    if (pending.term !== term) return pending.done(failed(lost(this.#group)))
    if (applied === undefined) return pending.done(ok(ok(undefined)))
    if (applied.kind === 'answer') return pending.done(ok(applied.outcome))
    pending.done(failed(unanswered(this.#group, data, applied.kind)))
  }

  /** What is in this peer's log may be overwritten, or committed by the next leader: the asker cannot know. */
  loseProposals(): void {
    for (const { done } of takeAll(this.#pending)) done(failed(lost(this.#group)))
  }

  /** A write has failed: what waits for it stays in the log, and is written again. */
  unwritable(failure: Failure): void {
    const isOfDisk = failure.code === 'DISK_FULL' || failure.code === 'IO'
    this.#refuseAll(
      failure,
      isOfDisk ? { ...failure, pending: true } : unknown(this.#group, describeFailure(failure)),
    )
  }

  superseded(): void {
    const why = unknown(this.#group, 'the group began anew')
    this.#refuseAll(why, why)
  }

  stop(): void {
    this.#timers.stop()
    this.#refuseAll({ code: 'STOPPING', peer: 'this peer' }, unknown(this.#group, 'this peer stops'))
  }

  /** `failure` for what is in no log, `open` for what may be in one. */
  #refuseAll(failure: Failure, open: Failure): void {
    const refused = [...takeAll(this.#asked), ...takeAll(this.#reads), ...takeAll(this.#transfers)]
    const pending = takeAll(this.#pending)
    for (const done of refused) done(failed(failure))
    for (const { done } of pending) done(failed(open))
  }
}

function take<T>(from: Map<number, T>, key: number): T | undefined {
  const value = from.get(key)
  from.delete(key)
  return value
}

/** Who is told may ask again at once: that is for the next time. */
function takeAll<T>(from: Map<number, T>): T[] {
  const all = [...from.values()]
  from.clear()
  return all
}

const unknown = (group: string, why: string): Failure => ({ code: 'OUTCOME_UNKNOWN', group, why })
const lost = (group: string): Failure => unknown(group, 'the leader changed')

function unanswered(group: string, data: Uint8Array, kind: 'expired' | 'forgotten'): Failure {
  if (kind === 'forgotten') return unknown(group, 'it was done, and its answer is no longer kept')
  const asked = envelopeCommand.decode(data)
  return { code: 'SESSION_EXPIRED', group, session: asked.kind === 'do' ? asked.session : 0 }
}

function refusal(group: string, { why, leader: member }: EffectOf<'refused'>): Failure {
  const leader = peerOf(member)
  // Another is about to lead: to whoever asks that is a group without a leader, for a round trip or two.
  if (why === 'transferring') return { code: 'NO_LEADER', group, afterMs: 0 }
  if (why === 'not-leader') {
    return leader === '' ? { code: 'NO_LEADER', group, afterMs: 0 } : { code: 'NOT_LEADER', group, leader }
  }
  return { code: 'PROPOSAL_DROPPED', group, why }
}

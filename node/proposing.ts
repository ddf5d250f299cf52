/**
 * This peer's proposals to one group, wherever it is led from: each is done at most once, and its real answer comes back.
 * A command keeps its (session, serial) across leaders, lost messages and lost answers, so it may be sent again at any time
 * (protocols/raft/envelope.ts holds the other half).
 *
 *   no session ──open──▶ session ──attempt──▶ answered: the group's own answer, refusals included
 *                                     │  ▲
 *                    not done, or not known to be    again after LEADER_AGAIN_MS, and at once under a new leader
 *                                     └──┴─▶ PROPOSE_MS over: refused when surely not done, else OUTCOME_UNKNOWN
 *
 * What is not known is never called refused: an attempt that was sent and not answered may still be carried out.
 * An expired session is begun anew only for commands of which no other copy can be under way.
 */
import type { Clock, Timer } from '../protocols/clock.ts'
import { describeFailure, type Failure } from '../protocols/errors.ts'
import type { PeerId } from '../protocols/ids.ts'
import { ATTEMPT_MS, LEADER_AGAIN_MS, PROPOSE_MS, SESSION_WINDOW } from '../protocols/limits.ts'
import { type Done, failed, type Outcome } from '../protocols/outcome.ts'
import type { Asked } from '../protocols/raft/envelope.ts'

/** Asks the group's leader, here or elsewhere. A value is what the group answered; a failure, that nobody knows one. */
export type Reach = (asked: Asked, timeoutMs: number, done: Done<Outcome<unknown>>) => void

type Session = { readonly id: number; next: number; readonly open: Set<number> }

/** Something that is tried until it is answered or its time is over. */
type Attempts = {
  readonly endMs: number
  readonly asked: () => Asked
  readonly done: Done<Outcome<unknown>>
  /** Attempts that were sent and came to nothing that is known: why, for the last of them. */
  unknown: Failure | undefined
  /** Why it was not done, the last time that was sure. */
  refused: Failure | undefined
  /** Attempts without any word yet. */
  unanswered: number
  /** Counts attempts: only the newest asks again. */
  turn: number
  /** Whom the newest went to. */
  leader: PeerId
  timer: Timer | undefined
  over: boolean
}

type Waiting = { readonly command: Uint8Array; readonly endMs: number; readonly done: Done<unknown> }

/** Failures after which the attempt is surely not in any log. Under all others it may be. */
const NOT_DONE = new Set<Failure['code']>([
  'NOT_LEADER',
  'NO_LEADER',
  'PROPOSAL_DROPPED',
  'SESSION_EXPIRED',
  'PEER_BUSY',
  'NOT_FOUND',
  'FRAME_INVALID',
  'FRAME_TOO_LARGE',
  'FEATURE_OFF',
])
/** Failures after which another attempt may do better; the others would be the same again. */
const AGAIN = new Set<Failure['code']>([
  'NOT_LEADER',
  'NO_LEADER',
  'PEER_BUSY',
  'SESSION_EXPIRED',
  'OUTCOME_UNKNOWN',
])
const isNotDone = (failure: Failure): boolean =>
  NOT_DONE.has(failure.code) || (isOfDisk(failure) && failure.pending !== true)
const isFinal = ({ code }: Failure): boolean => !AGAIN.has(code)
const isOfDisk = (failure: Failure): failure is Failure & { code: 'DISK_FULL' | 'IO' } =>
  failure.code === 'DISK_FULL' || failure.code === 'IO'

export class Proposing {
  readonly #group: { readonly name: string; readonly leader: PeerId }
  readonly #clock: Clock
  readonly #reach: Reach
  readonly #attempts = new Set<Attempts>()
  #session: Session | undefined
  /** Commands that wait for a session. */
  #waiting: Waiting[] = []
  #opening = false
  #stopped = false

  constructor(group: { readonly name: string; readonly leader: PeerId }, clock: Clock, reach: Reach) {
    this.#group = group
    this.#clock = clock
    this.#reach = reach
  }

  /** An encoded command of the group's own. Ends within PROPOSE_MS. */
  propose(command: Uint8Array, done: Done<unknown>): void {
    const waiting = { command, endMs: this.#clock.nowMs() + PROPOSE_MS, done }
    if (this.#stopped) return done(failed(STOPPING))
    if (this.#session !== undefined) return this.#begin(this.#session, waiting)
    if (this.#waiting.length >= SESSION_WINDOW) return done(failed(this.#tooMany()))
    this.#waiting.push(waiting)
    this.#open()
  }

  /** Another peer leads: what went to its predecessor need not wait for an answer from there. */
  leaderChanged(): void {
    for (const each of this.#attempts) if (each.leader !== this.#group.leader) this.#attempt(each)
  }

  stop(): void {
    this.#stopped = true
    for (const each of this.#attempts) {
      each.refused = STOPPING
      this.#giveUp(each)
    }
    for (const { done } of this.#waiting.splice(0)) done(failed(STOPPING))
  }

  #open(): void {
    const [first] = this.#waiting
    if (first === undefined || this.#opening || this.#stopped) return
    this.#opening = true
    // Opened twice when an answer is lost: the other one ends by itself, unused.
    this.#try(
      first.endMs,
      () => ({ kind: 'open' }),
      (outcome) => {
        this.#opening = false
        const answer = outcome.ok ? outcome.value : outcome
        if (answer.ok) {
          const session = { id: Number(answer.value), next: 0, open: new Set<number>() }
          this.#session = session
          for (const each of this.#waiting.splice(0)) this.#begin(session, each)
          return
        }
        this.#notOpened(answer.failure)
      },
    )
  }

  /** Those whose time is over are told; the others try on. Nothing of theirs was ever sent. */
  #notOpened(failure: Failure): void {
    const nowMs = this.#clock.nowMs()
    const isOver = ({ endMs }: Waiting): boolean => endMs <= nowMs + LEADER_AGAIN_MS || isFinal(failure)
    const over = this.#waiting.filter(isOver)
    this.#waiting = this.#waiting.filter((each) => !isOver(each))
    const why =
      failure.code === 'OUTCOME_UNKNOWN'
        ? ({ code: 'NO_LEADER', group: this.#group.name, afterMs: PROPOSE_MS } as const)
        : failure
    for (const { done } of over) done(failed(why))
    this.#open()
  }

  #begin(session: Session, waiting: Waiting): void {
    const { command, endMs, done } = waiting
    const serial = session.next
    if (serial >= acknowledgedOf(session) + SESSION_WINDOW) return done(failed(this.#tooMany()))
    session.next++
    session.open.add(serial)
    const asked = (): Asked => ({
      kind: 'do',
      session: session.id,
      serial,
      acknowledged: acknowledgedOf(session),
      command,
    })
    this.#try(endMs, asked, (outcome) => {
      session.open.delete(serial)
      if (outcome.ok) return done(outcome.value)
      if (outcome.failure.code !== 'SESSION_EXPIRED') return done(outcome)
      if (this.#session === session) this.#session = undefined
      if (this.#stopped) return done(failed(STOPPING))
      if (this.#session !== undefined) return this.#begin(this.#session, waiting)
      this.#waiting.push(waiting)
      this.#open()
    })
  }

  #try(endMs: number, asked: () => Asked, done: Done<Outcome<unknown>>): void {
    const attempts: Attempts = {
      endMs,
      asked,
      done,
      unknown: undefined,
      refused: undefined,
      unanswered: 0,
      turn: 0,
      leader: '',
      timer: undefined,
      over: false,
    }
    this.#attempts.add(attempts)
    this.#attempt(attempts)
  }

  #attempt(attempts: Attempts): void {
    if (attempts.over) return
    attempts.timer?.cancel()
    const turn = ++attempts.turn
    const leftMs = attempts.endMs - this.#clock.nowMs()
    if (leftMs <= 0) return this.#giveUp(attempts)
    attempts.leader = this.#group.leader
    attempts.unanswered++
    this.#reach(attempts.asked(), Math.min(leftMs, ATTEMPT_MS), (outcome) => {
      attempts.unanswered--
      if (attempts.over) return
      if (outcome.ok) return this.#end(attempts, outcome)
      const { failure } = outcome
      if (isNotDone(failure)) attempts.refused = failure
      else attempts.unknown = failure
      const isSure = attempts.unknown === undefined && attempts.unanswered === 0
      if (isSure && isFinal(failure)) return this.#end(attempts, outcome)
      // In an expired session nothing is done any more: what is unknown by now stays so.
      if (failure.code === 'SESSION_EXPIRED')
        return isSure ? this.#end(attempts, outcome) : this.#giveUp(attempts)
      if (turn !== attempts.turn) return
      if (this.#clock.nowMs() + LEADER_AGAIN_MS >= attempts.endMs) return this.#giveUp(attempts)
      attempts.timer = this.#clock.after(LEADER_AGAIN_MS, () => this.#attempt(attempts))
    })
  }

  #giveUp(attempts: Attempts): void {
    const { unknown, refused, unanswered } = attempts
    const group = this.#group.name
    const otherwise: Failure = { code: 'NO_LEADER', group, afterMs: PROPOSE_MS }
    const isSure = unknown === undefined && unanswered === 0
    if (isSure) return this.#end(attempts, failed(refused ?? otherwise))
    if (unknown !== undefined && isOfDisk(unknown)) return this.#end(attempts, failed(unknown))
    const why = unknown === undefined ? `no answer in ${PROPOSE_MS} ms` : whyOf(unknown)
    this.#end(attempts, failed({ code: 'OUTCOME_UNKNOWN', group, why }))
  }

  #end(attempts: Attempts, outcome: Outcome<Outcome<unknown>>): void {
    attempts.over = true
    attempts.timer?.cancel()
    this.#attempts.delete(attempts)
    attempts.done(outcome)
  }

  #tooMany(): Failure {
    return { code: 'PROPOSAL_DROPPED', group: this.#group.name, why: 'too many proposals wait' }
  }
}

const STOPPING: Failure = { code: 'STOPPING', peer: 'this peer' }

/** Serials are given in order, and a Set keeps it: the first open one is the lowest. */
function acknowledgedOf({ next, open }: Session): number {
  const [first] = open
  return first ?? next
}

const whyOf = (failure: Failure): string =>
  failure.code === 'OUTCOME_UNKNOWN' ? failure.why : describeFailure(failure)

/**
 * A simulated client: one operation at a time, to whom it believes leads, and on to the next member when it is refused. It
 * reaches every host that is up, also one that is cut off from the others: that is where stale answers come from.
 *
 * With a session it asks again, under the same serial, also when it does not know what became of an attempt: whatever
 * happens to the copies, the operation takes effect once. Without, such an operation stays open.
 */
import type { Random } from '../random.ts'
import type { Group } from './group.ts'
import type { History, Operation } from './history.ts'
import type { Answer, Member } from './member.ts'
import { type Command, registers } from './register.ts'
import type { Setup } from './setup.ts'
import type { Timeline } from './timeline.ts'

/** An attempt without an answer: a read goes elsewhere, a write may have happened. */
const ATTEMPT_US = 2_000_000
const OPERATION_US = 6_000_000
/** Between two attempts. */
const AGAIN_US = 50_000
const TRAVEL_US = 500
/** What a client may wait for one operation at most, once it is answered at all: a session, the attempts, the last of them. */
export const WAITS_US = ATTEMPT_US + OPERATION_US + ATTEMPT_US

type End = (type: 'ok' | 'fail' | 'info', found: number | undefined) => void

/** An operation under way. */
type Attempting = {
  readonly operation: Operation
  readonly session: number
  readonly serial: number
  readonly untilUs: number
  readonly end: End
  /** Some attempt got no answer: it may have been carried out. */
  maybe: boolean
}

export class Client {
  /** Operations that ended, by how they did. */
  readonly ended = { ok: 0, fail: 0, info: 0 }
  /** Of those that failed: what the group did not have the feature for. */
  unreadable = 0
  busy = false
  stopped = false
  readonly #group: Group
  readonly #timeline: Timeline
  readonly #history: History
  readonly #dice: Random
  readonly #rates: Setup['clients']
  readonly #nextValue: () => number
  #process: number
  /** The id of a member, or nobody. */
  #leader = ''
  /** 0: none is open. */
  #session = 0
  #serial = 0
  /** What it last saw under each key: what its next `cas` expects. */
  readonly #saw = new Map<string, number>()

  constructor(group: Group, timeline: Timeline, history: History, dice: Random, nextValue: () => number) {
    this.#group = group
    this.#timeline = timeline
    this.#history = history
    this.#dice = dice
    this.#rates = group.setup.clients
    this.#nextValue = nextValue
    this.#process = history.newProcess()
  }

  /** Asks, and asks again after a while, until it is stopped. */
  start(): void {
    this.#timeline.after(this.#rates.thinkUs * -Math.log(1 - this.#dice()), () => {
      if (!this.stopped) this.ask(this.#drawn(), () => this.start())
    })
  }

  ask(operation: Operation, done: (type: 'ok' | 'fail' | 'info') => void): void {
    this.busy = true
    if (operation.kind !== 'get' && this.#session === 0) return this.#open(() => this.ask(operation, done))
    const { nowUs } = this.#timeline
    const tell = this.#history.invoke(this.#process, this.#group.name, operation, nowUs)
    const end: End = (type, found) => {
      this.busy = false
      this.ended[type]++
      tell(type, found, this.#timeline.nowUs)
      this.#timeline.mix(this.#process, type.length, found ?? 0)
      if (type === 'ok' && found !== undefined) this.#saw.set(operation.key, left(operation, found))
      // Who does not know what became of its operation cannot be the same process any more.
      if (type === 'info') this.#process = this.#history.newProcess()
      done(type)
    }
    const serial = this.#serial++
    this.#attempt({
      operation,
      session: this.#session,
      serial,
      untilUs: nowUs + OPERATION_US,
      end,
      maybe: false,
    })
  }

  /** A session that nobody uses costs nothing, so it is asked for until there is one. */
  #open(then: () => void): void {
    this.#send(
      this.#target('put'),
      (member, hear) => member.propose({ kind: 'open' }, hear),
      (answer) => {
        if (answer?.kind === 'done') {
          this.#session = answer.index
          this.#serial = 0
          return then()
        }
        this.#leader = answer?.kind === 'refused' ? answer.leader : ''
        if (this.stopped) this.busy = false
        else this.#timeline.after(AGAIN_US, () => this.#open(then))
      },
    )
  }

  #attempt(asked: Attempting): void {
    const { operation, session, serial, untilUs, end } = asked
    const again = (leader: string): void => {
      this.#leader = leader
      if (this.#timeline.nowUs >= untilUs) return end(asked.maybe ? 'info' : 'fail', undefined)
      this.#timeline.after(AGAIN_US, () => this.#attempt(asked))
    }
    const member = this.#target(operation.kind)
    this.#send(
      member,
      (to, hear) => {
        if (operation.kind === 'get') return to.read(operation.key, hear)
        // All before it are answered, or given up for ever.
        const command = registers.command.encode(worded(operation))
        to.propose({ kind: 'do', session, serial, acknowledged: serial, command }, hear)
      },
      (answer) => {
        if (answer?.kind === 'refused') return again(answer.leader)
        if (answer?.kind === 'done') {
          this.#leader = member?.raft.leader ?? ''
          return end('ok', answer.value)
        }
        // Without an answer: whoever was believed to lead may be gone for good.
        this.#leader = ''
        if (operation.kind === 'get') return again('')
        // All copies of it get this answer.
        if (answer?.kind === 'unreadable') {
          this.unreadable++
          return end('fail', undefined)
        }
        asked.maybe = true
        if (answer?.kind === 'expired') this.#session = 0
        else if (this.#rates.retries) return again('')
        end('info', undefined)
      },
    )
  }

  /** @param hear The answer, or nothing when none came in time. */
  #send(
    member: Member | undefined,
    ask: (member: Member, hear: (answer: Answer) => void) => void,
    hear: (answer: Answer | undefined) => void,
  ): void {
    if (member === undefined) return hear({ kind: 'refused', why: 'nobody is up', leader: '' })
    let open = true
    const close = (answer: Answer | undefined): void => {
      if (open) hear(answer)
      open = false
    }
    this.#timeline.after(TRAVEL_US, () => {
      if (member.gone) return
      member.host.whenAwake(() =>
        ask(member, (answer) => this.#timeline.after(TRAVEL_US, () => close(answer))),
      )
    })
    this.#timeline.after(ATTEMPT_US, () => close(undefined))
  }

  #target(kind: Operation['kind']): Member | undefined {
    const believed = this.#group.members.get(this.#leader)
    const anywhere = kind === 'get' && this.#dice.chance(0.5)
    if (believed !== undefined && !anywhere && !believed.gone && this.#dice.chance(0.9)) return believed
    const up = this.#group.alive().filter(({ host }) => host.up)
    return up.length === 0 ? undefined : this.#dice.pick(up)
  }

  #drawn(): Operation {
    const { keys, reads } = this.#rates
    const key = `k${this.#dice.below(keys)}`
    if (this.#dice.chance(reads)) return { kind: 'get', key }
    const from = this.#saw.get(key) ?? 0
    if (this.#dice.chance(0.3)) return { kind: 'cas', key, from, to: this.#nextValue() }
    return { kind: 'put', key, value: this.#nextValue() }
  }
}

/** Some are said in ways that came with the newest feature, whether the group has it or not. */
function worded(operation: Exclude<Operation, { kind: 'get' }>): Command {
  if (operation.kind === 'cas') return operation
  const { key, value } = operation
  if (value % 8 === 3) return { kind: 'set', key, value }
  return value % 8 === 5 ? { kind: 'put', key, value, mark: value } : operation
}

/** What is there after an operation that found `found`. */
function left(operation: Operation, found: number): number {
  if (operation.kind === 'get') return found
  if (operation.kind === 'put') return operation.value
  return found === operation.from ? operation.to : found
}

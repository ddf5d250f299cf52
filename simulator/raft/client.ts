/**
 * A simulated client: one operation at a time, to whom it believes leads, and on to the next member when it is refused. It
 * reaches every host that is up, also one that is cut off from the others: that is where stale answers come from.
 */
import type { Random } from '../random.ts'
import type { Group } from './group.ts'
import type { History, Operation } from './history.ts'
import type { Answer, Member } from './member.ts'
import { encodeCommand } from './register.ts'
import type { Setup } from './setup.ts'
import type { Timeline } from './timeline.ts'

/** An attempt without an answer: a read goes elsewhere, a write may have happened. */
const ATTEMPT_US = 2_000_000
const OPERATION_US = 6_000_000
/** Between two attempts. */
const AGAIN_US = 50_000
const TRAVEL_US = 500

export class Client {
  /** Operations that ended, by how they did. */
  readonly ended = { ok: 0, fail: 0, info: 0 }
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
      if (this.stopped) return
      this.ask(this.#drawn(), () => this.start())
    })
  }

  ask(operation: Operation, done: (type: 'ok' | 'fail' | 'info') => void): void {
    const { nowUs } = this.#timeline
    this.busy = true
    const tell = this.#history.invoke(this.#process, this.#group.name, operation, nowUs)
    const end = (type: 'ok' | 'fail' | 'info', found: number | undefined): void => {
      this.busy = false
      this.ended[type]++
      tell(type, found, this.#timeline.nowUs)
      this.#timeline.mix(this.#process, type.length, found ?? 0)
      if (type === 'ok' && found !== undefined) this.#saw.set(operation.key, left(operation, found))
      // Who does not know what became of its operation cannot be the same process any more.
      if (type === 'info') this.#process = this.#history.newProcess()
      done(type)
    }
    this.#attempt(operation, nowUs + OPERATION_US, end)
  }

  #attempt(
    operation: Operation,
    untilUs: number,
    end: (type: 'ok' | 'fail' | 'info', found: number | undefined) => void,
  ): void {
    const again = (leader: string): void => {
      this.#leader = leader
      if (this.#timeline.nowUs >= untilUs) return end('fail', undefined)
      this.#timeline.after(AGAIN_US, () => this.#attempt(operation, untilUs, end))
    }
    const member = this.#target(operation)
    if (member === undefined) return again('')
    let open = true
    const hear = (answer: Answer): void => {
      this.#timeline.after(TRAVEL_US, () => {
        if (!open) return
        open = false
        if (answer.kind === 'refused') return again(answer.leader)
        this.#leader = member.raft.leader
        end('ok', answer.value)
      })
    }
    this.#timeline.after(TRAVEL_US, () => {
      if (member.gone || !member.host.up) return
      member.host.whenAwake(() => {
        if (operation.kind === 'get') member.read(operation.key, hear)
        else member.propose(encodeCommand(operation), hear)
      })
    })
    this.#timeline.after(ATTEMPT_US, () => {
      if (!open) return
      open = false
      if (operation.kind === 'get') again('')
      else end('info', undefined)
    })
  }

  #target({ kind }: Operation): Member | undefined {
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
    if (this.#dice.chance(0.3))
      return { kind: 'cas', key, from: this.#saw.get(key) ?? 0, to: this.#nextValue() }
    return { kind: 'put', key, value: this.#nextValue() }
  }
}

/** What is there after an operation that found `found`. */
function left(operation: Operation, found: number): number {
  if (operation.kind === 'get') return found
  if (operation.kind === 'put') return operation.value
  return found === operation.from ? operation.to : found
}

/**
 * A simulated host: one process with a clock of its own, one disk, and a member of each group that it is in. It can be
 * down (a crash keeps what was synced and a prefix of the rest), stand still and do everything late, and its clock can
 * run fast, slow, or jump. Its ticks are counted, not scheduled: it wakes when one of its members has something to do.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { Member } from './member.ts'
import type { RaftDisk } from './disk.ts'
import type { Timeline } from './timeline.ts'

/** When simulations begin: a day in 2027. */
const EPOCH_MS = 1_800_000_000_000
/** What a process that stands still finds in its sockets when it goes on. */
const INBOX_MAX = 1_024

export class Host {
  readonly number: number
  readonly disk: RaftDisk
  /** By the group's name. */
  readonly members = new Map<string, Member>()
  up = true
  paused = false
  /** Raised by each restart; who waits for something of an older life does not get it. */
  life = 0
  /** How its wall clock differs from true time. */
  wallOffsetMs = 0
  /** 0: this version; 1: the one before (version.ts). Takes effect at a restart. */
  version: 0 | 1 = 0
  preVote = true
  readonly #timeline: Timeline
  readonly #tickUs: number
  /** Of its clock against true time. */
  #rate = 1
  #countedTicks = 0
  #countedAtUs: number
  #wakeUs = Infinity
  #inbox: (() => void)[] = []

  constructor(number: number, timeline: Timeline, disk: RaftDisk, tickUs: number, phaseUs: number) {
    this.number = number
    this.disk = disk
    this.#timeline = timeline
    this.#tickUs = tickUs
    this.#countedAtUs = -phaseUs
  }

  /** As its members may read it. */
  get clock(): Clock {
    return {
      nowMs: () => this.#timeline.nowUs / 1_000,
      wallMs: () => this.wallMs,
      after: (delayMs, run) => {
        let open = true
        this.#timeline.after(delayMs * 1_000, () => open && run())
        return { cancel: () => void (open = false) }
      },
    }
  }

  /** As its wall clock says. */
  get wallMs(): number {
    return EPOCH_MS + Math.floor(this.#timeline.nowUs / 1_000 + this.wallOffsetMs)
  }

  get ticks(): number {
    return (
      this.#countedTicks +
      Math.floor(((this.#timeline.nowUs - this.#countedAtUs) * this.#rate) / this.#tickUs + 1e-9)
    )
  }

  /** The clock runs at `rate` from now on. */
  setRate(rate: number): void {
    this.#recount()
    this.#rate = rate
    this.#tickSoon()
  }

  /** The clock has jumped by `ticks`: what was due in between is due now. */
  jump(ticks: number): void {
    this.#recount()
    this.#countedTicks += ticks
    this.#tickSoon()
  }

  /** Makes sure that `member` hears of time when something of it is due. */
  wakeFor(member: Member): void {
    const ticks = member.dueInTicks()
    if (ticks === Infinity) return
    const { nowUs } = this.#timeline
    const sinceUs = ((nowUs - this.#countedAtUs) * this.#rate) % this.#tickUs
    const atUs = nowUs + Math.ceil((Math.max(1, ticks) * this.#tickUs - sinceUs) / this.#rate)
    if (atUs < this.#wakeUs) this.#wakeAt(atUs)
  }

  pause(): void {
    this.paused = true
  }

  /** @param counts Whether its clock went on while it stood still. */
  resume(counts: boolean): void {
    if (!this.paused) return
    this.paused = false
    if (!counts) {
      const ticks = Math.max(...[...this.members.values()].map(({ toldTicks }) => toldTicks), 0)
      this.#recount()
      this.#countedTicks = Math.max(ticks + 1, 0)
    }
    for (const run of this.#inbox.splice(0)) {
      if (this.paused || !this.up) return
      run()
    }
    this.#tickSoon()
  }

  /** Runs now, or when the process goes on, or never if it ends before. */
  whenAwake(run: () => void): void {
    if (!this.up) return
    if (!this.paused) return run()
    if (this.#inbox.length < INBOX_MAX) this.#inbox.push(run)
  }

  /** @returns How many writes were lost. */
  crash(tear: boolean): number {
    this.up = false
    this.paused = false
    this.life++
    this.#inbox = []
    this.#wakeUs = Infinity
    return this.disk.crash(tear)
  }

  started(): void {
    this.up = true
    this.#tickSoon()
  }

  #recount(): void {
    const { ticks } = this
    const { nowUs } = this.#timeline
    // The part of a tick that has gone by is kept.
    const restUs = ((nowUs - this.#countedAtUs) * this.#rate) % this.#tickUs
    this.#countedTicks = ticks
    this.#countedAtUs = nowUs - restUs / this.#rate
  }

  #tickSoon(): void {
    this.#wakeAt(this.#timeline.nowUs)
  }

  #wakeAt(atUs: number): void {
    const { life } = this
    this.#wakeUs = atUs
    this.#timeline.after(atUs - this.#timeline.nowUs, () => {
      if (life !== this.life || this.#wakeUs !== atUs) return
      this.#wakeUs = Infinity
      this.whenAwake(() => {
        for (const member of this.members.values()) if (this.up) member.tick()
        for (const member of this.members.values()) if (this.up) this.wakeFor(member)
      })
    })
  }
}

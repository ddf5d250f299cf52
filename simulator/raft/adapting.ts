/**
 * A leader's look at its links, as the product's shell has it: each heartbeat's round trip is measured, and once a second
 * the rule (protocols/raft/timing.ts) is asked whether the group should agree on other timing.
 */
import type { MemberId } from '../../protocols/raft/member.ts'
import {
  DEFAULT_TIMING,
  type Measuring,
  newMeasuring,
  patient,
  step,
  type Timing,
} from '../../protocols/raft/timing.ts'

const LOOK_US = 1_000_000

export class Adapting {
  #measuring: Measuring | undefined
  #lookedUs = 0
  #leaderlessUs: number | undefined
  /** When heartbeats left that are not answered yet, by member: streams keep their order. */
  readonly #sentUs = new Map<MemberId, number[]>()

  begin(nowUs: number): void {
    this.#measuring = newMeasuring(nowUs / 1_000)
    this.#lookedUs = nowUs
    this.#sentUs.clear()
  }

  end(): void {
    this.#measuring = undefined
  }

  sent(to: MemberId, nowUs: number): void {
    const sent = this.#sentUs.get(to) ?? []
    sent.push(nowUs)
    this.#sentUs.set(to, sent)
  }

  /** Its connection is gone, and what was under way with it. */
  lost(member: MemberId): void {
    this.#sentUs.delete(member)
  }

  answered(member: MemberId, nowUs: number): void {
    const sentUs = this.#sentUs.get(member)?.shift()
    if (this.#measuring === undefined || sentUs === undefined) return
    step(this.#measuring, { kind: 'round-trip', member, ms: (nowUs - sentUs) / 1_000 })
  }

  /** What a member goes by; without a leader for long it is more patient than what is agreed on. */
  patience(leader: MemberId, nowUs: number, agreed: Timing): Timing {
    if (leader !== '') this.#leaderlessUs = undefined
    else this.#leaderlessUs ??= nowUs
    return patient(agreed, (nowUs - (this.#leaderlessUs ?? nowUs)) / 1_000)
  }

  /** @returns What to propose, if anything. */
  look(
    nowUs: number,
    followers: readonly MemberId[],
    agreed: Partial<Timing> | undefined,
  ): Timing | undefined {
    if (this.#measuring === undefined || nowUs - this.#lookedUs < LOOK_US) return undefined
    this.#lookedUs = nowUs
    const event = {
      kind: 'look' as const,
      nowMs: nowUs / 1_000,
      followers,
      agreed: { ...DEFAULT_TIMING, ...agreed },
    }
    return step(this.#measuring, event)[0]?.timing
  }
}

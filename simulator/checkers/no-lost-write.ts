/**
 * Every acknowledged operation survives (promise 5 of docs/SPECIFICATION.md). Clients tell here what they ask for and
 * what they were told; after the world is whole again, each subject must be as one of the writes left it that no later
 * acknowledged one replaced.
 *
 * Order is real time's: a write replaces those that had ended before it was asked. One without an answer may have
 * happened or not, for ever.
 */
import { Violation } from '../scenario.ts'

/** One operation on one subject, such as the wanted state of a VM, as a client sees it. */
export type Attempt<S> = {
  readonly group: string
  readonly subject: string
  /** What was asked, for the report. */
  readonly what: string
  /** Whether the agreed state shows it. */
  readonly holds: (state: S) => boolean
}

type Known<S> = Attempt<S> & { readonly askedAt: number; endedAt: number; acknowledged: boolean }

export class NoLostWrite<S> {
  readonly #subjects = new Map<string, Known<S>[]>()
  #order = 0

  /** Returns what to call with the outcome: true when it was acknowledged, false when it was refused for certain. */
  asked(attempt: Attempt<S>): (acknowledged: boolean) => void {
    const key = `${attempt.group} ${attempt.subject}`
    const known: Known<S> = { ...attempt, askedAt: ++this.#order, endedAt: Infinity, acknowledged: false }
    const attempts = this.#subjects.get(key) ?? []
    this.#subjects.set(key, [...attempts, known])
    return (acknowledged) => {
      const others = this.#subjects.get(key) ?? []
      known.endedAt = ++this.#order
      known.acknowledged = acknowledged
      const left = acknowledged
        ? others.filter((each) => each === known || each.endedAt > known.askedAt)
        : others.filter((each) => each !== known)
      this.#subjects.set(key, left)
    }
  }

  /** How many subjects an acknowledged write stands for. */
  count(): number {
    return [...this.#subjects.values()].filter((attempts) => attempts.some((each) => each.acknowledged))
      .length
  }

  /** @throws Violation when a member's state of `group` shows none of the writes that may be the last. */
  check(group: string, member: string, state: S): void {
    for (const attempts of this.#subjects.values()) {
      const newest = attempts.findLast(({ acknowledged }) => acknowledged)
      if (newest === undefined || newest.group !== group) continue
      if (attempts.some(({ holds }) => holds(state))) continue
      throw new Violation(
        'no lost write',
        `${member} does not know of ${newest.what} (${newest.subject}, ${group})`,
      )
    }
  }
}

/** The journal on virtual time. Nothing is synced: a crash takes a tail that the seed chooses, of the last second. */
import { JOURNAL_TAIL_MAX } from '../protocols/limits.ts'
import { ok, type Done } from '../protocols/outcome.ts'
import type { Journal, JournalEntry } from '../storage/journal.ts'
import type { World } from './world.ts'

/** An entry older than this survives a crash. */
const VOLATILE_MS = 1_000
const READ_MS = 1
const TEXT_LENGTH_MAX = 500

type Kept = { readonly entry: JournalEntry; readonly sinceMs: number }

export class SimJournal implements Journal {
  readonly #world: World
  readonly #name: string
  #kept: Kept[]
  #dead = false

  constructor(world: World, name: string, found: readonly Kept[] = []) {
    this.#world = world
    this.#name = name
    this.#kept = [...found]
  }

  append(entry: JournalEntry): void {
    if (this.#dead) return
    const kept = { ...entry, text: entry.text.slice(0, TEXT_LENGTH_MAX) }
    this.#kept.push({ entry: kept, sinceMs: this.#world.nowMs })
    if (this.#kept.length > JOURNAL_TAIL_MAX * 2) this.#kept = this.#kept.slice(-JOURNAL_TAIL_MAX)
  }

  tail(limit: number, done: Done<JournalEntry[]>): void {
    this.#world.after(READ_MS, () => {
      if (this.#dead) return
      const newest = limit === 0 ? [] : this.#kept.slice(-Math.min(limit, JOURNAL_TAIL_MAX))
      done(ok(newest.map(({ entry }) => entry)))
    })
  }

  crash(): void {
    if (this.#dead) return
    this.#dead = true
    const sure = this.#kept.filter(({ sinceMs }) => sinceMs < this.#world.nowMs - VOLATILE_MS).length
    const dice = this.#world.random(`journal ${this.#name} ${this.#world.nowMs}`)
    this.#kept.length = sure + dice.below(this.#kept.length - sure + 1)
  }

  /** The same disk, in the next life of its host. Without a crash before, nothing is lost. */
  reopen(): SimJournal {
    this.#dead = true
    return new SimJournal(this.#world, this.#name, this.#kept)
  }
}

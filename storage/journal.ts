/**
 * Port: a peer's own signed, append-only record of what it did, refused and saw (DESIGN section 9). Derived from what
 * the store has already made durable. Every implementation passes test/contracts/journal.ts.
 */
import type { Done } from '../protocols/outcome.ts'

export type JournalEntry = {
  /** Wall clock in ms, for people. */
  readonly atMs: number
  readonly kind: string
  /** What it is about: a VM, a peer, a job. */
  readonly subject: string
  /** One line for people, at most 500 characters. */
  readonly text: string
}

export type Journal = {
  append(entry: JournalEntry): void
  /** The newest `limit` entries, oldest first. */
  tail(limit: number, done: Done<JournalEntry[]>): void
}

/**
 * The log in memory, from `base` (the last entry that was compacted, of which only the term is known) to the newest
 * entry, and how far it has come:
 *
 *   base ≤ applied ≤ applying ≤ min(commit, stable),   commit ≤ last,   stable ≤ last
 *
 * While a snapshot is being installed, `applied` and `applying` are behind `base`. Nothing is applied that is not
 * durable here.
 */
import assert from 'node:assert/strict'
import { APPEND_BYTES_MAX, APPEND_ENTRIES_MAX } from '../limits.ts'
import type { Entry, Recovered, Snapshot } from './types.ts'

export type Log = {
  base: { index: number; term: number }
  /** The entry with index i is at i - base.index - 1. */
  entries: Entry[]
  /** Up to here it is durable on this peer. */
  stable: number
  commit: number
  /** Handed to the state machine. */
  applying: number
  /** The state machine has said so. */
  applied: number
}

export function recoveredLog({ hardState, snapshot, entries }: Recovered): Log {
  // Entries that were kept from before the snapshot begin with one whose predecessor's term is unknown: it is the base.
  const first = entries[0]
  const overlaps = first !== undefined && first.index <= snapshot.index
  const base = overlaps ? first : snapshot
  const log: Log = {
    base: { index: base.index, term: base.term },
    entries: overlaps ? entries.slice(1) : [...entries],
    stable: 0,
    commit: 0,
    applying: snapshot.index,
    applied: snapshot.index,
  }
  log.stable = lastIndex(log)
  log.commit = Math.max(snapshot.index, hardState.commit)
  assert(log.entries.every(({ index }, at) => index === log.base.index + 1 + at))
  assert(log.commit <= log.stable)
  return log
}

export const lastIndex = (log: Log): number => log.base.index + log.entries.length
export const lastTerm = (log: Log): number => log.entries.at(-1)?.term ?? log.base.term

/** Undefined where the log does not reach: compacted, or not there yet. */
export function termAt(log: Log, index: number): number | undefined {
  return index === log.base.index ? log.base.term : log.entries[index - log.base.index - 1]?.term
}

export const matches = (log: Log, index: number, term: number): boolean => termAt(log, index) === term

/** Whether a log that ends in `index` with `term` holds at least as much as this one (Raft section 5.4.1). */
export const isUpToDate = (log: Log, index: number, term: number): boolean =>
  term > lastTerm(log) || (term === lastTerm(log) && index >= lastIndex(log))

/** Entries in [from, to], both inside the log. */
export const slice = (log: Log, from: number, to: number): Entry[] =>
  log.entries.slice(from - log.base.index - 1, to - log.base.index)

/** As many entries from `from` on as fit one MsgApp of `bytesMax`: at least one when there is any. */
export function page(log: Log, from: number, bytesMax = APPEND_BYTES_MAX): Entry[] {
  const start = from - log.base.index - 1
  const most = Math.min(log.entries.length, start + APPEND_ENTRIES_MAX)
  let end = start
  let bytes = 0
  for (; end < most; end++) {
    bytes += entryBytes(log.entries[end] as Entry)
    if (bytes > bytesMax && end > start) break
  }
  return log.entries.slice(start, end)
}

/** What an entry costs on the wire and on disk, its frame included. */
export const entryBytes = ({ data }: Pick<Entry, 'data'>): number => data.length + 64

/**
 * The largest index ≤ `index` whose term is ≤ `term`: no entry past it can match a log that has `term` at `index`. Its term is
 * 0 when the log does not reach back that far.
 */
export function findConflictByTerm(log: Log, index: number, term: number): { index: number; term: number } {
  for (let at = index; at > 0; at--) {
    const own = termAt(log, at)
    if (own === undefined) return { index: at, term: 0 }
    if (own <= term) return { index: at, term: own }
  }
  return { index: 0, term: 0 }
}

/** @returns The first index at which `entries` say something new, or undefined when the log holds them all. */
export const findConflict = (log: Log, entries: readonly Entry[]): number | undefined =>
  entries.find(({ index, term }) => !matches(log, index, term))?.index

/** Appends; entries replace whatever the log has from their first index on, and that is no longer stable. */
export function append(log: Log, entries: readonly Entry[]): void {
  const first = entries[0]
  if (first === undefined) return
  assert(
    first.index > log.commit,
    `entry ${first.index} would replace a committed one (commit ${log.commit})`,
  )
  assert(first.index <= lastIndex(log) + 1)
  log.entries.length = first.index - log.base.index - 1
  log.stable = Math.min(log.stable, first.index - 1)
  for (const entry of entries) log.entries.push(entry)
}

/** Forgets entries up to `index`, which stays as the base. */
export function compact(log: Log, index: number): void {
  const term = termAt(log, index)
  assert(term !== undefined && index <= log.applied)
  log.entries.splice(0, index - log.base.index)
  log.base = { index, term }
}

/** The log begins anew behind a snapshot that another peer made. `applied` follows once it is installed. */
export function replace(log: Log, { index, term }: Pick<Snapshot, 'index' | 'term'>): void {
  assert(index > log.commit)
  log.base = { index, term }
  log.entries = []
  log.stable = index
  log.commit = index
}

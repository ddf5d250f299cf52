/** What every journal promises (storage/journal.ts). `open` opens an empty one. */
import test, { type ExecutionContext } from 'ava'
import type { Journal, JournalEntry } from '../../storage/journal.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = {
  readonly journal: Journal
  readonly until: Until
  /** Ends this life of the host in order, and opens the next. */
  reopen(): Promise<Opened>
}

const entry = (n: number): JournalEntry => ({
  atMs: 1_000 + n,
  kind: 'vm-started',
  subject: `vm-${n}`,
  text: '',
})
const entries = (from: number, to: number): JournalEntry[] =>
  Array.from({ length: to - from }, (_, i) => entry(from + i))

async function tail({ journal, until }: Opened, limit: number): Promise<JournalEntry[]> {
  const outcome = await outcomeOf<JournalEntry[]>(until, (done) => journal.tail(limit, done))
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}

export function contract(name: string, open: (t: ExecutionContext) => Promise<Opened>): void {
  test(`${name} tells its newest entries, oldest first, over boots`, async (t) => {
    let opened = await open(t)
    t.deepEqual(await tail(opened, 10), [])
    for (const each of entries(0, 5)) opened.journal.append(each)
    t.deepEqual(await tail(opened, 3), entries(2, 5))
    opened.journal.append(entry(5))
    t.deepEqual(await tail(opened, 100), entries(0, 6))
    opened = await opened.reopen()
    t.deepEqual(await tail(opened, 2), entries(4, 6))
    opened.journal.append(entry(6))
    opened = await opened.reopen()
    for (const each of entries(7, 9)) opened.journal.append(each)
    t.deepEqual(await tail(opened, 4), entries(5, 9))
    t.deepEqual(await tail(opened, 100), entries(0, 9))
    t.deepEqual(await tail(opened, 0), [])
  })

  test(`${name} cuts a text that is too long`, async (t) => {
    const opened = await open(t)
    opened.journal.append({ ...entry(1), text: 'x'.repeat(600) })
    t.deepEqual(await tail(opened, 1), [{ ...entry(1), text: 'x'.repeat(500) }])
  })
}

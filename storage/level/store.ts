/**
 * The store on LevelDB, with group commit: what is written while a batch is on its way to the disk goes in the next one,
 * in order, with one fsync for all of it.
 *
 * When a batch fails, those that wait behind it fail too: they were written in the belief that it came first, and
 * the disk always holds a prefix of what was written. What is written after that begins anew.
 *
 * The queue is as long as what callers have in hand: proposals, jobs and grants have their own bounds.
 */
import assert from 'node:assert/strict'
import { failureOf, type Failure } from '../../protocols/errors.ts'
import { failed, ok, type Done, type Outcome } from '../../protocols/outcome.ts'
import { key, pastPrefix } from '../keyspace.ts'
import type { Op, Store } from '../store.ts'
import { openDatabase, type Change, type Database } from './database.ts'

export type LevelStore = Store & {
  /** Once everything written before is on disk or has failed. Nothing may be written after. */
  close(): Promise<void>
}

const VERSION = 1
/** One batch: LevelDB copies it twice, and those behind it wait for it. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024

type Waiting = { readonly batch: readonly Op[]; readonly durable: boolean; readonly done: Done<void> }

export async function openStore(folder: string): Promise<Outcome<LevelStore>> {
  const opened = await openDatabase<string>(folder, {
    keyEncoding: 'utf8',
    versionKey: key('meta', 'format'),
    version: VERSION,
  })
  if (!opened.ok) return opened
  const pairs: (readonly [string, Uint8Array])[] = []
  try {
    for await (const pair of opened.value.entries()) pairs.push(pair)
  } catch (error) {
    await opened.value.close()
    return failed(failureOf(error))
  }
  return ok(storeOn(opened.value, pairs))
}

function storeOn(database: Database<string>, pairs: readonly (readonly [string, Uint8Array])[]): LevelStore {
  let waiting: Waiting[] = []
  let flushing: Promise<void> | undefined
  let closed = false

  const fail = (batches: readonly Waiting[], failure: Failure): void => {
    for (const { done } of batches) done(failed(failure))
  }
  const flush = async (): Promise<void> => {
    // What is written in the same turn of the event loop goes together.
    await Promise.resolve()
    while (waiting.length > 0) {
      const merged = waiting.splice(0, countThatFits(waiting))
      try {
        const changes = await fold(database, merged)
        await database.batch(
          changes,
          merged.some(({ durable }) => durable),
        )
      } catch (error) {
        const behind = waiting
        waiting = []
        fail([...merged, ...behind], failureOf(error))
        continue
      }
      for (const { done } of merged) done(ok(undefined))
    }
    flushing = undefined
  }

  return {
    recovered: (prefix) =>
      pairs.slice(firstAtOrPast(pairs, prefix), firstAtOrPast(pairs, pastPrefix(prefix))),
    write(batch, durable, done) {
      assert(!closed, 'a write after close')
      waiting.push({ batch, durable, done })
      flushing ??= flush()
    },
    async close() {
      closed = true
      await flushing
      await database.close()
    },
  }
}

/** At least one; more while they stay below the bound. */
function countThatFits(waiting: readonly Waiting[]): number {
  let bytes = 0
  const over = waiting.findIndex(({ batch }) => {
    for (const op of batch) bytes += op.kind === 'put' ? op.key.length + op.value.length : 64
    return bytes > BATCH_BYTES_MAX
  })
  return over === -1 ? waiting.length : Math.max(1, over)
}

/** LevelDB cannot clear a range inside a batch: it becomes deletions of the keys that are there by then. */
async function fold(database: Database<string>, merged: readonly Waiting[]): Promise<Change<string>[]> {
  const changes = new Map<string, Change<string>>()
  for (const { batch } of merged) {
    for (const op of batch) {
      if (op.kind === 'put') changes.set(op.key, { type: 'put', key: op.key, value: op.value })
      else if (op.kind === 'del') changes.set(op.key, { type: 'del', key: op.key })
      else {
        const inRange = [...changes.keys()].filter((key) => key >= op.gte && key < op.lt)
        for (const key of [...inRange, ...(await database.keys(op))]) changes.set(key, { type: 'del', key })
      }
    }
  }
  return [...changes.values()]
}

/** Keys are ASCII, so JavaScript's order of them is LevelDB's. */
function firstAtOrPast(pairs: readonly (readonly [string, Uint8Array])[], key: string): number {
  let low = 0
  let high = pairs.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((pairs[middle]?.[0] ?? '') < key) low = middle + 1
    else high = middle
  }
  return low
}

/** What every store of block lists promises (storage/images/block-lists.ts). `open` opens an empty one. */
import test, { type ExecutionContext } from 'ava'
import type { Outcome } from '../../protocols/outcome.ts'
import type { BlockLists } from '../../storage/images/block-lists.ts'
import { BLOCK_BYTES, FINGERPRINT_BYTES, setFingerprint } from '../../storage/images/fingerprint.ts'
import { sketchOf } from '../../storage/images/sketch.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = { readonly lists: BlockLists; readonly until: Until; reopen(): Promise<Opened> }

export const IMAGE = 'ab'.repeat(32)
/** Three chunks of four blocks; the last block is short. */
const OF = { image: IMAGE, bytes: 12 * BLOCK_BYTES - 5 }
export const CHUNK_BYTES = 4 * BLOCK_BYTES

export function printsOf(...numbers: readonly number[]): Uint8Array {
  const list = new Uint8Array(numbers.length * FINGERPRINT_BYTES)
  numbers.forEach((each, at) => setFingerprint(list, at, each))
  return list
}

export async function put({ lists, until }: Opened): Promise<Outcome<void>> {
  const draft = lists.draft(CHUNK_BYTES)
  draft.set(2, printsOf(9, 10, 11, 12))
  draft.set(0, printsOf(1, 2, 3, 4))
  return outcomeOf(until, (done) => draft.finish(OF, done))
}

const LIST = printsOf(1, 2, 3, 4, 0, 0, 0, 0, 9, 10, 11, 12)

export function contract(name: string, open: (t: ExecutionContext) => Promise<Opened>): void {
  test(`${name}: a list is read as it was drafted, with zeros where nothing was told`, async (t) => {
    let opened = await open(t)
    t.deepEqual(opened.lists.list(), [])
    t.true((await put(opened)).ok)
    for (let life = 0; life < 2; life++, opened = await opened.reopen()) {
      const { lists, until } = opened
      t.deepEqual(lists.list(), [IMAGE])
      const read = (first: number, count: number) =>
        outcomeOf<Uint8Array>(until, (done) => lists.read(IMAGE, first, count, done))
      const whole = await read(0, 100)
      t.true(whole.ok && Buffer.compare(whole.value, LIST) === 0)
      const part = await read(3, 6)
      t.true(part.ok && Buffer.compare(part.value, printsOf(4, 0, 0, 0, 0, 9)) === 0)
      const past = await read(12, 1)
      t.true(past.ok && past.value.length === 0)
      t.deepEqual(await outcomeOf(until, (done) => lists.sketch(IMAGE, done)), {
        ok: true,
        value: sketchOf(LIST),
      })
    }
  })

  test(`${name}: what is not here is not found, what is removed is gone, what is dropped never was`, async (t) => {
    const opened = await open(t)
    const { lists, until } = opened
    const notFound = { ok: false, failure: { code: 'NOT_FOUND' } }
    t.like(await outcomeOf(until, (done) => lists.read(IMAGE, 0, 1, done)), notFound)
    t.like(await outcomeOf(until, (done) => lists.sketch(IMAGE, done)), notFound)
    await put(opened)
    t.true((await outcomeOf<void>(until, (done) => lists.remove(IMAGE, done))).ok)
    t.true((await outcomeOf<void>(until, (done) => lists.remove(IMAGE, done))).ok)
    t.deepEqual(lists.list(), [])
    const draft = lists.draft(CHUNK_BYTES)
    draft.set(1, printsOf(5, 6, 7, 8))
    draft.drop()
    const next = await opened.reopen()
    t.deepEqual(next.lists.list(), [])
    t.like(await outcomeOf(next.until, (done) => next.lists.read(IMAGE, 0, 1, done)), notFound)
  })

  test(`${name}: an image of zeros has a list, and a new list takes the place of the one before`, async (t) => {
    const opened = await open(t)
    const { lists, until } = opened
    t.true((await outcomeOf<void>(until, (done) => lists.draft(CHUNK_BYTES).finish(OF, done))).ok)
    const first = await outcomeOf<Uint8Array>(until, (done) => lists.read(IMAGE, 0, 12, done))
    t.true(
      first.ok && first.value.length === 12 * FINGERPRINT_BYTES && first.value.every((byte) => byte === 0),
    )
    await put(opened)
    const second = await outcomeOf<Uint8Array>(until, (done) => lists.read(IMAGE, 0, 12, done))
    t.true(second.ok && Buffer.compare(second.value, LIST) === 0)
  })
}

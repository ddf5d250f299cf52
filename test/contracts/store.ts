/** What every store promises (storage/store.ts). `open` opens one that is empty. */
import test, { type ExecutionContext } from 'ava'
import type { Outcome } from '../../protocols/outcome.ts'
import type { Op, Store } from '../../storage/store.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = {
  readonly store: Store
  readonly until: Until
  /** Ends this life of the host in order, and opens the same folder or disk in the next. */
  reopen(): Promise<Opened>
}

const put = (key: string, value: string): Op => ({ kind: 'put', key, value: Buffer.from(value) })
const del = (key: string): Op => ({ kind: 'del', key })
const clear = (gte: string, lt: string): Op => ({ kind: 'clear', gte, lt })
const found = (store: Store, prefix = 'a/'): string =>
  store
    .recovered(prefix)
    .map(([key, value]) => `${key}=${Buffer.from(value).toString()}`)
    .join(' ')

/** Batches in order, and what is there in the next life. */
const rules: [rule: string, batches: Op[][], left: string][] = [
  ['nothing', [], ''],
  ['puts, in key order', [[put('a/2', 'y'), put('a/1', 'x')]], 'a/1=x a/2=y'],
  ['the newest value', [[put('a/1', 'x')], [put('a/1', 'y')]], 'a/1=y'],
  ['the last word of a batch', [[put('a/1', 'x'), del('a/1'), put('a/1', 'z')]], 'a/1=z'],
  ['no deleted keys', [[put('a/1', 'x'), put('a/2', 'y')], [del('a/1')]], 'a/2=y'],
  [
    'a cleared range without its end',
    [['1', '2', '3', '4'].map((n) => put(`a/${n}`, n)), [clear('a/2', 'a/4')]],
    'a/1=1 a/4=4',
  ],
  [
    'what is put after a clear of the same batch',
    [[put('a/1', 'x')], [put('a/2', 'y'), clear('a/', 'a0'), put('a/1', 'z')]],
    'a/1=z',
  ],
  ['an empty value', [[put('a/1', '')]], 'a/1='],
  ['other prefixes apart', [[put('a/1', 'x'), put('b/1', 'y'), put('a', 'z')]], 'a/1=x'],
]

export function contract(name: string, open: (t: ExecutionContext) => Promise<Opened>): void {
  for (const [rule, batches, left] of rules) {
    for (const durable of [true, false]) {
      test(`${name} keeps ${rule}${durable ? '' : ', not synced'}`, async (t) => {
        const opened = await open(t)
        for (const batch of batches) {
          const outcome = await outcomeOf<void>(opened.until, (done) =>
            opened.store.write(batch, durable, done),
          )
          t.true(outcome.ok)
        }
        t.is(found(opened.store), '', 'recovered shows what was there at opening')
        t.is(found((await opened.reopen()).store), left)
      })
    }
  }

  test(`${name} applies and answers batches in the order of the calls`, async (t) => {
    const opened = await open(t)
    const answers: number[] = []
    const hear = (i: number) => (outcome: Outcome<void>) => {
      t.true(outcome.ok)
      answers.push(i)
    }
    const all = Array.from({ length: 100 }, (_, i) => i)
    for (const i of all) {
      const batch = i % 10 === 5 ? [clear('a/', 'a0'), put('a/1', String(i))] : [put('a/1', String(i))]
      opened.store.write(batch, i % 3 === 0, hear(i))
    }
    await opened.until(() => answers.length === all.length, 10_000)
    t.deepEqual(answers, all)
    t.is(found((await opened.reopen()).store), 'a/1=99')
  })

  test(`${name} keeps a life's keys for the next but one`, async (t) => {
    let opened = await open(t)
    for (const n of ['1', '2', '3']) {
      const { store, until } = opened
      await outcomeOf<void>(until, (done) => store.write([put(`a/${n}`, n)], true, done))
      opened = await opened.reopen()
    }
    t.is(found(opened.store), 'a/1=1 a/2=2 a/3=3')
  })
}

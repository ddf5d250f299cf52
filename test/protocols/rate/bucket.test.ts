import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { bucket, quantum, readyMs, setRate, take } from '../../../protocols/rate/bucket.ts'

testProp(
  'over any time no more goes than the rate, what may go at once and the last piece',
  [
    fc.integer({ min: 1, max: 10_000 }),
    fc.array(
      fc.record({ waitMs: fc.integer({ min: 0, max: 500 }), bytes: fc.integer({ min: 1, max: 100_000 }) }),
      {
        minLength: 2,
        maxLength: 200,
      },
    ),
  ],
  (t, bytesPerMs, wanted) => {
    const each = bucket(bytesPerMs, 50)
    const went: { atMs: number; bytes: number }[] = []
    let nowMs = 0
    for (const { waitMs, bytes } of wanted) {
      nowMs += waitMs
      if (readyMs([each]) > nowMs) continue
      take([each], bytes, nowMs)
      went.push({ atMs: nowMs, bytes })
    }
    for (let from = 0; from < went.length; from++) {
      let sum = 0
      for (let to = from; to < went.length; to++) {
        const { atMs, bytes } = went[to] as (typeof went)[number]
        const forMs = atMs - (went[from] as (typeof went)[number]).atMs
        t.true(sum <= bytesPerMs * (forMs + 50) * 1.000_001, `${sum} B in ${forMs} ms at ${bytesPerMs} B/ms`)
        sum += bytes
      }
    }
  },
  { numRuns: 30 },
)

test('the slowest of several is what holds, and what is owed stays owed when a rate changes', (t) => {
  const [fast, slow] = [bucket(1_000, 0), bucket(100, 0)]
  take([fast, slow], 10_000, 0)
  t.is(readyMs([fast]), 10)
  t.is(readyMs([fast, slow]), 100)
  setRate(slow, 200, 50)
  t.is(readyMs([slow]), 75)
  setRate(slow, Infinity, 60)
  t.is(readyMs([slow]), 60)
  take([slow], 1e9, 60)
  t.is(readyMs([slow]), 60)
  t.is(quantum([slow]), Infinity)
})

import test from 'ava'
import { Collecting } from '../../../node/keeping/collecting.ts'
import { type Done, ok, type Outcome } from '../../../protocols/outcome.ts'
import type { ChunkStore, Collected, Collection, ManifestStore } from '../../../storage/images/chunk-store.ts'

const TERMS = { liveMax: 1, bytesPerSecondMax: 1 }
const COLLECTED = { chunks: 0, bytes: 0 }

/** A store whose collections end when the test says so. */
function slow() {
  const running: { collection: Collection; done: Done<Collected> }[] = []
  const chunks: Pick<ChunkStore, 'collect'> = {
    collect: (collection, done) => void running.push({ collection, done }),
  }
  const manifests = { list: () => [] } as unknown as ManifestStore
  return { running, collecting: new Collecting(chunks, manifests) }
}

test('collections run one after the other, in the order in which they were asked for', (t) => {
  const { running, collecting } = slow()
  const ended: number[] = []
  for (const n of [1, 2, 3]) collecting.collect(TERMS, () => ended.push(n))
  for (const n of [1, 2, 3]) {
    t.is(running.length, n)
    running.at(-1)?.done(ok(COLLECTED))
    t.is(ended.at(-1), n)
  }
})

test('one that yields is cancelled once another waits, and only then', (t) => {
  const { running, collecting } = slow()
  const outcomes: Outcome<Collected>[] = []
  collecting.collect({ ...TERMS, yields: true }, (outcome) => outcomes.push(outcome))
  t.false(running[0]?.collection.isCancelled?.())
  collecting.collect(TERMS, (outcome) => outcomes.push(outcome))
  t.true(running[0]?.collection.isCancelled?.())
  running[0]?.done(ok(COLLECTED))
  t.is(running.length, 2)
  collecting.collect(TERMS, (outcome) => outcomes.push(outcome))
  t.false(running[1]?.collection.isCancelled?.(), 'one that somebody waits for goes on')
})

test('what asks for another when it is told its outcome gets its turn', (t) => {
  const { running, collecting } = slow()
  let again = 0
  collecting.collect(TERMS, () => collecting.collect(TERMS, () => again++))
  running[0]?.done(ok(COLLECTED))
  t.is(running.length, 2)
  running[1]?.done(ok(COLLECTED))
  t.is(again, 1)
})

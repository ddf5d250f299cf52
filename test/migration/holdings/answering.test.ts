import test from 'ava'
import { type Allowance, allow } from '../../../migration/holdings/allowance.ts'
import {
  askChunks,
  askImage,
  type ChunksAnswer,
  type ImageAnswer,
  sampleOf,
} from '../../../migration/holdings/asking.ts'
import type { Failure } from '../../../protocols/errors.ts'
import {
  HOLDINGS_CHUNKS_AT_ONCE,
  HOLDINGS_CHUNKS_MAX,
  HOLDINGS_CHUNKS_PER_SECOND,
  HOLDINGS_QUESTION_CHUNKS,
  HOLDINGS_SAMPLE_MAX,
} from '../../../protocols/limits.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { decodeSection, encodeSection, isSet } from '../../../protocols/swarm/have-map.ts'
import { chunkAt } from '../../../storage/images/manifest.ts'
import { idsOf, imageOf, type Peer, range, Stage } from '../swarm/support.ts'

const CHUNK = 4 * 1024
const MS = 2_000
const image = imageOf([...range(0, 40), undefined, undefined, ...range(40, 60)], CHUNK)
const idAt = (index: number): string | undefined => chunkAt(image.manifest, index)

function said<T>(stage: Stage, ask: (done: (outcome: Outcome<T>) => void) => void): T {
  const heard: Outcome<T>[] = []
  ask((outcome) => heard.push(outcome))
  stage.world.run(stage.world.nowMs + 2 * MS)
  const [outcome] = heard
  if (outcome?.ok !== true) throw new Error(JSON.stringify(heard))
  return outcome.value
}

function stageOf(indexes: readonly number[], manifest = true): { stage: Stage; asker: Peer; holder: Peer } {
  const stage = new Stage(1)
  const holder = stage.peer('holder', 'there', [{ image, indexes, manifest }])
  const asker = stage.peer('asker', 'here')
  return { stage, asker, holder }
}

const framesOf = (indexes: readonly number[]): number =>
  idsOf(image, [...indexes]).reduce((sum, id) => sum + (image.frames.get(id)?.length ?? 0), 0)

test('what is held of an image is told by chunk, with the bytes of its frames', (t) => {
  const held = range(10, 45)
  const { stage, asker, holder } = stageOf(held)
  const about = { image: image.manifest.image, from: 0, count: HOLDINGS_CHUNKS_MAX }
  const all = said<ImageAnswer>(stage, (done) => askImage(asker.sim.transport, holder.id, about, MS, done))
  if (all.kind !== 'image') return t.fail(all.kind)
  // Two of those from 10 to 44 are zeros, which nobody holds.
  t.like(all, { total: 62, content: 60, held: 33, heldBytes: 33 * CHUNK, count: 62 })
  t.is(all.frameBytes, framesOf(held))
  const bits = decodeSection({ from: 0, ...all })
  t.deepEqual(
    range(0, 62).filter((index) => isSet(bits, index)),
    held.filter((index) => index !== 40 && index !== 41),
  )
})

test('a part of it that is needed is all that is counted', (t) => {
  const { stage, asker, holder } = stageOf(range(0, 62))
  const { form, data } = encodeSection(
    20,
    range(0, 30).map((place) => place % 3 === 0),
  )
  const about = { image: image.manifest.image, from: 20, count: 30, need: { form, data } }
  const some = said<ImageAnswer>(stage, (done) => askImage(asker.sim.transport, holder.id, about, MS, done))
  const wanted = range(20, 50).filter((index) => (index - 20) % 3 === 0 && index !== 40 && index !== 41)
  t.like(some, {
    kind: 'image',
    content: wanted.length,
    held: wanted.length,
    frameBytes: framesOf(wanted),
  })
})

test('past the end of an image there is nothing, and no image is no answer', (t) => {
  const { stage, asker, holder } = stageOf(range(0, 62))
  const ask = (name: string, from: number): unknown =>
    said<ImageAnswer>(stage, (done) =>
      askImage(asker.sim.transport, holder.id, { image: name, from, count: 8 }, MS, done),
    )
  t.like(ask(image.manifest.image, 62), { kind: 'image', total: 62, count: 0, held: 0 })
  t.deepEqual(ask('ee'.repeat(32), 0), { kind: 'unknown' })
})

test('a peer that never saw the image says which of a sample it holds', (t) => {
  const { stage, asker, holder } = stageOf(range(0, 20), false)
  const { sample, indexes } = sampleOf(idAt, range(10, 30), () => 0.5)
  const answer = said<ChunksAnswer>(stage, (done) =>
    askChunks(asker.sim.transport, holder.id, sample, MS, done),
  )
  t.deepEqual(
    indexes.filter((_, at) => isSet(answer.data, at)),
    range(10, 20),
  )
  t.is(answer.frameBytes, framesOf(range(10, 20)))
})

test('a sample of few is all of them, one of many is spread over them', (t) => {
  const few = sampleOf(idAt, [3, 5, 9], () => 0.99)
  t.deepEqual(few.indexes, [3, 5, 9])
  t.is(few.sample.length, 96)
  const many = sampleOf(
    () => 'ab'.repeat(32),
    range(0, 10_000),
    () => 0.999,
  ).indexes
  t.is(many.length, HOLDINGS_SAMPLE_MAX)
  t.is(new Set(many).size, HOLDINGS_SAMPLE_MAX)
  many.forEach((index, at) => t.is(Math.floor((index * HOLDINGS_SAMPLE_MAX) / 10_000), at))
})

test('who asks too much is told so, others and later questions are not', (t) => {
  const allowance: Allowance = new Map()
  const cost = HOLDINGS_CHUNKS_MAX + HOLDINGS_QUESTION_CHUNKS
  const most = Math.floor(HOLDINGS_CHUNKS_AT_ONCE / cost)
  for (let asked = 0; asked < most; asked++) t.true(allow(allowance, 'a', HOLDINGS_CHUNKS_MAX, 0))
  t.false(allow(allowance, 'a', HOLDINGS_CHUNKS_MAX, 0))
  t.true(allow(allowance, 'b', HOLDINGS_CHUNKS_MAX, 0))
  t.true(allow(allowance, 'a', HOLDINGS_CHUNKS_MAX, (cost / HOLDINGS_CHUNKS_PER_SECOND) * 1_000 + 1))
  // All that was used is given back in time, and nothing is kept of who has all again.
  t.true(allow(allowance, 'c', 1, 1e9))
  t.deepEqual([...allowance.keys()], ['c'])
})

test('questions past the allowance are refused as busy', (t) => {
  const { stage, asker, holder } = stageOf([])
  const failures: (Failure | undefined)[] = []
  const about = { image: image.manifest.image, from: 0, count: HOLDINGS_CHUNKS_MAX }
  for (let asked = 0; asked < 80; asked++) {
    askImage(asker.sim.transport, holder.id, about, MS, (outcome) =>
      failures.push(outcome.ok ? undefined : outcome.failure),
    )
    stage.world.run(stage.world.nowMs + 20)
  }
  const busy = failures.filter((failure) => failure?.code === 'PEER_BUSY').length
  stage.world.run(stage.world.nowMs + MS)
  t.is(failures.length, 80)
  t.true(busy >= 10 && busy < 20, String(busy))
})

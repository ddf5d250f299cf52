/** The second level in the swarm: what is held in part, at another place, comes by blocks. */
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { ok } from '../../../protocols/outcome.ts'
import type { BlockLists } from '../../../storage/images/block-lists.ts'
import type { BlockWork } from '../../../storage/images/block-work.ts'
import type { ChunkStore } from '../../../storage/images/chunk-store.ts'
import { type Image, holds, imageOfBlocks, type Peer, range, reportOf, Stage } from './support.ts'

const BLOCKS = { blocks: true }
const same = <T>(each: T): T => each
const nobody = (): string[] => []
/** 4 MiB: 64 chunks of 16 blocks. */
const BASE = range(0, 1_024)
const base = imageOfBlocks(BASE)
/** Built again: everything lies three blocks further, and ten are new. */
const rebuilt = imageOfBlocks([
  ...range(5_000, 5_003),
  ...BASE.slice(0, 700),
  ...range(6_000, 6_007),
  ...BASE.slice(700),
])
const contentBytes = 1_034 * 4_096

type Speaks = Parameters<Stage['peer']>[5]

/** A source of `target` and a peer that holds `held`, of two sites. */
function pair(
  seed: number,
  target: Image,
  held: readonly Image[],
  speaks: {
    readonly source?: Speaks
    readonly peer?: Speaks
    readonly wrap?: (store: ChunkStore) => ChunkStore
  } = {},
): { stage: Stage; source: Peer; peer: Peer } {
  const stage = new Stage(seed, { uplinkMbit: 20 })
  const all = [target, ...held].map((image) => ({ image }))
  const source = stage.peer('a', 'one', all, speaks.wrap ?? same, nobody, speaks.source ?? BLOCKS)
  const peer = stage.peer('b', 'two', all.slice(1), same, nobody, speaks.peer ?? BLOCKS)
  return { stage, source, peer }
}

test('an image that was built again costs what is new in it', (t) => {
  const { stage, source, peer } = pair(1, rebuilt, [base])
  const fetched = stage.fetch(peer, rebuilt, [source])
  stage.world.run(30_000)
  const report = reportOf(t, fetched)
  t.true(holds(peer, rebuilt))
  // Ten blocks, and 96 bytes of fingerprints for each of 65 chunks.
  t.true(report.wireBytes < 70_000, JSON.stringify(report))
  t.true(report.compressedBytes < report.wireBytes)
  t.is(report.matchedBytes, contentBytes - 10 * 4_096)
  t.is(report.duplicateBytes, 0)
  t.is(stage.network.counts.blames, 0)
})

const OLDER: [who: string, speaks: { source?: Speaks; peer?: Speaks }][] = [
  ['source', { source: {} }],
  ['downloader', { peer: {} }],
]
for (const [who, speaks] of OLDER)
  test(`an older ${who} gives and takes whole chunks`, (t) => {
    const { stage, source, peer } = pair(2, rebuilt, [base], speaks)
    const fetched = stage.fetch(peer, rebuilt, [source])
    stage.world.run(30_000)
    const report = reportOf(t, fetched)
    t.true(holds(peer, rebuilt))
    t.true(report.compressedBytes > contentBytes * 0.99, JSON.stringify(report))
    t.is(report.matchedBytes, 0)
    t.is(stage.network.counts.blames, 0)
  })

test('a source without a list says fingerprints from its chunks', (t) => {
  const { stage, source, peer } = pair(3, rebuilt, [base], { source: { blocks: true, unlisted: [rebuilt] } })
  const fetched = stage.fetch(peer, rebuilt, [source])
  stage.world.run(30_000)
  t.true(reportOf(t, fetched).wireBytes < 70_000)
  t.true(holds(peer, rebuilt))
})

test('where nothing that is held is near, chunks come whole', (t) => {
  const other = imageOfBlocks(range(20_000, 21_024))
  const { stage, source, peer } = pair(4, rebuilt, [other])
  const fetched = stage.fetch(peer, rebuilt, [source])
  stage.world.run(30_000)
  const report = reportOf(t, fetched)
  t.is(report.matchedBytes, 0)
  // Fingerprints of the first chunks were asked for in vain.
  t.true(report.wireBytes < report.compressedBytes + 20_000, JSON.stringify(report))
})

testProp(
  'whatever is held, wherever it lies, the image comes whole and costs little more than what is new',
  [
    fc.array(fc.record({ from: fc.nat(400), length: fc.integer({ min: 1, max: 90 }) }), {
      minLength: 1,
      maxLength: 6,
    }),
    fc.array(fc.nat(500), { maxLength: 40 }),
    fc.nat(1_000),
  ],
  (t, runs, fresh, seed) => {
    const held = imageOfBlocks(range(0, 500))
    const moved: (number | undefined)[] = runs.flatMap(({ from, length }) => range(from, from + length))
    fresh.forEach((at, n) => moved.splice(at % (moved.length + 1), 0, n % 5 === 4 ? undefined : 9_000 + n))
    const target = imageOfBlocks(moved)
    const { stage, source, peer } = pair(seed, target, [held])
    const fetched = stage.fetch(peer, target, [source])
    stage.world.run(60_000)
    const report = reportOf(t, fetched)
    t.true(holds(peer, target))
    // At the most whole chunks, where few chunks show no sample; never both.
    t.true(
      report.wireBytes < moved.length * 4_096 * 1.05 + 8_000,
      `${report.wireBytes} of ${moved.length} blocks`,
    )
  },
  { numRuns: 15 },
)

test('of two of one site each chunk is brought from afar by one', (t) => {
  const alone = pair(7, rebuilt, [base])
  const fetched = alone.stage.fetch(alone.peer, rebuilt, [alone.source])
  alone.stage.world.run(30_000)
  const { wireBytes } = reportOf(t, fetched)

  const { stage, source, peer } = pair(7, rebuilt, [base])
  const other = stage.peer('c', 'two', [{ image: base }], same, nobody, BLOCKS)
  const both = [stage.fetch(peer, rebuilt, [source, other]), stage.fetch(other, rebuilt, [source, peer])]
  stage.world.run(30_000)
  let far = 0
  for (const each of both) for (const link of reportOf(t, each).links) if (!link.near) far += link.wireBytes
  t.true(holds(peer, rebuilt) && holds(other, rebuilt))
  // The new blocks once; of fingerprints and messages a little twice.
  t.true(far < wireBytes * 1.25, `${far} bytes, and ${wireBytes} for one alone`)
})

test('after a power cut in the middle, chunks that the disk kept are not made again', (t) => {
  const grown = imageOfBlocks([...range(5_000, 5_003), ...range(7_000, 7_400), ...BASE])
  for (const seed of range(1, 6)) {
    const { stage, source, peer: before } = pair(seed, grown, [base])
    stage.fetch(before, grown, [source])
    stage.world.run(150 + seed * 90)
    t.false(holds(before, grown))
    const kept = before.chunks.held().size
    const peer = stage.restart(before)
    const fetched = stage.fetch(peer, grown, [source])
    stage.world.run(60_000)
    const report = reportOf(t, fetched)
    t.true(holds(peer, grown))
    t.true(peer.chunks.held().size >= kept)
    // 403 new blocks, and what was on its way.
    t.true(report.wireBytes < 403 * 4_096 * 1.1 + 20_000, `${report.wireBytes}`)
  }
})

// Hostile sources --------------------------------------------------------------------------------------------------

const wrongLists =
  (change: (list: Uint8Array) => Uint8Array) =>
  (lists: BlockLists): BlockLists => ({
    list: () => lists.list(),
    sketch: (image, done) => lists.sketch(image, done),
    read: (image, first, count, done) =>
      lists.read(image, first, count, (read) => done(read.ok ? ok(change(read.value)) : read)),
    draft: (chunkBytes) => lists.draft(chunkBytes),
    remove: (image, done) => lists.remove(image, done),
  })

const wrongDeltas =
  (press: BlockWork['press']) =>
  (work: BlockWork): BlockWork => ({
    unpack: (chunk, done) => work.unpack(chunk, done),
    fingerprints: (chunk, done) => work.fingerprints(chunk, done),
    seal: (id, content, done) => work.seal(id, content, done),
    press,
    unpress: (bytes, dictionary) => work.unpress(bytes, dictionary),
  })

/** All say they hold other images at those places: each block is one of the base, which it is not. */
const mixed = (list: Uint8Array): Uint8Array => {
  const turned = Uint8Array.from(list)
  for (let at = 0; at + 12 <= turned.length; at += 12) {
    turned.set(list.subarray(at + 6, at + 12), at)
    turned.set(list.subarray(at, at + 6), at + 6)
  }
  return turned
}

const HOSTILE: [what: string, source: Speaks, isBanned: boolean][] = [
  ['fingerprints of other places', { blocks: true, wrapLists: wrongLists(mixed) }, false],
  [
    'fingerprints of zeros',
    { blocks: true, wrapLists: wrongLists((list) => new Uint8Array(list.length)) },
    true,
  ],
  [
    'fingerprints that nobody has',
    { blocks: true, wrapLists: wrongLists((list) => list.map((byte) => byte ^ 0x5a)) },
    false,
  ],
  [
    'deltas that are none',
    { blocks: true, wrapWork: wrongDeltas(({ literals }, done) => done(ok(literals.slice(0, 4_000)))) },
    true,
  ],
]
for (const [what, source, isBanned] of HOSTILE)
  test(`a source that sends ${what} costs time, and nothing else`, (t) => {
    const { stage, source: liar, peer } = pair(5, rebuilt, [base], { source })
    const honest = stage.peer('c', 'three', [{ image: rebuilt }, { image: base }], same, nobody, BLOCKS)
    const fetched = stage.fetch(peer, rebuilt, [liar, honest])
    stage.world.run(60_000)
    const report = reportOf(t, fetched)
    t.true(holds(peer, rebuilt))
    t.is(stage.network.counts.blames, isBanned ? 1 : 0)
    t.true(report.wireBytes < contentBytes * 1.1, JSON.stringify(report))
  })

import test from 'ava'
import { batchesOf, dictionaryOf, type Planned } from '../../../migration/second-level/batch.ts'
import type { Copy } from '../../../migration/second-level/wanted.ts'
import { methodOf } from '../../../migration/second-level/worth.ts'
import { BATCH_CHUNKS_MAX, DICTIONARY_CHUNKS_MAX, WORTH_CHUNKS } from '../../../protocols/limits.ts'
import { BLOCK_BYTES } from '../../../storage/images/fingerprint.ts'

const MIB = 1024 ** 2

/** A chunk of eight blocks that lacks those of `bits`. */
const chunk = (index: number, bits: number, copies: Copy[] = []): Planned => ({
  index,
  chunkBytes: 8 * BLOCK_BYTES,
  plan: { lacking: Uint8Array.of(bits), copies },
})

const shapeOf = (chunks: Planned[], bytes: number): string =>
  batchesOf(chunks, bytes)
    .map((batch) => `${batch.chunks.map(({ index }) => index).join(',')}:${batch.literalBytes / BLOCK_BYTES}`)
    .join(' ')

const CASES: [what: string, chunks: Planned[], blocks: number, batches: string][] = [
  ['none for nothing', [], 8, ''],
  ['none for chunks that lack nothing', [chunk(0, 0)], 8, ''],
  ['in order, as many as fit', [chunk(0, 0xf0), chunk(1, 0), chunk(2, 0x0f), chunk(3, 1)], 8, '0,2:8 3:1'],
  ['one that is too large goes alone', [chunk(0, 1), chunk(1, 0xff), chunk(2, 1)], 4, '0:1 1:8 2:1'],
]

for (const [what, chunks, blocks, batches] of CASES)
  test(`batches: ${what}`, (t) => t.is(shapeOf(chunks, blocks * BLOCK_BYTES), batches))

test('a batch names no more chunks than a message may', (t) => {
  const many = Array.from({ length: BATCH_CHUNKS_MAX + 1 }, (_, index) => chunk(index, 1))
  t.deepEqual(
    batchesOf(many, 16 * MIB).map(({ chunks }) => chunks.length),
    [BATCH_CHUNKS_MAX, 1],
  )
})

test('a dictionary is what blocks come from and what lies at the same place, the best last', (t) => {
  const [batch] = batchesOf(
    [
      chunk(5, 0xf0, [{ at: 4, count: 4, base: 1, place: 16 }]),
      chunk(6, 0x80, [
        { at: 1, count: 2, base: 1, place: 20 },
        { at: 3, count: 1, base: 0, place: 0 },
      ]),
    ],
    MIB,
  )
  const bases = {
    blocksOfChunk: () => 8,
    sameIndex: (index: number) => (index === 5 ? { base: 0, index: 9 } : undefined),
  }
  t.deepEqual(dictionaryOf(batch as NonNullable<typeof batch>, bases), [
    { base: 0, index: 0 },
    { base: 1, index: 2 },
    { base: 0, index: 9 },
  ])
})

test('a dictionary is bounded', (t) => {
  const chunks = Array.from({ length: 100 }, (_, index) => chunk(index, 0xff))
  const [batch] = batchesOf(chunks, 16 * MIB)
  const count = (blocksOfChunk: number): number =>
    dictionaryOf(batch as NonNullable<typeof batch>, {
      blocksOfChunk: () => blocksOfChunk,
      sameIndex: (index) => ({ base: 0, index }),
    }).length
  t.is(count(64), DICTIONARY_CHUNKS_MAX)
  // Chunks of 4 MiB: three are as many bytes as there is room for.
  t.is(count(1_024), 3)
})

const none = { chunks: 0, wireBytes: 0, frameBytes: 0 }
const METHODS: [
  what: string,
  mibPerS: number,
  gain: typeof none,
  kind: 'blocks' | 'frames',
  level?: number,
][] = [
  ['a slow link is pressed hard', 2, none, 'blocks', 9],
  ['a faster one less', 12, none, 'blocks', 3],
  ['a fast one not at all', 100, none, 'frames'],
  ['too few chunks say nothing', 2, { chunks: WORTH_CHUNKS - 1, wireBytes: 9, frameBytes: 1 }, 'blocks', 9],
  ['what saves nothing is left', 2, { chunks: WORTH_CHUNKS, wireBytes: 96, frameBytes: 100 }, 'frames'],
  ['what saves goes on', 2, { chunks: WORTH_CHUNKS, wireBytes: 95, frameBytes: 100 }, 'blocks', 9],
]

for (const [what, mibPerS, gain, kind, level] of METHODS)
  test(`method: ${what}`, (t) => {
    const method = methodOf(mibPerS * MIB, gain)
    t.is(method.kind, kind)
    t.is('level' in method ? method.level : undefined, level)
  })

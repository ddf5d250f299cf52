import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { Assembly, chunksIn, chunksOf, type Placed, piecesOf } from '../../../migration/torrent/assembly.ts'
import { askNext } from '../../../migration/torrent/window.ts'
import { CHUNK_BYTES } from '../../../protocols/limits.ts'

const placed = fc
  .record({
    offset: fc.oneof(fc.constant(0), fc.nat(3 * CHUNK_BYTES)),
    bytes: fc.integer({ min: 1, max: 4 * CHUNK_BYTES }),
    after: fc.nat(2 * CHUNK_BYTES),
    pieceBytes: fc.oneof(
      fc.constantFrom(16 * 1024, 64 * 1024, CHUNK_BYTES, 4 * CHUNK_BYTES),
      fc.integer({ min: 16 * 1024, max: 3 * CHUNK_BYTES }),
    ),
  })
  .map(({ offset, bytes, after, pieceBytes }): Placed => {
    return { offset, bytes, pieceBytes, torrentBytes: offset + bytes + after }
  })

/** Byte `i` of the torrent. */
const at = (i: number): number => (i * 31 + (i >> 8) * 7) & 0xff

testProp(
  'a file is put together from its pieces, in whatever order they come',
  [placed, fc.infiniteStream(fc.nat())],
  (t, where, dice) => {
    const wanted = new Set<number>()
    for (let index = 0; index < chunksIn(where); index++) {
      const { from, to } = piecesOf(where, index)
      for (let piece = from; piece <= to; piece++) {
        const { from: first, to: last } = chunksOf(where, piece)
        t.true(first <= index && index <= last)
        wanted.add(piece)
      }
    }
    const assembly = new Assembly(where)
    const found = new Uint8Array(where.bytes)
    const pieces = [...wanted]
    while (pieces.length > 0) {
      const [piece = 0] = pieces.splice((dice.next().value ?? 0) % pieces.length, 1)
      const start = piece * where.pieceBytes
      const length = Math.min(where.pieceBytes, where.torrentBytes - start)
      const content = Uint8Array.from({ length }, (_, i) => at(start + i))
      for (const whole of assembly.add(piece, content)) found.set(whole.content, whole.index * CHUNK_BYTES)
    }
    t.is(assembly.heldBytes, 0)
    t.true(found.every((byte, i) => byte === at(where.offset + i)))
  },
  { numRuns: 30 },
)

test('a piece outside of the file is of no chunk', (t) => {
  const where = { offset: 100_000, bytes: 1_000, pieceBytes: 16_384, torrentBytes: 200_000 }
  t.deepEqual(chunksOf(where, 0), { from: 0, to: -1 })
  t.deepEqual(chunksOf(where, 6), { from: 0, to: 0 })
  t.deepEqual(chunksOf(where, 7), { from: 0, to: -1 })
  t.deepEqual(new Assembly(where).add(0, new Uint8Array(16_384)), [])
})

const looking = { chunks: 10, window: 3, from: 0, asked: new Set<number>() }
const all = (): boolean => true
const none = (): boolean => false
const cases: [what: string, looking: Parameters<typeof askNext>[0], next: number[]][] = [
  ['at the start the first ones', { ...looking, isHere: none, isInSight: all }, [0, 1, 2]],
  ['what is here is passed over', { ...looking, isHere: (c) => c % 2 === 0, isInSight: all }, [1, 3, 5]],
  [
    'a full window asks for no more',
    { ...looking, asked: new Set([0, 1, 2]), isHere: none, isInSight: all },
    [],
  ],
  [
    'what nobody has any more gives its place to another',
    { ...looking, asked: new Set([0, 1, 2]), isHere: none, isInSight: (c) => c > 1 },
    [3, 4],
  ],
  [
    'but not for ever',
    { ...looking, asked: new Set([0, 1, 2, 3, 4, 5]), isHere: none, isInSight: (c) => c > 5 },
    [],
  ],
  ['nobody is there', { ...looking, isHere: none, isInSight: none }, []],
  ['at the end there is nothing', { ...looking, isHere: all, isInSight: all }, []],
]
for (const [what, now, next] of cases)
  test(`window: ${what}`, (t) => {
    t.deepEqual(askNext(now), next)
  })

import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { GodwitError } from '../../protocols/errors.ts'
import { BASES_MAX, SKETCH_FINGERPRINTS_MAX } from '../../protocols/limits.ts'
import { random } from '../../simulator/random.ts'
import { FINGERPRINT_BYTES, setFingerprint } from '../../storage/images/fingerprint.ts'
import { decodeSketch, encodeSketch, nearest, sketchOf } from '../../storage/images/sketch.ts'

/** Blocks [from, until) of a world of different blocks. */
function list(from: number, until: number): Uint8Array {
  const bytes = new Uint8Array((until - from) * FINGERPRINT_BYTES)
  for (let at = from; at < until; at++) {
    const dice = random(at, 'block')
    setFingerprint(bytes, at - from, dice.below(2 ** 16) * 2 ** 32 + dice.below(2 ** 32))
  }
  return bytes
}

const sketch = (from: number, until: number): ReturnType<typeof sketchOf> => sketchOf(list(from, until))

test('a sketch is a sample of one in 256, the same for every image', (t) => {
  const { fingerprints, shift } = sketch(0, 40_000)
  t.is(shift, 8)
  t.true(fingerprints.length > 100 && fingerprints.length < 220, String(fingerprints.length))
  const half = new Set(sketch(0, 20_000).fingerprints)
  t.true([...half].every((each) => fingerprints.includes(each)))
})

test('a large image takes a smaller sample', (t) => {
  const many = new Uint8Array((SKETCH_FINGERPRINTS_MAX + 1) * FINGERPRINT_BYTES)
  for (let at = 0; at <= SKETCH_FINGERPRINTS_MAX; at++) setFingerprint(many, at, (at + 1) * 2 ** 25)
  const { fingerprints, shift } = sketchOf(many)
  t.is(shift, 9)
  t.true(fingerprints.length <= SKETCH_FINGERPRINTS_MAX)
  t.true((fingerprints.at(-1) as number) < 2 ** 39)
})

test('the nearest base is the one that holds most, the next the one that adds most', (t) => {
  const target = sketch(0, 60_000)
  const candidates = [
    { image: 'a quarter', sketch: sketch(0, 15_000) },
    { image: 'most', sketch: sketch(10_000, 50_000) },
    { image: 'in most already', sketch: sketch(20_000, 45_000) },
    { image: 'another', sketch: sketch(80_000, 120_000) },
    { image: 'the end', sketch: sketch(45_000, 60_000) },
  ]
  t.deepEqual(nearest(target, candidates), ['most', 'the end', 'a quarter'])
})

test('no more bases than bounded, and none for an image of nothing', (t) => {
  const candidates = Array.from({ length: 6 }, (_, n) => ({
    image: String(n),
    sketch: sketch(n * 5_000, (n + 1) * 5_000),
  }))
  t.is(nearest(sketch(0, 30_000), candidates).length, BASES_MAX)
  t.deepEqual(nearest(sketchOf(new Uint8Array()), candidates), [])
})

testProp(
  'a sketch comes back as it was',
  [fc.uniqueArray(fc.integer({ min: 1, max: 2 ** 30 }))],
  (t, some) => {
    const before = { shift: 8, fingerprints: Float64Array.from(some).sort() }
    t.deepEqual(decodeSketch(encodeSketch(before)), before)
  },
)

const bad: [what: string, hex: string][] = [
  ['nothing', ''],
  ['a shift of zero', '00'],
  ['half a fingerprint', '08000000'],
  ['what is out of order', '08000000000002000000000001'],
  ['the same twice', '08000000000002000000000002'],
  ['what is not of the sample', '08010000000000'],
]

for (const [what, hex] of bad)
  test(`no sketch: ${what}`, (t) => {
    const error = t.throws(() => decodeSketch(Buffer.from(hex, 'hex')), { instanceOf: GodwitError })
    t.is(error.failure.code, 'FRAME_INVALID')
  })

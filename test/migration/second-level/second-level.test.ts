/** The parts together: whatever is held and whatever is wanted, what is put together is what was wanted. */
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { assemble, literalBytes, literalsOf } from '../../../migration/second-level/delta.ts'
import { decodeDelta, encodeDelta } from '../../../storage/images/delta.ts'
import { type Copy, planOf, seek, windowOf } from '../../../migration/second-level/wanted.ts'
import { GodwitError } from '../../../protocols/errors.ts'
import { isSet } from '../../../protocols/swarm/have-map.ts'
import { random } from '../../../simulator/random.ts'
import { BLOCK_BYTES, FINGERPRINT_BYTES, fingerprintsOf } from '../../../storage/images/fingerprint.ts'

/** A block for each letter: `.` is of zeros; the last one may be short. */
function disk(letters: string, shortBy = 0): Uint8Array {
  const blocks = Buffer.alloc(letters.length * BLOCK_BYTES)
  letters.split('').forEach((letter, at) => {
    if (letter !== '.') blocks.fill(`${letter}\n`, at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES)
  })
  return blocks.subarray(0, blocks.length - shortBy)
}

const CASES: [what: string, bases: string[], target: string, lacking: string, copies: Copy[]][] = [
  ['nothing held', [], 'ab.c', '0,1,3', []],
  ['all held, shifted', ['xxabc'], 'abc', '', [{ at: 0, count: 3, base: 0, place: 2 }]],
  [
    'a new block in the middle',
    ['abc'],
    'abzc',
    '2',
    [
      { at: 0, count: 2, base: 0, place: 0 },
      { at: 3, count: 1, base: 0, place: 2 },
    ],
  ],
  [
    'the nearest base goes first',
    ['ab', 'abc'],
    'abc',
    '',
    [
      { at: 0, count: 2, base: 0, place: 0 },
      { at: 2, count: 1, base: 1, place: 2 },
    ],
  ],
  ['zeros are neither held nor lacked', ['.a.'], '..a..', '', [{ at: 2, count: 1, base: 0, place: 1 }]],
  [
    'the same block twice',
    ['a'],
    'aa',
    '',
    [
      { at: 0, count: 1, base: 0, place: 0 },
      { at: 1, count: 1, base: 0, place: 0 },
    ],
  ],
]

for (const [what, bases, target, lacking, copies] of CASES)
  test(`a plan: ${what}`, (t) => {
    const list = fingerprintsOf(disk(target))
    const window = windowOf([list])
    bases.forEach((base, n) => seek(window, n, fingerprintsOf(disk(base))))
    const plan = planOf(window, list)
    t.deepEqual(plan.copies, copies)
    const bits = target.split('').flatMap((_, at) => (isSet(plan.lacking, at) ? [at] : []))
    t.is(bits.join(','), lacking)
  })

test('a list read in pieces is found as one read whole', (t) => {
  const list = fingerprintsOf(disk('abcdef'))
  const whole = windowOf([list])
  seek(whole, 0, list)
  const pieces = windowOf([list])
  seek(pieces, 0, list.subarray(0, 2 * FINGERPRINT_BYTES))
  t.is(pieces.left, 4)
  seek(pieces, 0, list.subarray(2 * FINGERPRINT_BYTES), 2)
  t.is(pieces.left, 0)
  t.deepEqual(planOf(pieces, list), planOf(whole, list))
})

const letters = fc
  .array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', '.'), { minLength: 1, maxLength: 20 })
  .map((some) => some.join(''))
const shortBy = fc.integer({ min: 0, max: BLOCK_BYTES - 1 })

testProp(
  'what is put together is what was wanted, whatever is held',
  [fc.array(letters, { maxLength: 3 }), letters, shortBy, fc.boolean()],
  (t, held, wanted, short, withDictionary) => {
    const bases = held.map((each) => disk(each))
    const target = disk(wanted, short)
    const list = fingerprintsOf(target)
    const window = windowOf([list])
    bases.forEach((base, n) => seek(window, n, fingerprintsOf(base)))
    const plan = planOf(window, list)
    const dictionary = withDictionary ? bases.slice(0, 1) : []

    const bytes = literalBytes(plan.lacking, target.length)
    const frame = encodeDelta(literalsOf(target, plan.lacking), 3, dictionary)
    const literals = decodeDelta(frame, bytes, dictionary)
    const read = ({ at, base, place, count }: Copy): Uint8Array => {
      const from = place * BLOCK_BYTES
      const end = Math.min(from + count * BLOCK_BYTES, from + target.length - at * BLOCK_BYTES)
      return (bases[base] as Uint8Array).subarray(from, end)
    }
    const content = assemble(target.length, plan, read, literals)
    t.true(content !== undefined && Buffer.compare(content, target) === 0)
    // One byte too few or too many is no chunk.
    t.is(assemble(target.length, plan, read, Buffer.concat([literals, Buffer.of(1)])), undefined)
    if (bytes > 0) t.is(assemble(target.length, plan, read, literals.subarray(1)), undefined)
    if (plan.copies.length > 0)
      t.is(
        assemble(target.length, plan, () => Buffer.of(1), literals),
        undefined,
      )
  },
  { numRuns: 50 },
)

/** Bytes in which zstd finds nothing but what a dictionary has. */
function noise(seed: number): Buffer {
  const dice = random(seed, 'noise')
  return Buffer.from(Array.from({ length: 3 * BLOCK_BYTES }, () => dice.below(256)))
}

const invalid = (read: () => unknown): boolean => {
  try {
    read()
    return false
  } catch (error) {
    return error instanceof GodwitError && error.failure.code === 'FRAME_INVALID'
  }
}

test('a delta that was cut or changed, or is of another size or dictionary, is refused', (t) => {
  const dictionary = noise(1)
  const literals = Buffer.concat([dictionary.subarray(100, 9_000), Buffer.from('the end')])
  const frame = encodeDelta([literals], 9, [dictionary])
  t.deepEqual(Buffer.from(decodeDelta(frame, literals.length, [dictionary])), literals)
  for (let at = 0; at < frame.length; at++) {
    t.true(
      invalid(() => decodeDelta(frame.subarray(0, at), literals.length, [dictionary])),
      `cut at ${at}`,
    )
    const changed = Uint8Array.from(frame)
    changed[at] = (changed[at] as number) ^ 0x21
    // A bit of the header that means nothing may be another: the content is then the same.
    const same = (): boolean =>
      Buffer.compare(decodeDelta(changed, literals.length, [dictionary]), literals) === 0
    t.true(invalid(() => decodeDelta(changed, literals.length, [dictionary])) || same(), `changed at ${at}`)
  }
  for (const bytes of [0, literals.length - 1, literals.length + 1, 2 ** 40])
    t.true(
      invalid(() => decodeDelta(frame, bytes, [dictionary])),
      `${bytes} bytes`,
    )
  t.true(invalid(() => decodeDelta(frame, literals.length, [noise(2)])))
  t.true(invalid(() => decodeDelta(frame, literals.length, [])))
})

test('a dictionary may begin as those of zstd do', (t) => {
  const dictionary = [Buffer.concat([Buffer.from('37a430ec01000000', 'hex'), noise(1)])]
  const frame = encodeDelta([noise(1)], 3, dictionary)
  t.true(frame.length < 100, `${frame.length} bytes`)
  t.deepEqual(Buffer.from(decodeDelta(frame, 3 * BLOCK_BYTES, dictionary)), noise(1))
})

test('a small frame that unpacks to much is stopped at what was asked for', (t) => {
  const frame = encodeDelta([new Uint8Array(8 * 1024 ** 2)], 3, [])
  t.true(frame.length < 2_000)
  t.true(invalid(() => decodeDelta(frame, BLOCK_BYTES, [])))
})

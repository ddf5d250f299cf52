import { hash } from 'node:crypto'
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { GodwitError } from '../../protocols/errors.ts'
import { decodeBlockList, encodeBlockList } from '../../storage/images/block-list.ts'
import {
  BLOCK_BYTES,
  fingerprintAt,
  FINGERPRINT_BYTES,
  fingerprintsOf,
  setFingerprint,
} from '../../storage/images/fingerprint.ts'

const image = 'ab'.repeat(32)
const FORM = '4757424c01060000abababababababababababababababababababababababababababababababab00000002'

test('a fingerprint is the head of the SHA-256 of a block, and zero for zeros', (t) => {
  const content = Buffer.alloc(3 * BLOCK_BYTES + 5)
  content.fill(7, 0, BLOCK_BYTES)
  content.write('short', 3 * BLOCK_BYTES)
  const list = fingerprintsOf(content)
  t.is(list.length, 4 * FINGERPRINT_BYTES)
  const head = (block: Uint8Array): number => Number.parseInt(hash('sha256', block).slice(0, 12), 16)
  const blocks = [head(content.subarray(0, BLOCK_BYTES)), 0, 0, head(Buffer.from('short'))]
  t.deepEqual(
    [0, 1, 2, 3].map((at) => fingerprintAt(list, at)),
    blocks,
  )
})

testProp(
  'a fingerprint is read as it was written',
  [fc.array(fc.maxSafeNat(), { maxLength: 9 })],
  (t, some) => {
    const fingerprints = some.map((each) => each % 2 ** 48)
    const list = new Uint8Array(fingerprints.length * FINGERPRINT_BYTES)
    fingerprints.forEach((each, at) => setFingerprint(list, at, each))
    t.deepEqual(
      fingerprints.map((_, at) => fingerprintAt(list, at)),
      fingerprints,
    )
  },
)

const fingerprints = Uint8Array.from({ length: 2 * FINGERPRINT_BYTES }, (_, at) => at)

test('version 1 of a block list keeps its bytes', (t) => {
  const hex = Buffer.from(encodeBlockList({ image, fingerprints })).toString('hex')
  t.is(hex.slice(0, FORM.length), FORM)
  t.is(hex.slice(FORM.length + 8), '000102030405060708090a0b')
  const read = decodeBlockList(Buffer.from(hex, 'hex'))
  t.is(read.image, image)
  t.deepEqual(Uint8Array.from(read.fingerprints), fingerprints)
})

test('a block list that was cut, or in which any byte was changed, is refused', (t) => {
  const encoded = encodeBlockList({ image, fingerprints })
  for (let at = 0; at < encoded.length; at++) {
    const changed = Uint8Array.from(encoded)
    changed[at] = (changed[at] as number) ^ 0x10
    for (const bytes of [changed, encoded.subarray(0, at)]) {
      const error = t.throws(() => decodeBlockList(bytes), { instanceOf: GodwitError })
      t.is(error.failure.code, 'DATA_CORRUPT')
    }
  }
})

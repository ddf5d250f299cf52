import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { GodwitError } from '../../protocols/errors.ts'
import { decodeSnapshotFile, encodeSnapshotFile, type SnapshotFile } from '../../storage/snapshot-file.ts'

const file: SnapshotFile = {
  format: 1,
  cluster: `01J${'0'.repeat(23)}`,
  group: 'site/hill',
  generation: 98_304,
  index: 42,
  term: 7,
  configuration: {
    voters: ['12D3KooWHill1#abc'],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  },
  savedMs: 1_800_000_000_000,
  by: '12D3KooWHill1',
  data: Uint8Array.from([1, 2, 3]),
}

test('a snapshot file comes back as it was saved', (t) => {
  t.deepEqual(decodeSnapshotFile(encodeSnapshotFile(file), 'a.snap'), file)
})

testProp(
  'whatever is changed or cut off is found out',
  [fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, at, bits) => {
    const bytes = encodeSnapshotFile(file)
    const changed = Uint8Array.from(bytes)
    const place = at % bytes.length
    changed[place] = (changed[place] ?? 0) ^ bits
    for (const wrong of [changed, bytes.subarray(0, place)]) {
      const error = t.throws(() => decodeSnapshotFile(wrong, 'a.snap'), { instanceOf: GodwitError })
      t.is(error?.failure.code, 'DATA_CORRUPT')
    }
  },
)

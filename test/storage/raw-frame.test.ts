import { randomBytes } from 'node:crypto'
import { zstdDecompressSync } from 'node:zlib'
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { chunkIdOf, isRawChunk, pack } from '../../storage/images/chunk-content.ts'
import { rawBlocks } from '../../storage/images/raw-frame.ts'

const LENGTHS = [1, 255, 256, 4_096, 65_535, 65_792, 128 * 1024, 256 * 1024, 256 * 1024 + 1, 4 * 1024 ** 2]

for (const length of LENGTHS)
  test(`${length} bytes that do not compress are read where they lie`, (t) => {
    const content = randomBytes(length)
    const frame = pack(content)
    const blocks = rawBlocks(frame, length)
    // A short remainder may be packed all the same: that is zstd's choice, and then zstd's to read.
    if (blocks === undefined) return t.true(frame.length <= length + 16)
    t.true(Buffer.concat(blocks).equals(content))
    t.true(blocks.every(({ buffer }) => buffer === frame.buffer))
    t.true(isRawChunk(chunkIdOf(content), frame, length))
    t.false(isRawChunk(chunkIdOf(randomBytes(8)), frame, length))
    t.is(rawBlocks(frame, length + 1), undefined)
    t.is(rawBlocks(frame.subarray(0, -1), length), undefined)
    t.is(rawBlocks(Buffer.concat([frame, Buffer.alloc(1)]), length), undefined)
  })

test('what compresses is left to zstd', (t) => {
  const content = Buffer.alloc(4_096, 'Godwit ')
  t.is(isRawChunk(chunkIdOf(content), pack(content), content.length), undefined)
  t.false(isRawChunk(chunkIdOf(content), Buffer.alloc(content.length + 513), content.length))
})

testProp(
  'whatever is read without zstd, zstd reads the same',
  [fc.integer({ min: 1, max: 400 }), fc.array(fc.tuple(fc.nat(24), fc.nat(255)), { maxLength: 4 })],
  (t, length, changes) => {
    const frame = Uint8Array.from(pack(randomBytes(length)))
    for (const [at, byte] of changes) frame[at % frame.length] = byte
    for (const bytes of [length, (frame[5] ?? 0) + 256, frame[5] ?? 0]) {
      const blocks = rawBlocks(frame, bytes)
      if (blocks !== undefined) t.true(Buffer.concat(blocks).equals(zstdDecompressSync(frame)))
    }
    t.pass()
  },
  { numRuns: 2_000 },
)

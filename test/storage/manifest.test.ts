import { readFileSync } from 'node:fs'
import { hash } from 'node:crypto'
import { testProp, fc } from '@fast-check/ava'
import test from 'ava'
import {
  buildManifest,
  chunkAt,
  chunkCount,
  chunkLength,
  type Manifest,
  partsOf,
  verifyManifest,
} from '../../storage/images/manifest.ts'
import {
  decodeGroup,
  decodeHead,
  encodeGroup,
  encodeManifest,
  formBytes,
  HEAD_BYTES,
  RunsDecoder,
} from '../../storage/images/manifest-form.ts'
import { groupChunks } from '../../storage/images/merkle.ts'

const KIB = 1024

/** Hashes that are easy to tell: chunk i has SHA-256 of `i`, or zeros where `content` says so. */
function hashesOf(content: readonly boolean[]): Uint8Array {
  return Buffer.concat(
    content.map((some, i) => (some ? hash('sha256', String(i), 'buffer') : Buffer.alloc(32))),
  )
}

const example = buildManifest(
  (600 * 4 - 1) * KIB,
  4 * KIB,
  hashesOf(Array.from({ length: 600 }, (_, i) => i % 7 < 3 && i < 500)),
)
/** All of a stream, in pieces of `pieceBytes`. */
function decodeManifest(bytes: Buffer, pieceBytes = bytes.length): Manifest {
  const size = decodeHead(bytes)
  const hashes = Buffer.alloc(chunkCount(size) * 32)
  const decoder = new RunsDecoder(chunkCount(size), (index, some) => some.copy(hashes, index * 32))
  for (let at = HEAD_BYTES; at < bytes.length; at += pieceBytes)
    decoder.push(bytes.subarray(at, at + pieceBytes))
  decoder.end()
  return buildManifest(size.bytes, size.chunkBytes, hashes)
}

const encoded = (manifest: Manifest): Buffer => Buffer.concat([...encodeManifest(manifest)])
const golden = readFileSync(new URL('../fixtures/manifests/v1.hex', import.meta.url), 'utf8').trim()

test('version 1 keeps its bytes and its name', (t) => {
  t.is(encoded(example).toString('hex'), golden)
  t.is(formBytes(example.hashes.runs), golden.length / 2)
  t.deepEqual(decodeManifest(Buffer.from(golden, 'hex')), example)
  t.is(example.image, 'faeebb795482a4d5ed924c8cc8c6aebe30380a5d0a29a7277fd67b807ed729b4')
})

testProp(
  'a manifest comes back as it was',
  [
    fc.array(fc.boolean(), { minLength: 1, maxLength: 700 }),
    fc.integer({ min: 0, max: 4 * KIB - 1 }),
    fc.integer({ min: 12, max: 22 }),
    fc.integer({ min: 1, max: 500 }),
  ],
  (t, content, short, chunkBits, pieceBytes) => {
    const manifest = buildManifest(content.length * 2 ** chunkBits - short, 2 ** chunkBits, hashesOf(content))
    t.deepEqual(decodeManifest(encoded(manifest), pieceBytes), manifest)
    const group = encodeGroup(manifest, 0)
    const runs = Buffer.concat([...group.pieces])
    t.is(runs.length, group.total)
    t.deepEqual(decodeGroup(runs, groupChunks(manifest, 0)), Buffer.concat([...partsOf(manifest)]))
    t.is(verifyManifest(manifest), undefined)
    t.is(chunkCount(manifest), content.length)
    t.is(chunkLength(manifest, content.length - 1), 2 ** chunkBits - short)
    t.deepEqual(
      content.map((_, i) => chunkAt(manifest, i) !== undefined),
      content,
    )
  },
  { numRuns: 60 },
)

testProp(
  'decode refuses any damage, and nothing but IMAGE_INVALID comes out',
  [fc.integer({ min: 0, max: golden.length / 2 - 1 }), fc.integer({ min: 1, max: 255 })],
  (t, at, flip) => {
    const bytes = Buffer.from(golden, 'hex')
    bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at)
    try {
      t.not(decodeManifest(bytes).image, example.image)
    } catch (error) {
      t.like(error, { failure: { code: 'IMAGE_INVALID' } })
    }
  },
  { numRuns: 300 },
)

const head = golden.slice(0, 32)
const malformed: [what: string, hex: string][] = [
  ['nothing', ''],
  ['another magic', `00${golden.slice(2)}`],
  ['a newer version', `${golden.slice(0, 8)}02${golden.slice(10)}`],
  ['half of it', golden.slice(0, golden.length / 2)],
  ['a byte more', `${golden}00`],
  ['no runs', head],
  ['a size of 0', `${head.slice(0, 16)}${'00'.repeat(8)}`],
  ['a size past the bound', `${head.slice(0, 16)}${'7f'.repeat(8)}`],
  ['a chunk size past the bound', `${head.slice(0, 10)}ff${head.slice(12)}`],
  ['an empty run, for ever', `${head}${'00'.repeat(8)}`],
  ['zeros past its end', `${head}ffffffff00000000`],
  ['zeros spelt out', `${head}0000000000000258${'00'.repeat(600 * 32)}`],
]

for (const [what, hex] of malformed) {
  test(`decode refuses ${what}`, (t) => {
    const error = t.throws(() => decodeManifest(Buffer.from(hex, 'hex')), { name: 'GodwitError' })
    t.like(error, { failure: { code: 'IMAGE_INVALID' } })
  })
}

test('the name commits to size, chunk size and every hash', (t) => {
  const { bytes, chunkBytes } = example
  const other = Buffer.concat([...partsOf(example)])
  other[599 * 32] = 1
  const { hashes } = buildManifest(bytes, chunkBytes, other)
  t.is(verifyManifest({ ...example, bytes: bytes - 1 }), 'its Merkle root is another')
  t.is(verifyManifest({ ...example, hashes }), 'its Merkle root is another')
  t.is(verifyManifest({ ...example, chunkBytes: chunkBytes * 2 }), 'it has not one hash a chunk')
  const one = Buffer.alloc(32, 1)
  t.not(buildManifest(8 * KIB, 8 * KIB, one).image, buildManifest(8 * KIB, 16 * KIB, one).image)
})

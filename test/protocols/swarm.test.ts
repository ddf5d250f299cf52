import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { GodwitError } from '../../protocols/errors.ts'
import { FRAME_BYTES_MAX } from '../../protocols/limits.ts'
import { decodeSection, encodeSection, isSet } from '../../protocols/swarm/have-map.ts'
import { decode, encode, type Message, type Piece, PIECE_BYTES_MAX } from '../../protocols/swarm/messages.ts'

const FRAMES: (Message | Piece)[] = [
  { kind: 'hello', image: 'ab'.repeat(32), manifest: true },
  { kind: 'unknown' },
  { kind: 'tree', bytes: 2 ** 40, chunkBytes: 2 ** 18, tops: new Uint8Array(64).fill(9) },
  { kind: 'groups', groups: [1, 63] },
  { kind: 'group', group: 63, total: 70, at: 64, data: Uint8Array.of(1, 2, 3) },
  { kind: 'manifest', total: 70, at: 64, data: Uint8Array.of(1, 2, 3) },
  { kind: 'list', total: 64, at: 0, data: new Uint8Array(32).fill(7) },
  { kind: 'have', total: 4096, from: 0, count: 4096, form: 'runs', data: Uint8Array.of(0, 0x80, 0x20) },
  { kind: 'have-more', indexes: [0, 300, 70_000] },
  { kind: 'peers', peers: ['12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'] },
  { kind: 'want', indexes: [5] },
  { kind: 'piece', index: 5, at: 0, total: 4, data: Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd) },
  { kind: 'lack', index: 9 },
  { kind: 'cancel', indexes: [5, 6] },
  { kind: 'bye', why: 'busy' },
]

const folder = new URL('../fixtures/frames/', import.meta.url)

/** Fields that came later have files of their own; without them a frame is what it was. */
const LATER: [name: string, said: Message][] = [
  ['hello-group', { kind: 'hello', image: 'ab'.repeat(32), manifest: true, gains: true, group: 1 }],
  ['hello-gains', { kind: 'hello', image: 'ab'.repeat(32), manifest: false, gains: true }],
  [
    'have-gains',
    { kind: 'have', total: 9, from: 0, count: 9, form: 'runs', data: new Uint8Array(), gains: true },
  ],
]
const NAMED: [name: string, said: Message | Piece][] = [
  ...FRAMES.map((said): [string, Message | Piece] => [said.kind, said]),
  ...LATER,
]

for (const [name, said] of NAMED) {
  test(`${name} keeps its bytes`, (t) => {
    const file = new URL(`swarm-${name}.hex`, folder)
    const hex = Buffer.from(encode(said)).toString('hex')
    if (process.env['GODWIT_WRITE_FRAMES'] === '1') {
      mkdirSync(folder, { recursive: true })
      writeFileSync(file, `${hex}\n`)
    }
    const golden = readFileSync(file, 'utf8').trim()
    t.is(hex, golden)
    t.deepEqual(decode(Buffer.from(golden, 'hex')), {
      ...said,
      ...('data' in said ? { data: bytesLike(decode(Buffer.from(golden, 'hex')), said.data) } : {}),
    })
  })
}

/** A piece's data is a view of a Buffer; equality is about the bytes. */
function bytesLike(decoded: Message | Piece, wanted: Uint8Array): Uint8Array {
  const data = 'data' in decoded ? decoded.data : new Uint8Array()
  return Buffer.compare(data, wanted) === 0 ? data : wanted
}

test('a piece as large as a frame goes, a larger one does not', (t) => {
  const data = new Uint8Array(PIECE_BYTES_MAX)
  const frame = encode({ kind: 'piece', index: 1, at: 0, total: data.length, data })
  t.is(frame.length, FRAME_BYTES_MAX)
  t.is((decode(frame) as Piece).data.length, data.length)
  t.throws(() => decode(Buffer.concat([frame, Buffer.of(0)])), { instanceOf: GodwitError })
})

const BAD: [what: string, frame: Uint8Array][] = [
  ['nothing', new Uint8Array()],
  ['a piece without data', Buffer.from('c1' + '00'.repeat(12), 'hex')],
  ['a piece that ends past its frame', encodeRaw(1, 3, 4, 2)],
  ['a frame larger than any chunk', encodeRaw(1, 0, 2 ** 31, 2)],
  ['a chunk that no image has', encodeRaw(2 ** 32 - 1, 0, 4, 2)],
]

function encodeRaw(index: number, at: number, total: number, dataBytes: number): Uint8Array {
  const frame = Buffer.alloc(13 + dataBytes)
  frame[0] = 0xc1
  frame.writeUInt32BE(index, 1)
  frame.writeUInt32BE(at, 5)
  frame.writeUInt32BE(total, 9)
  return frame
}

for (const [what, frame] of BAD)
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => decode(frame), { instanceOf: GodwitError })
    t.is(error.failure.code, 'FRAME_INVALID')
  })

testProp(
  'whatever a peer sends, nothing but a GodwitError comes out',
  [fc.uint8Array({ maxLength: 80 })],
  (t, frame) => {
    for (const bytes of [frame, Buffer.concat([Buffer.of(0xc1), frame])])
      try {
        t.truthy(decode(bytes).kind)
      } catch (error) {
        t.true(error instanceof GodwitError, String(error))
      }
  },
)

const maps = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 300 })), { maxLength: 40 })

testProp('a have-map comes back as it was', [maps], (t, runs) => {
  const held = [true, ...runs.flatMap(([value, length]) => Array.from({ length }, () => value))]
  const section = encodeSection(0, held)
  const bits = decodeSection(section)
  t.true(section.data.length <= Math.ceil(held.length / 8))
  t.true(held.every((value, at) => isSet(bits, at) === value))
})

testProp(
  'a have-map of any bytes is read or refused, in bounded time',
  [
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: 1, max: 3_000 }),
    fc.constantFrom('bits' as const, 'runs' as const),
  ],
  (t, data, count, form) => {
    try {
      t.is(decodeSection({ from: 0, count, form, data }).length, Math.ceil(count / 8))
    } catch (error) {
      t.is((error as GodwitError).failure.code, 'FRAME_INVALID')
    }
  },
)

test('a whole image takes a few bytes, none takes none', (t) => {
  t.is(
    encodeSection(
      0,
      Array.from({ length: 100_000 }, () => true),
    ).data.length,
    4,
  )
  t.is(
    encodeSection(
      0,
      Array.from({ length: 100_000 }, () => false),
    ).data.length,
    0,
  )
})

import { readFileSync, writeFileSync } from 'node:fs'
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { GodwitError } from '../../../protocols/errors.ts'
import { Intake } from '../../../storage/nbd/intake.ts'
import { type Agreed, negotiate, type Wanted } from '../../../storage/nbd/negotiation.ts'
import type { Parser } from '../../../storage/nbd/wire.ts'
import { ack, blocks, context, greeting, handshake, optionReply, size } from './server.ts'

const MIB = 1024 * 1024
const WANTED: Wanted = { at: 'disk', name: 'disk0', contexts: ['base:allocation', 'qemu:dirty-bitmap:b1'] }

/** What comes of a handshake in which the server says `said`, and what it was told. */
function heard(
  said: Uint8Array,
  wanted = WANTED,
  step = said.length,
): { agreed: Agreed | undefined; sent: Buffer } {
  const sent: Uint8Array[] = []
  let agreed: Agreed | undefined
  function* talk(): Parser<never> {
    agreed = yield* negotiate(wanted, (bytes) => void sent.push(bytes))
    for (;;) yield Buffer.alloc(1)
  }
  const intake = new Intake(talk())
  for (let at = 0; at < said.length; at += step) intake.take(said.subarray(at, at + step))
  return { agreed, sent: Buffer.concat(sent) }
}

const both = Buffer.concat([
  greeting(),
  ack(8),
  context(1, 'base:allocation'),
  context(2, 'qemu:dirty-bitmap:b1'),
  ack(10),
  size(64 * MIB),
  blocks(512, 8 * MIB),
  ack(7),
])

test('the client keeps its bytes', (t) => {
  const { sent } = heard(both)
  const file = new URL('../../fixtures/frames/nbd-handshake.hex', import.meta.url)
  if (process.env['GODWIT_WRITE_FRAMES'] === '1') writeFileSync(file, `${sent.toString('hex')}\n`)
  t.is(sent.toString('hex'), readFileSync(file, 'utf8').trim())
})

const agreements: [what: string, said: Buffer[], agreed: Partial<Agreed>][] = [
  [
    'all that was asked for',
    [both],
    {
      bytes: 64 * MIB,
      structured: true,
      contexts: new Map([
        [1, 'base:allocation'],
        [2, 'qemu:dirty-bitmap:b1'],
      ]),
      blockBytes: 512,
      readBytesMax: 8 * MIB,
    },
  ],
  [
    'one context of two',
    [handshake(MIB)],
    { contexts: new Map([[7, 'base:allocation']]), blockBytes: 1, readBytesMax: 32 * MIB },
  ],
  [
    'no structured replies, so no contexts',
    [greeting(1), optionReply(8, 2 ** 31 + 1), size(MIB), ack(7)],
    { structured: false, contexts: new Map(), bytes: MIB },
  ],
  [
    'no contexts at all',
    [greeting(), ack(8), optionReply(10, 2 ** 31 + 1, Buffer.from('what?')), size(MIB), ack(7)],
    { structured: true, contexts: new Map() },
  ],
  [
    'infos that nobody asked for',
    [greeting(), ack(8), ack(10), optionReply(7, 3, Buffer.from('\0\x01disk')), size(MIB), ack(7)],
    { bytes: MIB },
  ],
]

for (const [what, said, agreed] of agreements)
  test(`a server that offers ${what}`, (t) => {
    const whole = Buffer.concat(said)
    t.like(heard(whole).agreed, agreed)
    t.deepEqual(heard(whole, WANTED, 1), heard(whole), 'byte by byte')
  })

const begun = Buffer.concat([greeting(), ack(8), ack(10)])

const faults: [what: string, said: Buffer[], why: RegExp][] = [
  ['of the old style', [Buffer.from('NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53\0\0', 'latin1')], /newstyle/],
  ['of newstyle that is not fixed', [greeting(2)], /fixed newstyle/],
  ['that answers another option', [greeting(), ack(7)], /not asked/],
  ['that garbles an answer', [greeting(), Buffer.alloc(20, 1)], /garbled/],
  ['with an answer of 4 GiB', [greeting(), ack(8), longAnswer(2 ** 32 - 1)], /answer of 4294967295 bytes/],
  ['with a context that nobody asked for', [greeting(), ack(8), context(1, 'x:y')], /nobody asked for/],
  [
    'with one context twice',
    [greeting(), ack(8), context(1, 'base:allocation'), context(2, 'base:allocation')],
    /context twice/,
  ],
  [
    'with two contexts of one number',
    [greeting(), ack(8), context(1, 'base:allocation'), context(1, 'qemu:dirty-bitmap:b1')],
    /context twice/,
  ],
  ['without a size', [begun, ack(7)], /without a size/],
  ['with half a size', [begun, optionReply(7, 3, Buffer.alloc(8))], /size that is none/],
  ['with a disk of 2^64 bytes', [begun, size(2n ** 64n - 1n)], /over 17592186044416/],
  ['with blocks of no size', [begun, size(MIB), blocks(0, MIB)], /power of two/],
  ['with blocks larger than a chunk', [begun, size(MIB), blocks(8192, MIB)], /power of two/],
  ['that takes no reads', [begun, size(MIB), blocks(1, 0)], /reads of up to 0/],
  ['with a size that its blocks do not fit', [begun, size(700), blocks(512, MIB), ack(7)], /no multiple/],
  [
    'without that export',
    [begun, optionReply(7, 2 ** 31 + 6, Buffer.from('gone\n'))],
    /no such export: gone\?/,
  ],
  ['that wants TLS', [begun, optionReply(7, 2 ** 31 + 5)], /TLS/],
  ['that never ends', [begun, ...Array.from({ length: 64 }, () => size(MIB))], /without end/],
]

function longAnswer(bytes: number): Buffer {
  const answer = optionReply(10, 4)
  answer.writeUInt32BE(bytes, 16)
  return answer
}

for (const [what, said, why] of faults)
  test(`a server ${what} is refused`, (t) => {
    const error = t.throws(() => heard(Buffer.concat(said)), { instanceOf: GodwitError })
    t.like(error?.failure, { code: 'IO', path: 'disk' })
    t.regex(error?.message ?? '', why)
  })

testProp(
  'whatever is changed in a handshake: agreed, waited for, or refused with a reason',
  [fc.nat({ max: both.length - 1 }), fc.integer({ min: 0, max: 255 }), fc.nat({ max: both.length })],
  (t, at, value, cut) => {
    const said = Uint8Array.from(both).subarray(0, cut)
    if (at < cut) said[at] = value
    try {
      const { agreed } = heard(said)
      if (cut < both.length) t.is(agreed, undefined)
      else t.true(agreed === undefined || agreed.bytes <= 16 * 1024 ** 4)
    } catch (error) {
      t.is((error as GodwitError).failure?.code, 'IO')
    }
  },
  { numRuns: 300 },
)

import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { type Bencoded, decode, encode } from '../../../migration/torrent/bencode.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

const good: [what: string, text: string][] = [
  ['a number', 'i-42e'],
  ['nothing', '0:'],
  ['a text', '4:spam'],
  ['lists', 'll1:aeli0eee'],
  ['a dictionary', 'd3:bar4:spam3:fooi42ee'],
  ['a key that every object inherits', 'd9:__proto__i1e11:constructori2ee'],
  ['a key that is no text', 'd2:\xff\x00i1ee'],
]
for (const [what, text] of good)
  test(`${what} is read and written again as it was`, (t) => {
    const value = decode(bytes(text))
    t.is(Buffer.from(encode(value)).toString('latin1'), text)
  })

const bad: [what: string, text: string, why: RegExp][] = [
  ['nothing at all', '', /number/],
  ['a length below zero, which webtorrent’s decoder reads for ever', 'l-3:e', /number/],
  ['a text that ends early', '5:spam', /ends early/],
  ['a list without an end', 'li1e', /ends early/],
  ['a number without digits', 'ie', /number/],
  ['a number past 2^53', 'i9007199254740993e', /number/],
  ['a number that goes on', `i${'9'.repeat(400)}e`, /number/],
  ['a length past all memory', '99999999999999:a', /ends early/],
  ['two values', 'i1ei2e', /past its end/],
  ['a key that comes twice', 'd1:ai1e1:ai2ee', /twice/],
  ['a key that is a number', 'di1ei2ee', /number/],
  ['a hundred thousand lists in each other', 'l'.repeat(100_000), /nested/],
  ['text', 'hello', /number/],
]
for (const [what, text, why] of bad)
  test(`refused: ${what}`, (t) => {
    t.throws(() => decode(bytes(text)), { name: 'GodwitError', message: why })
  })

testProp('whatever the bytes are, reading them ends', [fc.uint8Array({ maxLength: 64 })], (t, some) => {
  try {
    decode(some)
  } catch (error) {
    t.is((error as Error).name, 'GodwitError')
  }
  t.pass()
})

const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.integer(),
    fc.uint8Array({ maxLength: 8 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'binary-ascii', maxLength: 4 }), tie('value'), { maxKeys: 4 }),
  ),
})).value as fc.Arbitrary<Bencoded>

testProp('what was written is read as it was', [value], (t, some) => {
  const written = encode(some)
  t.deepEqual(encode(decode(written)), written)
})

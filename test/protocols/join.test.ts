/** Join messages and tokens: their bytes stay, and what is not one is refused as what it is. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import type { Failure } from '../../protocols/errors.ts'
import { decodeFailure, encodeFailure } from '../../protocols/failure.ts'
import { joinAnswer, joinHello, type JoinHello, type JoinWelcome } from '../../protocols/join/messages.ts'
import { decodeToken, encodeToken, hashSecret, type Token } from '../../protocols/join/token.ts'

const FRAMES = join(import.meta.dirname, '../fixtures/frames')
const golden = (name: string): string => readFileSync(join(FRAMES, `${name}.hex`), 'utf8').trim()
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

const ISSUER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'
const ADDRESS = `/ip4/192.0.2.7/tcp/4711/p2p/${ISSUER}`
const secret = Uint8Array.from({ length: 32 }, (_, i) => i)

const hello: JoinHello = {
  tokenId: '01JZ0000000000000000000001',
  secret,
  name: 'p2',
  site: 'harbour',
  addresses: ['/ip4/192.0.2.8/tcp/4710'],
  version: 1,
}
const welcome: JoinWelcome = {
  meshId: '01JZ0000000000000000000002',
  siteId: 'abcd1234',
  founder: true,
  peers: [{ id: ISSUER, name: 'p1', site: 'harbour', addresses: [ADDRESS] }],
}
const refused: Failure = { code: 'TOKEN_REFUSED', why: 'used' }
const token: Token = {
  mesh: '01JZ0000000000000000000002',
  id: '01JZ0000000000000000000001',
  secret,
  issuer: ISSUER,
  addresses: [ADDRESS],
  expiresMs: 1_800_000_000_000,
  site: 'harbour',
}

const answer = { kind: 'welcome' as const, welcome }
const refusal = { kind: 'refused' as const, failure: encodeFailure(refused) }

const version1: [name: string, frame: Uint8Array, back: (frame: Uint8Array) => unknown, value: unknown][] = [
  ['join-hello', joinHello.encode(hello), (frame) => joinHello.decode(frame), hello],
  ['join-welcome', joinAnswer.encode(answer), (frame) => joinAnswer.decode(frame), answer],
  ['join-refused', joinAnswer.encode(refusal), (frame) => joinAnswer.decode(frame), refusal],
  [
    'join-token',
    Buffer.from(encodeToken(token)),
    (frame) => decodeToken(Buffer.from(frame).toString()),
    { ok: true, value: token },
  ],
]

for (const [name, frame, back, value] of version1) {
  test(`version 1 of ${name} keeps its bytes, and is read`, (t) => {
    t.is(hex(frame), golden(name))
    t.deepEqual(back(bytes(golden(name))), value)
  })
}

const text = encodeToken(token)
const spoiled: [what: string, text: string][] = [
  ['nothing', ''],
  ['another prefix', text.replace('gw1.', 'gw2.')],
  ['no prefix', text.slice(4)],
  ['a lost character', text.slice(0, -1)],
  ['a changed character', `${text.slice(0, 40)}${text[40] === 'A' ? 'B' : 'A'}${text.slice(41)}`],
  ['characters that are no base64url', `${text.slice(0, 40)}+/${text.slice(42)}`],
  ['more than a token may have', `gw1.${'A'.repeat(10_000)}`],
  ['a checksum of nothing', 'gw1.47DEQg'],
]

for (const [what, spoiledText] of spoiled) {
  test(`a token is refused with ${what}`, (t) =>
    t.deepEqual(decodeToken(spoiledText), {
      ok: false,
      failure: { code: 'TOKEN_REFUSED', why: 'malformed' },
    }))
}

test('a token may stand between spaces, and may name no site', (t) => {
  const { site: _, ...anywhere } = token
  t.deepEqual(decodeToken(` ${encodeToken({ ...anywhere, site: undefined })}\n`), {
    ok: true,
    value: anywhere,
  })
})

test('the hash of a secret is its SHA-256', (t) =>
  t.is(hashSecret(new Uint8Array(0)), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'))

const malformed: [what: string, frame: Uint8Array, at: string][] = [
  ['nothing', bytes(''), 'join-hello'],
  ['half a frame', joinHello.encode(hello).subarray(0, 20), 'join-hello'],
  [
    'no secret',
    bytes('81a7746f6b656e4964ba30314a5a30303030303030303030303030303030303030303031'),
    'join-hello.secret',
  ],
]

for (const [what, frame, at] of malformed) {
  test(`a hello is refused when it is ${what}`, (t) => {
    const error = t.throws(() => joinHello.decode(frame), { name: 'GodwitError' })
    t.like(error, { failure: { code: 'FRAME_INVALID', at } })
  })
}

testProp('any bytes are a token or a refusal', [fc.string({ unit: 'binary' })], (t, any) => {
  t.false(decodeToken(any).ok)
  t.false(decodeToken(`gw1.${Buffer.from(any).toString('base64url')}`).ok)
})

test('a failure comes back as it went; what this version does not know comes back as text', (t) => {
  const failures: Failure[] = [
    refused,
    { code: 'NO_HOST', vm: 'web', reasons: [{ host: 'p1', why: 'no memory' }] },
    { code: 'INTERNAL', why: 'x' },
  ]
  for (const failure of failures) t.deepEqual(decodeFailure(encodeFailure(failure)), failure)
  const unknown = encodeFailure({ code: 'FROM_TOMORROW', why: 'because' } as unknown as Failure)
  t.like(decodeFailure(unknown), { code: 'INTERNAL' })
  t.regex((decodeFailure(unknown) as { why: string }).why, /FROM_TOMORROW.*because/)
  const unprintable = encodeFailure({ code: 'NO_HOST', vm: 'web' } as Failure)
  t.is(decodeFailure(unprintable).code, 'INTERNAL')
  const huge = { code: 'NO_HOST' as const, vm: 'x', reasons: [{ host: 'p', why: 'y'.repeat(20_000) }] }
  t.is(decodeFailure(encodeFailure(huge)).code, 'INTERNAL')
})

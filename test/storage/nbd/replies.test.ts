import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { GodwitError } from '../../../protocols/errors.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { Intake } from '../../../storage/nbd/intake.ts'
import { admit, replies, type Run, type Transmission } from '../../../storage/nbd/replies.ts'
import { chunk, data, hole, refusal, simple, status } from './server.ts'

const KIB = 1024

type Came = Outcome<unknown> | undefined

/** A read of 8 bytes at 100 as cookie 0, another of 4 at 0 as 1, a status of 1 MiB as 2; two contexts. */
class Session {
  readonly into = [Buffer.alloc(8, 0xee), Buffer.alloc(4, 0xee)] as const
  readonly came: Came[] = [undefined, undefined, undefined]
  readonly #intake: Intake
  /** The most that the parser held for itself at a time. */
  heldBytes = 0

  constructor(structured = true) {
    const contexts = new Map([
      [1, 'base:allocation'],
      [2, 'qemu:dirty-bitmap:b'],
    ])
    const transmission: Transmission = { at: 'disk', agreed: { structured, contexts }, pending: new Map() }
    const done = (cookie: number) => (outcome: Outcome<unknown>) => {
      if (this.came[cookie] !== undefined) throw new Error('told twice')
      this.came[cookie] = outcome
    }
    for (const [cookie, into] of this.into.entries())
      admit(transmission.pending, BigInt(cookie), {
        kind: 'read',
        position: cookie === 0 ? 100 : 0,
        into,
        done: done(cookie),
      })
    const asking = { kind: 'status', position: 0, length: KIB * KIB, done: done(2) } as const
    admit(transmission.pending, 2n, asking)
    const parser = replies(transmission)
    const own = new Set(this.into.map(({ buffer }) => buffer as ArrayBufferLike))
    const next = parser.next.bind(parser)
    parser.next = () => {
      const step = next()
      if (!own.has(step.value.buffer)) this.heldBytes = Math.max(this.heldBytes, step.value.length)
      return step
    }
    this.#intake = new Intake(parser)
  }

  hear(said: Uint8Array, step = said.length): void {
    for (let at = 0; at < said.length; at += step) this.#intake.take(said.subarray(at, at + step))
  }
}

const ok = (value?: unknown): Came => ({ ok: true, value })
const runs = (...entries: [string, [number, number][]][]): Map<string, Run[]> =>
  new Map(entries.map(([name, all]) => [name, all.map(([length, flags]) => ({ length, flags }))]))

const told: [what: string, said: Buffer[], came: Came[], content: string][] = [
  ['a read', [data(0, 100, Buffer.from('abcdefgh'))], [ok()], 'abcdefgh'],
  [
    'pieces out of order, with a hole',
    [data(0, 106, Buffer.from('gh'), 0), data(0, 100, Buffer.from('ab'), 0), hole(0, 102, 4)],
    [ok()],
    'ab\0\0\0\0gh',
  ],
  [
    'pieces, and the end by itself',
    [data(0, 100, Buffer.from('abcdefgh'), 0), chunk(0, 0, Buffer.alloc(0))],
    [ok()],
    'abcdefgh',
  ],
  [
    'two reads in turns',
    [data(0, 104, Buffer.from('efgh'), 0), hole(1, 0, 4), data(0, 100, Buffer.from('abcd'))],
    [ok(), ok()],
    'abcdefgh',
  ],
  [
    'a status in two contexts, the last run past the end',
    [
      status(
        2,
        1,
        [
          [KIB, 0],
          [4 * KIB * KIB, 3],
        ],
        0,
      ),
      status(2, 2, [[KIB, 1]]),
    ],
    [
      undefined,
      undefined,
      ok(
        runs(
          [
            'base:allocation',
            [
              [KIB, 0],
              [KIB * KIB - KIB, 3],
            ],
          ],
          ['qemu:dirty-bitmap:b', [[KIB, 1]]],
        ),
      ),
    ],
    '\xee'.repeat(8),
  ],
]

for (const [what, said, came, content] of told)
  test(`${what} is told`, (t) => {
    for (const step of [1, 3, 1000]) {
      const session = new Session()
      session.hear(Buffer.concat(said), step)
      t.deepEqual(
        session.came,
        [0, 1, 2].map((i) => came[i]),
      )
      t.is(session.into[0].toString('latin1'), content)
    }
  })

const refused: [what: string, said: Buffer[], cookie: number, why: string][] = [
  ['a read', [refusal(0, 5, 'bad\tsector')], 0, 'NBD: error 5: bad?sector'],
  ['a read after half of it', [data(0, 100, Buffer.from('ab'), 0), refusal(0, 5, '')], 0, 'NBD: error 5'],
  ['a status by a simple reply', [simple(2, 22)], 2, 'NBD: error 22'],
  [
    'with an error that is newer than we',
    [chunk(0, 0x8005, Buffer.from([0, 0, 0, 5, 0, 1, 0x78, 1, 2, 3]))],
    0,
    'NBD: error 5: x',
  ],
]

for (const [what, said, cookie, why] of refused)
  test(`a server that refuses ${what} is heard, and the others go on`, (t) => {
    const session = new Session()
    session.hear(Buffer.concat(said))
    t.deepEqual(session.came[cookie], { ok: false, failure: { code: 'IO', path: 'disk', why } })
    session.hear(data(1, 0, Buffer.from('wxyz')))
    t.deepEqual(session.came[1], ok())
  })

test('without structured replies a read is one run of bytes, or an error', (t) => {
  const session = new Session(false)
  session.hear(Buffer.concat([simple(1, 5), simple(0, 0, Buffer.from('abcdefgh'))]), 5)
  t.like(session.came[1], { ok: false, failure: { why: 'NBD: error 5' } })
  t.deepEqual(session.came[0], ok())
  t.is(session.into[0].toString(), 'abcdefgh')
  t.throws(() => session.hear(chunk(0, 0, Buffer.alloc(0))), { message: /begins with 668e33ef/ })
})

const eight = Buffer.from('abcdefgh')

const faults: [what: string, said: Buffer[], why: RegExp][] = [
  ['other bytes', [Buffer.from('GET / HTTP/1.1')], /begins with 47455420/],
  ['an answer to nothing', [data(9, 100, eight)], /answer to nothing/],
  ['an answer twice', [data(0, 100, eight), data(0, 100, eight)], /answer to nothing/],
  ['a simple reply to a read', [simple(0, 0)], /structured one must be/],
  ['a simple success for a status', [simple(2, 0)], /structured one must be/],
  ['less than was asked for', [data(0, 100, eight.subarray(1))], /not whole/],
  ['nothing at all', [chunk(0, 0, Buffer.alloc(0))], /not whole/],
  [
    'a hole in the middle of an answer',
    [data(0, 100, eight.subarray(3), 0), data(0, 106, eight.subarray(6))],
    /not whole/,
  ],
  ['more than was asked for', [data(0, 100, Buffer.alloc(9))], /outside/],
  ['bytes from before', [data(0, 99, eight)], /outside/],
  ['bytes from far beyond', [hole(0, 2 ** 52, 1)], /outside/],
  ['a hole of 4 GiB', [hole(0, 100, 2 ** 32 - 1)], /outside/],
  ['a hole of nothing', [hole(0, 100, 0)], /outside/],
  ['bytes twice', [data(0, 100, eight, 0), hole(0, 107, 1)], /content twice/],
  [
    'bytes that overlap',
    [data(0, 102, eight.subarray(4), 0), data(0, 100, eight.subarray(5))],
    /content twice/,
  ],
  ['content without content', [chunk(0, 1, Buffer.alloc(8))], /nobody asked for/],
  ['content for a status', [data(2, 0, eight)], /nobody asked for/],
  ['a status for a read', [status(0, 1, [[8, 0]])], /nobody asked for/],
  ['a status of no length', [status(2, 1, [[0, 0]])], /outside/],
  ['a status of no runs', [status(2, 1, [])], /status of 4 bytes/],
  [
    'a status that goes on past the end',
    [
      status(2, 1, [
        [KIB * KIB, 0],
        [1, 0],
      ]),
    ],
    /outside/,
  ],
  ['a status in an unknown context', [status(2, 3, [[1, 0]])], /not agreed on, or twice/],
  ['a status twice', [status(2, 1, [[1, 0]], 0), status(2, 1, [[1, 0]])], /not agreed on, or twice/],
  ['a status that lacks a context', [status(2, 1, [[1, 0]])], /lacks a context/],
  ['a status of 4 GiB', [longChunk(2, 5)], /status of 4294967292 bytes/],
  ['an error of 4 GiB', [longChunk(0, 0x8001)], /error of 4294967292 bytes/],
  ['an error of no kind', [refusal(0, 0, '')], /error that is none/],
  [
    'an error shorter than its words',
    [chunk(0, 0x8001, Buffer.from([0, 0, 0, 5, 0, 9]))],
    /error that is none/,
  ],
  ['an end that is none', [chunk(0, 0, Buffer.alloc(0), 0)], /not the last/],
  ['a chunk of an unknown type', [chunk(0, 77, Buffer.alloc(0))], /type 77/],
]

function longChunk(cookie: number, kind: number): Buffer {
  const head = chunk(cookie, kind, Buffer.alloc(0))
  head.writeUInt32BE(2 ** 32 - 4, 16)
  return head
}

for (const [what, said, why] of faults)
  test(`${what} ends the connection`, (t) => {
    const session = new Session()
    const error = t.throws(() => session.hear(Buffer.concat(said)), { instanceOf: GodwitError })
    t.like(error?.failure, { code: 'IO', path: 'disk' })
    t.regex(error?.message ?? '', why)
    t.true(session.heldBytes < 8 * KIB, 'nothing was set aside for it')
  })

test('content in a thousand pieces with gaps between is refused', (t) => {
  const into = Buffer.alloc(4 * KIB)
  const pending: Transmission['pending'] = new Map()
  admit(pending, 0n, { kind: 'read', position: 0, into, done: () => t.fail() })
  const intake = new Intake(
    replies({ at: 'disk', agreed: { structured: true, contexts: new Map() }, pending }),
  )
  t.throws(
    () => {
      for (let at = 0; at < 4 * KIB; at += 2) intake.take(data(0, at, Buffer.of(1), 0))
    },
    { message: /too many pieces/ },
  )
})

const good = Buffer.concat([
  data(0, 104, Buffer.from('efgh'), 0),
  status(2, 1, [[KIB, 0]], 0),
  hole(1, 0, 4),
  status(2, 2, [[KIB, 1]]),
  data(0, 100, Buffer.from('abcd')),
])

testProp(
  'whatever is changed in replies: told once, waited for, or refused with a reason, and little is held for it',
  [
    fc.nat({ max: good.length - 1 }),
    fc.integer({ min: 0, max: 255 }),
    fc.nat({ max: good.length }),
    fc.integer({ min: 1, max: 64 }),
  ],
  (t, at, value, cut, step) => {
    const said = Uint8Array.from(good).subarray(0, cut)
    if (at < cut) said[at] = value
    const session = new Session()
    try {
      session.hear(said, step)
    } catch (error) {
      t.is((error as GodwitError).failure?.code, 'IO')
    }
    t.true(session.heldBytes <= 4 + 8 * 128 * KIB)
    const [first] = session.came
    if (first?.ok === true && cut === good.length && at >= cut) t.is(session.into[0].toString(), 'abcdefgh')
  },
  { numRuns: 400 },
)

/**
 * What every transport promises (protocols/transport.ts). `open` opens that many peers on links that lose nothing,
 * each allowed to and connected with all others.
 */
import test, { type ExecutionContext } from 'ava'
import type { Failure } from '../../protocols/errors.ts'
import { FRAME_BYTES_MAX, REQUESTS_PER_PEER_MAX } from '../../protocols/limits.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Channel, Transport } from '../../protocols/transport.ts'
import { outcomeOf, type Until } from './until.ts'

type Opened = {
  readonly peers: readonly Transport[]
  readonly until: Until
  close(): Promise<void>
}

type Open = (t: ExecutionContext, peers: number) => Promise<Opened>
type Pair = { a: Transport; b: Transport; until: Until }
type Check = (t: ExecutionContext, pair: Pair) => Promise<void>

const PROTOCOL = '/godwit/contract/1'
/** A well-formed peer id that nobody has. */
const STRANGER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'
const PATIENCE_MS = 10_000

const frameOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (frame: Uint8Array): string => new TextDecoder().decode(frame)
const textOr = (outcome: Outcome<Uint8Array>): string =>
  outcome.ok ? textOf(outcome.value) : outcome.failure.code

/** `length` bytes that tell frame `n` from every other. */
const patterned = (n: number, length: number): Uint8Array => new Uint8Array(length).fill(n % 251)
const isPatterned = (frame: Uint8Array, n: number, length: number): boolean =>
  frame.length === length && frame.every((byte) => byte === n % 251)

const ask = (
  { a, until }: Pair,
  to: string,
  text: string,
  timeoutMs = PATIENCE_MS,
): Promise<Outcome<Uint8Array>> =>
  outcomeOf<Uint8Array>(until, (done) => a.request(to, PROTOCOL, frameOf(text), timeoutMs, done))

const openChannel = ({ a, b, until }: Pair): Promise<Outcome<Channel>> =>
  outcomeOf<Channel>(until, (done) => a.open(b.self, PROTOCOL, done))

/** Both ends of a new channel. */
async function channels(t: ExecutionContext, pair: Pair): Promise<{ near: Channel; far: Channel }> {
  const accepted: Channel[] = []
  pair.b.serve(PROTOCOL, {
    channel: (from, channel) => {
      t.is(from, pair.a.self)
      t.is(channel.peer, pair.a.self)
      accepted.push(channel)
    },
  })
  const outcome = await openChannel(pair)
  if (!outcome.ok) throw new Error(`no channel: ${outcome.failure.code}`)
  await pair.until(() => accepted.length === 1, PATIENCE_MS)
  t.is(outcome.value.peer, pair.b.self)
  return { near: outcome.value, far: accepted[0] as Channel }
}

const frames: [what: string, check: Check][] = [
  [
    'delivers frames in order, and says whose they are',
    async (t, { a, b, until }) => {
      const lengths = Array.from({ length: 100 }, (_, n) => (n * 2_711) % 60_000)
      const heard: Uint8Array[] = []
      b.serve(PROTOCOL, {
        frame: (from, frame) => {
          t.is(from, a.self)
          heard.push(frame)
        },
      })
      lengths.forEach((length, n) => a.send(b.self, PROTOCOL, patterned(n, length)))
      await until(() => heard.length === lengths.length, PATIENCE_MS)
      lengths.forEach((length, n) => t.true(isPatterned(heard[n] as Uint8Array, n, length), `frame ${n}`))
    },
  ],
  [
    'delivers the largest frame',
    async (t, { a, b, until }) => {
      const lengths: number[] = []
      b.serve(PROTOCOL, { frame: (_, frame) => lengths.push(frame.length) })
      a.send(b.self, PROTOCOL, new Uint8Array(FRAME_BYTES_MAX))
      await until(() => lengths.length === 1, PATIENCE_MS)
      t.deepEqual(lengths, [FRAME_BYTES_MAX])
    },
  ],
  [
    'keeps protocols apart, and drops what nobody serves',
    async (t, { a, b, until }) => {
      const heard: string[] = []
      b.serve(PROTOCOL, { frame: (_, frame) => heard.push(textOf(frame)) })
      b.serve(`${PROTOCOL}/other`, { frame: (_, frame) => heard.push(`other ${textOf(frame)}`) })
      a.send(b.self, `${PROTOCOL}/nobody`, frameOf('x'))
      a.send(STRANGER, PROTOCOL, frameOf('x'))
      a.send(b.self, PROTOCOL, frameOf('y'))
      a.send(b.self, `${PROTOCOL}/other`, frameOf('z'))
      await until(() => heard.length === 2, PATIENCE_MS)
      t.deepEqual(heard.sort(), ['other z', 'y'])
    },
  ],
]

const requests: [what: string, check: Check][] = [
  [
    'answers a request, late or at once',
    async (t, pair) => {
      const { a, b, until } = pair
      const waiting: (() => void)[] = []
      b.serve(PROTOCOL, {
        request: (from, frame, reply) => {
          const answer = (): void => reply(ok(frameOf(`${textOf(frame)} from ${from}`)))
          if (textOf(frame) === 'at once') answer()
          else waiting.push(answer)
        },
      })
      const late: string[] = []
      a.request(b.self, PROTOCOL, frameOf('late'), PATIENCE_MS, (outcome) => late.push(textOr(outcome)))
      t.is(textOr(await ask(pair, b.self, 'at once')), `at once from ${a.self}`)
      await until(() => waiting.length === 1, PATIENCE_MS)
      t.deepEqual(late, [])
      waiting[0]?.()
      await until(() => late.length === 1, PATIENCE_MS)
      t.deepEqual(late, [`late from ${a.self}`])
    },
  ],
  [
    'carries a failure back as it is',
    async (t, pair) => {
      const failure: Failure = {
        code: 'NO_HOST',
        vm: 'web',
        reasons: [{ host: 'p1', why: 'no memory: 3 of 4 GiB' }],
      }
      pair.b.serve(PROTOCOL, { request: (_from, _frame, reply) => reply(failed(failure)) })
      t.deepEqual(await ask(pair, pair.b.self, 'x'), { ok: false, failure })
    },
  ],
  [
    'gives up at the deadline',
    async (t, pair) => {
      pair.b.serve(PROTOCOL, {
        request: (_, frame, reply) => {
          if (textOf(frame) === 'there?') reply(ok(frame))
        },
      })
      t.is(textOr(await ask(pair, pair.b.self, 'there?')), 'there?')
      t.is(textOr(await ask(pair, pair.b.self, 'x', 300)), 'TIMEOUT')
    },
  ],
  [
    'reaches no stranger',
    async (t, pair) => void t.is(textOr(await ask(pair, STRANGER, 'x', 1_000)), 'PEER_UNREACHABLE'),
  ],
  [
    'is refused where nobody serves',
    async (t, pair) => void t.is(textOr(await ask(pair, pair.b.self, 'x')), 'UNSUPPORTED'),
  ],
  [
    'refuses more than it may have in hand, and serves again after',
    async (t, { a, b, until }) => {
      const waiting: (() => void)[] = []
      b.serve(PROTOCOL, {
        request: (_, frame, reply) => waiting.push(() => reply(ok(frame))),
      })
      const heard: string[] = []
      const send = (n: number): void =>
        a.request(b.self, PROTOCOL, frameOf(String(n)), PATIENCE_MS, (outcome) => heard.push(textOr(outcome)))
      for (let n = 0; n <= REQUESTS_PER_PEER_MAX; n++) send(n)
      await until(() => waiting.length === REQUESTS_PER_PEER_MAX && heard.length === 1, PATIENCE_MS)
      t.deepEqual(heard, ['PEER_BUSY'])
      waiting.splice(0).forEach((answer) => answer())
      await until(() => heard.length === REQUESTS_PER_PEER_MAX + 1, PATIENCE_MS)
      t.deepEqual(
        heard.slice(1),
        Array.from({ length: REQUESTS_PER_PEER_MAX }, (_, n) => String(n)),
      )
      send(7)
      await until(() => waiting.length === 1, PATIENCE_MS)
      waiting[0]?.()
      await until(() => heard.at(-1) === '7', PATIENCE_MS)
    },
  ],
]

const bulk: [what: string, check: Check][] = [
  [
    'carries frames both ways, in order, and counts their bytes',
    async (t, pair) => {
      const { near, far } = await channels(t, pair)
      const there: string[] = []
      const back: string[] = []
      far.onFrame((frame) => {
        there.push(textOf(frame))
        far.send(frameOf(`re ${textOf(frame)}`))
      })
      near.onFrame((frame) => back.push(textOf(frame)))
      const sent = Array.from({ length: 50 }, (_, n) => `frame ${n}`)
      sent.forEach((text) => near.send(frameOf(text)))
      await pair.until(() => back.length === sent.length, PATIENCE_MS)
      t.deepEqual(there, sent)
      t.deepEqual(
        back,
        sent.map((text) => `re ${text}`),
      )
      const bytes = sent.join('').length
      for (const count of [near.sentBytes(), far.receivedBytes()])
        t.true(count >= bytes && count <= bytes + sent.length * 64, `${count} for ${bytes}`)
      for (const count of [far.sentBytes(), near.receivedBytes()]) t.true(count > bytes)
    },
  ],
  [
    'makes one frame of a head and its payload, between others',
    async (t, pair) => {
      const { near, far } = await channels(t, pair)
      const heard: Buffer[] = []
      far.onFrame((frame) => heard.push(Buffer.from(frame)))
      const said: [head: Uint8Array, payload?: Uint8Array][] = [
        [frameOf('alone')],
        [frameOf('head'), patterned(7, 300_000)],
        [frameOf('empty'), new Uint8Array(0)],
        [frameOf('last'), patterned(8, 1)],
      ]
      for (const [head, payload] of said) near.send(head, payload)
      await pair.until(() => heard.length === said.length, PATIENCE_MS)
      const expected = said.map(([head, payload]) => Buffer.concat([head, payload ?? new Uint8Array(0)]))
      t.true(heard.every((frame, n) => frame.equals(expected[n] as Buffer)))
      const bytes = expected.reduce((sum, { length }) => sum + length, 0)
      for (const count of [near.sentBytes(), far.receivedBytes()])
        t.true(count >= bytes && count <= bytes + said.length * 64, `${count} for ${bytes}`)
    },
  ],
  [
    'says when it is full, keeps what it took, and says when to go on',
    async (t, pair) => {
      const { near, far } = await channels(t, pair)
      const length = 256 * 1024
      let drained = 0
      near.onDrain(() => drained++)
      let sent = 0
      while (sent < 1_000 && near.send(patterned(sent++, length)));
      t.true(sent < 1_000, '250 MiB without being told to stop')
      // Whoever listens late loses nothing.
      const heard: boolean[] = []
      far.onFrame((frame) => heard.push(isPatterned(frame, heard.length, length)))
      await pair.until(() => drained > 0 && heard.length === sent, PATIENCE_MS)
      near.send(patterned(sent++, length))
      await pair.until(() => heard.length === sent, PATIENCE_MS)
      t.true(heard.every(Boolean))
    },
  ],
  [
    'delivers what was sent before it is closed, and closes once at both ends',
    async (t, pair) => {
      const { near, far } = await channels(t, pair)
      const said: string[] = []
      far.onFrame((frame) => said.push(textOf(frame)))
      far.onClose(() => said.push('far closed'))
      let closed = 0
      near.onClose(() => closed++)
      near.send(frameOf('last'))
      near.close()
      near.close()
      await pair.until(() => said.includes('far closed') && closed > 0, PATIENCE_MS)
      far.close()
      far.send(frameOf('too late'))
      t.deepEqual(said, ['last', 'far closed'])
      t.is(closed, 1)
    },
  ],
  [
    'is refused where nobody serves it, and reaches no stranger',
    async (t, pair) => {
      const refused = await openChannel(pair)
      t.like(refused, { ok: false, failure: { code: 'UNSUPPORTED' } })
      const lost = await outcomeOf<Channel>(pair.until, (done) => pair.a.open(STRANGER, PROTOCOL, done))
      t.like(lost, { ok: false, failure: { code: 'PEER_UNREACHABLE' } })
    },
  ],
]

const peers: [what: string, check: Check][] = [
  [
    'knows who is connected, how far away they are, and where it is itself',
    async (t, { a, b, until }) => {
      t.deepEqual(a.connected(), [b.self])
      t.deepEqual(b.connected(), [a.self])
      await until(() => a.rttMs(b.self) !== undefined && b.rttMs(a.self) !== undefined, PATIENCE_MS)
      t.true((a.rttMs(b.self) ?? -1) >= 0)
      t.is(a.rttMs(STRANGER), undefined)
      t.is(a.path(b.self), 'direct')
      t.is(a.path(STRANGER), undefined)
      t.true(a.addresses().length > 0)
      for (const address of a.addresses()) t.true(address.endsWith(`/p2p/${a.self}`), address)
    },
  ],
  [
    'parts from peers that are not allowed any more, and meets them when they are again',
    async (t, { a, b, until }) => {
      const seen: string[] = []
      const heard: string[] = []
      a.watch((peer, up) => seen.push(`${peer === b.self ? 'b' : peer} ${up ? 'up' : 'down'}`))
      b.serve(PROTOCOL, { frame: (_, frame) => heard.push(textOf(frame)) })
      const addresses = b.addresses()
      a.allow(new Map())
      await until(() => a.connected().length === 0 && b.connected().length === 0, PATIENCE_MS)
      a.send(b.self, PROTOCOL, frameOf('lost'))
      b.send(a.self, PROTOCOL, frameOf('lost'))
      t.like(await ask({ a, b, until }, b.self, 'lost', 500), { failure: { code: 'PEER_UNREACHABLE' } })
      a.allow(new Map([[b.self, addresses]]))
      await until(() => {
        a.send(b.self, PROTOCOL, frameOf('again'))
        return heard.length > 0
      }, PATIENCE_MS)
      t.is(heard[0], 'again')
      await until(() => seen.length >= 2, PATIENCE_MS)
      t.deepEqual(seen.slice(0, 2), ['b down', 'b up'])
    },
  ],
  [
    'tells who is none of the peers any more, once in a while, and hangs up on it like on every stranger',
    async (t, { a, b, until }) => {
      const told: string[] = []
      const heard: string[] = []
      b.serve('/godwit/contract-farewell/1', {
        frame: (from, frame) => told.push(`${textOf(frame)} ${from}`),
      })
      a.serve(PROTOCOL, { frame: () => heard.push('a frame'), request: () => heard.push('a request') })
      a.allow(new Map())
      a.part('/godwit/contract-farewell/1', new Map([[b.self, frameOf('farewell from')]]))
      await until(() => {
        b.send(a.self, PROTOCOL, frameOf('lost'))
        return told.length > 0 && b.connected().length === 0
      }, PATIENCE_MS)
      t.like(await ask({ a: b, b: a, until }, a.self, 'lost', 2_500), {
        failure: { code: 'PEER_UNREACHABLE' },
      })
      t.deepEqual(told, [`farewell from ${a.self}`])
      t.deepEqual(heard, [])
      t.deepEqual(a.connected(), [])
    },
  ],
  [
    'does not dial when it is told not to',
    async (t, { a, b, until }) => {
      const heard: string[] = []
      b.serve(PROTOCOL, { frame: (_, frame) => heard.push(textOf(frame)) })
      a.send(b.self, PROTOCOL, frameOf('on a connection that is there'), { dial: false })
      await until(() => heard.length === 1, PATIENCE_MS)
      t.is(heard.length, 1)
    },
  ],
  [
    'cuts off who sends too many bad frames',
    async (t, { a, b, until }) => {
      for (let n = 0; n < 19; n++) a.blame(b.self, 'not a frame')
      t.deepEqual(a.connected(), [b.self])
      for (let n = 0; n < 10; n++) a.blame(b.self, 'not a frame')
      await until(() => a.connected().length === 0, PATIENCE_MS)
      t.like(await ask({ a, b, until }, b.self, 'x', 500), { failure: { code: 'PEER_UNREACHABLE' } })
    },
  ],
]

export function contract(name: string, open: Open): void {
  for (const [what, check] of [...frames, ...requests, ...bulk, ...peers]) {
    test.serial(`${name}: ${what}`, async (t) => {
      const opened = await open(t, 2)
      const [a, b] = opened.peers as [Transport, Transport]
      try {
        await check(t, { a, b, until: opened.until })
      } finally {
        await opened.close()
      }
    })
  }
}

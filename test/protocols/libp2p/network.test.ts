/** What the adapters promise beyond their ports' contracts: who is let in, what is bounded, what bad bytes cost. */
import { identify } from '@libp2p/identify'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import test, { type ExecutionContext } from 'ava'
import { createLibp2p } from 'libp2p'
import { SEND_QUEUE_FRAMES_MAX } from '../../../protocols/limits.ts'
import { loadPrivateKey, newPrivateKey, peerIdOf } from '../../../protocols/libp2p/identity.ts'
import { openNetwork, type Network } from '../../../protocols/libp2p/node.ts'
import { stack } from '../../../protocols/libp2p/stack.ts'
import type { Channel } from '../../../protocols/transport.ts'
import type { Verdict } from '../../../protocols/broadcast.ts'
import { realUntil as until } from '../../contracts/until.ts'
import { introduce, openMesh, openOne } from './mesh.ts'

const PROTOCOL = '/godwit/test/1'
const PATIENCE_MS = 15_000
/** yamux's. */
const FIRST_WINDOW_BYTES = 256 * 1024
const text = (frame: Uint8Array): string => new TextDecoder().decode(frame)
const frame = (said: string): Uint8Array => new TextEncoder().encode(said)

type Closing = { close(): Promise<void> }
const closeAfter = (t: ExecutionContext, ...all: Closing[]): void =>
  t.teardown(async () => void (await Promise.all(all.map((each) => each.close()))))

/** A libp2p node that is none of ours: what a stranger, or a peer gone wrong, can do. */
async function openRaw(t: ExecutionContext, privateKey = newPrivateKey()): Promise<Libp2p> {
  const raw = await createLibp2p({
    ...stack,
    privateKey: loadPrivateKey(privateKey),
    services: { identify: identify() },
  })
  t.teardown(() => Promise.resolve(raw.stop()))
  return raw
}

const dial = (raw: Libp2p, { transport }: Network): Promise<Connection> =>
  raw.dial(multiaddr(transport.addresses()[0]), { signal: AbortSignal.timeout(5_000) })

test.serial('a stranger is refused before any protocol runs', async (t) => {
  const network = await openOne()
  closeAfter(t, network)
  const stranger = await openRaw(t)
  const identified: unknown[] = []
  stranger.addEventListener('peer:identify', (event) => identified.push(event))
  const closed = await dial(stranger, network).then(
    (connection) =>
      new Promise<boolean>((resolve) => {
        if (connection.status !== 'open') resolve(true)
        connection.addEventListener('close', () => resolve(true))
        connection.newStream('/ipfs/id/1.0.0').then(
          () => resolve(false),
          () => {},
        )
      }),
    () => true,
  )
  t.true(closed)
  t.deepEqual(identified, [])
  t.deepEqual(network.transport.connected(), [])
})

test.serial('a peer that is not allowed is not dialled either', async (t) => {
  const [a, b] = [await openOne(), await openOne()]
  closeAfter(t, a, b)
  b.transport.allow(new Map([[a.transport.self, []]]))
  const heard: string[] = []
  b.transport.serve(PROTOCOL, { frame: (_, each) => heard.push(text(each)) })
  a.transport.send(b.transport.self, PROTOCOL, frame('x'))
  a.transport.allow(new Map([[b.transport.self, b.transport.addresses()]]))
  a.transport.send(b.transport.self, PROTOCOL, frame('y'))
  await until(() => heard.length > 0, PATIENCE_MS)
  t.deepEqual(heard, ['y'])
})

test.serial('frames that wait for a connection are bounded; the newest are kept', async (t) => {
  const [a, b] = [await openOne(), await openOne()]
  closeAfter(t, a, b)
  const heard: number[] = []
  b.transport.serve(PROTOCOL, { frame: (_, each) => heard.push(Number(text(each))) })
  introduce([a, b])
  const count = SEND_QUEUE_FRAMES_MAX + 100
  for (let n = 0; n < count; n++) a.transport.send(b.transport.self, PROTOCOL, frame(String(n)))
  await until(() => heard.at(-1) === count - 1, PATIENCE_MS)
  t.deepEqual(
    heard,
    Array.from({ length: SEND_QUEUE_FRAMES_MAX }, (_, n) => n + 100),
  )
})

// Goal: what an encrypter holds back comes in time. Method: four times the first window in small frames that nobody answers, as
// many at a time as may wait.
test.serial('small frames that are not answered use no window up', async (t) => {
  const { networks, close } = await openMesh(2)
  closeAfter(t, { close })
  const [a, b] = networks as [Network, Network]
  let heard = 0
  b.transport.serve(PROTOCOL, { frame: () => heard++ })
  const small = new Uint8Array(1_024)
  const wanted = (4 * FIRST_WINDOW_BYTES) / small.length
  for (let sent = 0; sent < wanted; await until(() => heard === sent, PATIENCE_MS))
    for (let n = 0; n < SEND_QUEUE_FRAMES_MAX; n++, sent++)
      a.transport.send(b.transport.self, PROTOCOL, small)
  t.true(heard >= wanted)
})

const badBytes: [what: string, send: (stream: Stream) => void, blamed: RegExp][] = [
  [
    'a frame that says it is too long',
    (stream) => void stream.send(Uint8Array.of(255, 255, 255, 255)),
    /too long/,
  ],
  [
    'a frame that is cut short',
    (stream) => {
      stream.send(Uint8Array.of(0, 0, 0, 9, 1))
      void stream.close()
    },
    /cut short/,
  ],
]

for (const [what, send, blamed] of badBytes) {
  test.serial(`${what} is dropped, and in the end costs its sender the connection`, async (t) => {
    const lines: string[] = []
    const network = await openNetwork({
      privateKey: newPrivateKey(),
      meshId: '01JZZZZZZZZZZZZZZZZZZZZZZZ',
      listen: ['/ip4/127.0.0.1/tcp/0'],
      mdns: false,
      log: (line) => lines.push(line),
    })
    closeAfter(t, network)
    const key = newPrivateKey()
    network.transport.serve(PROTOCOL, { frame: () => t.fail('that was no frame') })
    network.transport.allow(new Map([[peerIdOf(key), []]]))
    const connection = await dial(await openRaw(t, key), network)
    for (let n = 1; n <= 21; n++) {
      const stream = await connection.newStream(`${PROTOCOL}/frame`)
      send(stream)
      await until(() => lines.filter((line) => blamed.test(line)).length === n, PATIENCE_MS)
    }
    await until(() => connection.status !== 'open', PATIENCE_MS)
    t.deepEqual(network.transport.connected(), [])
    t.true(lines.some((line) => /dropped, too many bad frames/.test(line)))
  })
}

// Goal: a receiver that does not read for half a second is waited for. yamux's defaults abort it: its read buffer is
// smaller than its window. Method: 64 MiB at once, four times the window, to a channel that nobody reads at first.
for (const bulkListen of [[], ['/ip4/127.0.0.1/tcp/0']])
  test.serial(
    `a channel whose receiver pauses under load is not aborted, ${bulkListen.length > 0 ? 'on a socket' : 'on a stream'}`,
    async (t) => {
      const mesh = await openMesh(2, { bulkListen })
      closeAfter(t, mesh)
      const [a, b] = mesh.networks as [Network, Network]
      const accepted: Channel[] = []
      b.transport.serve(PROTOCOL, { channel: (_, channel) => accepted.push(channel) })
      const near = await new Promise<Channel>((resolve, reject) => {
        a.transport.open(b.transport.self, PROTOCOL, (outcome) =>
          outcome.ok ? resolve(outcome.value) : reject(new Error(outcome.failure.code)),
        )
      })
      let closed = false
      near.onClose(() => (closed = true))
      const piece = new Uint8Array(256 * 1024)
      const count = 256
      let sent = 0
      const pump = (): void => {
        while (sent < count) {
          sent++
          if (!near.send(piece)) return
        }
      }
      near.onDrain(pump)
      pump()
      await until(() => accepted.length === 1, PATIENCE_MS)
      const pausedMs = performance.now() + 500
      await until(() => performance.now() > pausedMs, PATIENCE_MS)
      t.true(sent < count, 'a sender is told to stop before everything is in somebody’s memory')
      let received = 0
      accepted[0]?.onFrame((each) => (received += each.length))
      await until(() => received === count * piece.length, PATIENCE_MS)
      t.false(closed)
    },
  )

test.serial('bulk has a connection of its own, which later channels share', async (t) => {
  const mesh = await openMesh(2, { bulkListen: [] })
  closeAfter(t, mesh)
  const [a, b] = mesh.networks as [Network, Network]
  const lines: string[] = []
  b.transport.serve(PROTOCOL, {
    channel: (_, channel) => channel.onFrame((each) => lines.push(text(each))),
    frame: (_, each) => lines.push(text(each)),
  })
  const open = (): Promise<Channel> =>
    new Promise((resolve, reject) => {
      a.transport.open(b.transport.self, PROTOCOL, (outcome) =>
        outcome.ok ? resolve(outcome.value) : reject(new Error(outcome.failure.code)),
      )
    })
  const channels = await Promise.all([open(), open(), open()])
  channels.forEach((channel) => channel.send(frame('bulk')))
  a.transport.send(b.transport.self, PROTOCOL, frame('small'))
  await until(() => lines.length === 4, PATIENCE_MS)
  t.deepEqual(lines.sort(), ['bulk', 'bulk', 'bulk', 'small'])
  t.deepEqual(a.transport.connected(), [b.transport.self])
})

test.serial('what a hop rejects goes no further', async (t) => {
  const networks = [await openOne(), await openOne(), await openOne()] as [Network, Network, Network]
  closeAfter(t, ...networks)
  const [author, hop, far] = networks
  const addresses = (network: Network): [string, string[]] => [
    network.transport.self,
    network.transport.addresses(),
  ]
  // The author refuses the far one, so that all it says goes over the hop.
  author.transport.allow(new Map([addresses(hop)]))
  hop.transport.allow(new Map([addresses(author), addresses(far)]))
  far.transport.allow(new Map([addresses(hop), [author.transport.self, []]]))
  const heard: string[] = []
  const judge = (said: string): Verdict => (said === 'bad' ? 'reject' : said === 'dull' ? 'ignore' : 'accept')
  author.broadcast.subscribe('t', () => 'accept')
  hop.broadcast.subscribe('t', (_, each) => judge(text(each)))
  far.broadcast.subscribe('t', (from, each) => {
    t.is(from, author.transport.self)
    heard.push(text(each))
    return 'accept'
  })
  let attempt = 0
  let nextMs = 0
  const say = (said: string) => (): boolean => {
    if (performance.now() > nextMs) {
      author.broadcast.publish('t', frame(said.replace('#', String(attempt++))))
      nextMs = performance.now() + 100
    }
    return heard.some((each) => each.startsWith(said.replace('#', '')))
  }
  await until(say('first #'), PATIENCE_MS)
  for (const said of ['bad', 'dull', 'bad']) author.broadcast.publish('t', frame(said))
  await until(say('then #'), PATIENCE_MS)
  t.false(heard.includes('bad'))
  t.false(heard.includes('dull'))
})

test.serial('an address that is in use is named', async (t) => {
  const network = await openOne()
  closeAfter(t, network)
  const listen = [network.transport.addresses()[0]?.replace(/\/p2p\/.*/, '') ?? '']
  const error = await t.throwsAsync(
    openNetwork({ privateKey: newPrivateKey(), meshId: '01JZZZZZZZZZZZZZZZZZZZZZZZ', listen, mdns: false }),
    { name: 'GodwitError' },
  )
  t.like(error, { failure: { code: 'ADDRESS_IN_USE', address: listen[0] } })
})

/** Sockets for bulk: who gets one, who does not, and what happens where there is no way in. */
import { once } from 'node:events'
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net'
import { connect } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import type { BulkAnswer } from '../../../protocols/bulk/messages.ts'
import type { PeerId } from '../../../protocols/ids.ts'
import {
  BULK_HANDSHAKES_PER_ADDRESS_MAX,
  BULK_TICKET_MS,
  BULK_TICKETS_MAX,
} from '../../../protocols/limits.ts'
import { BulkSockets } from '../../../protocols/libp2p/bulk-sockets.ts'
import type { Network } from '../../../protocols/libp2p/node.ts'
import { Shaper } from '../../../protocols/libp2p/shaper.ts'
import { Tickets } from '../../../protocols/libp2p/tickets.ts'
import type { Libp2pTransport } from '../../../protocols/libp2p/transport.ts'
import type { Channel } from '../../../protocols/transport.ts'
import { realUntil as until } from '../../contracts/until.ts'
import { openMesh } from './mesh.ts'

const PROTOCOL = '/godwit/test/1'
const HOST = '127.0.0.1'
const PATIENCE_MS = 10_000

test('a ticket is good once, for a while, for a peer that is still admitted', (t) => {
  let nowMs = 0
  const tickets = new Tickets(() => nowMs)
  const give = (peer: PeerId): string => tickets.give(peer, PROTOCOL)?.identity ?? 'none'
  const [first, second, third] = [give('a'), give('a'), give('b')]
  t.like(tickets.take(first), { peer: 'a', protocol: PROTOCOL })
  t.is(tickets.take(first), undefined)
  tickets.forget('b')
  t.is(tickets.take(third), undefined)
  nowMs += BULK_TICKET_MS
  t.is(tickets.take(second), undefined)
})

test('tickets of one peer are bounded, until they end', (t) => {
  let nowMs = 0
  const tickets = new Tickets(() => nowMs)
  for (let n = 0; n < BULK_TICKETS_MAX; n++) t.not(tickets.give('a', PROTOCOL), undefined)
  t.is(tickets.give('a', PROTOCOL), undefined)
  t.not(tickets.give('b', PROTOCOL), undefined)
  nowMs += BULK_TICKET_MS
  t.not(tickets.give('a', PROTOCOL), undefined)
})

type End = { readonly sockets: BulkSockets; readonly accepted: Channel[]; admitted: boolean }

async function openEnd(t: ExecutionContext): Promise<End> {
  const sockets = await BulkSockets.open([`/ip4/${HOST}/tcp/0`], () => {})
  t.teardown(() => sockets.close())
  const end: End = { sockets, accepted: [], admitted: true }
  const shaper = new Shaper()
  t.teardown(() => shaper.close())
  sockets.start({
    shaper,
    admits: () => end.admitted,
    blame: (_, why) => t.fail(why),
    opened: (_, __, channel) => end.accepted.push(channel),
  })
  return end
}

/** What a peer has in hand after it asked. */
const given = ({ sockets }: End): BulkAnswer => sockets.give('b', PROTOCOL) as BulkAnswer

test('who has the key gets a channel; a second time it is worth nothing', async (t) => {
  const [near, far] = [await openEnd(t), await openEnd(t)]
  const answer = given(far)
  const channel = await near.sockets.dial('far', HOST, answer)
  t.not(channel, undefined)
  await until(() => far.accepted.length === 1, PATIENCE_MS)
  t.is(far.accepted[0]?.peer, 'b')
  t.is(await near.sockets.dial('far', HOST, answer), undefined)
  t.is(far.accepted.length, 1)
})

const impostors: [what: string, change: (answer: BulkAnswer) => BulkAnswer][] = [
  ['another key', (answer) => ({ ...answer, key: new Uint8Array(32) })],
  ['a name that was never given', (answer) => ({ ...answer, identity: '0'.repeat(32) })],
]
for (const [what, change] of impostors)
  test(`${what} gets nothing`, async (t) => {
    const [near, far] = [await openEnd(t), await openEnd(t)]
    t.is(await near.sockets.dial('far', HOST, change(given(far))), undefined)
    t.deepEqual(far.accepted, [])
  })

test('a client without any key, or with an older TLS, gets nothing', async (t) => {
  const far = await openEnd(t)
  const [port = 0] = given(far).ports
  for (const options of [{}, { maxVersion: 'TLSv1.2' as const }]) {
    const socket = connect({ host: HOST, port, rejectUnauthorized: false, ...options })
    const [error] = (await once(socket, 'error')) as [Error]
    t.truthy(error)
  }
  t.deepEqual(far.accepted, [])
})

test('a peer that answers with another key than it gave is not believed', async (t) => {
  const near = await openEnd(t)
  const impostor = createServer((socket) => void socket.on('error', () => {}).end('no TLS'))
  t.teardown(() => void impostor.close())
  await new Promise<void>((resolve) => impostor.listen(0, HOST, resolve))
  const { port } = impostor.address() as AddressInfo
  t.is(await near.sockets.dial('far', HOST, { ...given(near), ports: [port] }), undefined)
})

test('a peer that is not admitted any more has no socket and no ticket left', async (t) => {
  const [near, far] = [await openEnd(t), await openEnd(t)]
  const channel = (await near.sockets.dial('far', HOST, given(far))) as Channel
  let closed = false
  channel.onClose(() => (closed = true))
  await until(() => far.accepted.length === 1, PATIENCE_MS)
  const unused = given(far)
  far.sockets.drop('b')
  await until(() => closed, PATIENCE_MS)
  t.is(await near.sockets.dial('far', HOST, unused), undefined)
  const late = given(far)
  far.admitted = false
  const refused = await near.sockets.dial('far', HOST, late)
  // The handshake may be over at this end before the other one hangs up.
  let ended = refused === undefined
  refused?.onClose(() => (ended = true))
  await until(() => ended, PATIENCE_MS)
  t.is(far.accepted.length, 1)
})

test('strangers who say nothing are few, and not for long', async (t) => {
  const far = await openEnd(t)
  const [port = 0] = given(far).ports
  let open = 0
  const strangers: Socket[] = []
  for (let n = 0; n < BULK_HANDSHAKES_PER_ADDRESS_MAX + 8; n++) {
    const socket = connectTcp({ host: HOST, port })
    socket.on('error', () => {}).on('close', () => open--)
    strangers.push(socket)
    await once(socket, 'connect')
    open++
  }
  await until(() => open === BULK_HANDSHAKES_PER_ADDRESS_MAX, PATIENCE_MS)
  t.is(open, BULK_HANDSHAKES_PER_ADDRESS_MAX)
  await until(() => open === 0, PATIENCE_MS)
  const near = await openEnd(t)
  t.not(await near.sockets.dial('far', HOST, given(far)), undefined)
})

const openChannel = (from: Network, to: Network): Promise<Channel> =>
  new Promise((resolve, reject) => {
    from.transport.open(to.transport.self, PROTOCOL, (outcome) =>
      outcome.ok ? resolve(outcome.value) : reject(new Error(outcome.failure.code)),
    )
  })
/** Channels between the two that libp2p carries. */
const streams = (from: Network, to: Network): number =>
  (from.transport as Libp2pTransport).connections
    .to(to.transport.self)
    .flatMap((connection) => connection.streams)
    .filter(({ protocol }) => protocol === `${PROTOCOL}/channel`).length

test.serial('a channel has a socket, and libp2p is left alone', async (t) => {
  const { networks, close } = await openMesh(2)
  t.teardown(close)
  const [a, b] = networks as [Network, Network]
  const heard: number[] = []
  b.transport.serve(PROTOCOL, {
    channel: (_, channel) => channel.onFrame((frame) => heard.push(frame.length)),
  })
  const channel = await openChannel(a, b)
  channel.send(new Uint8Array(5), new Uint8Array(300_000))
  await until(() => heard.length === 1, PATIENCE_MS)
  t.deepEqual(heard, [300_005])
  t.is(streams(a, b), 0)
  let closed = false
  channel.onClose(() => (closed = true))
  b.transport.allow(new Map())
  await until(() => closed, PATIENCE_MS)
})

test.serial('a peer without sockets is met by streams, and not asked again at once', async (t) => {
  const { networks, close } = await openMesh(1)
  const other = await openMesh(1, { bulkListen: [] })
  t.teardown(async () => void (await Promise.all([close(), other.close()])))
  const [a, b] = [networks[0] as Network, other.networks[0] as Network]
  a.transport.allow(new Map([[b.transport.self, b.transport.addresses()]]))
  b.transport.allow(new Map([[a.transport.self, a.transport.addresses()]]))
  await until(() => a.transport.connected().length === 1, PATIENCE_MS)
  const accepted: Channel[] = []
  for (const { transport } of [a, b])
    transport.serve(PROTOCOL, { channel: (_, channel) => accepted.push(channel) })
  await openChannel(a, b)
  t.is(streams(a, b), 1)
  const askedMs = performance.now()
  await openChannel(a, b)
  t.true(performance.now() - askedMs < 1_000)
  await openChannel(b, a)
  await until(() => accepted.length === 3, PATIENCE_MS)
  t.is(accepted.length, 3)
})

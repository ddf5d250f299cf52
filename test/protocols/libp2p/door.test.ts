/** The door: who asks with a token gets an answer; strangers get little, and nothing but the join protocol. */
import type { Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import test, { type ExecutionContext } from 'ava'
import { createLibp2p } from 'libp2p'
import type { Failure } from '../../../protocols/errors.ts'
import type { JoinHello, JoinWelcome } from '../../../protocols/join/messages.ts'
import type { Token } from '../../../protocols/join/token.ts'
import { openDoor, requestJoin, type Door } from '../../../protocols/libp2p/door.ts'
import { loadPrivateKey, newPrivateKey, peerIdOf } from '../../../protocols/libp2p/identity.ts'
import { stack } from '../../../protocols/libp2p/stack.ts'
import { failed, ok, type Done, type Outcome } from '../../../protocols/outcome.ts'
import { realUntil as until } from '../../contracts/until.ts'

const issuer = newPrivateKey()
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
  founder: false,
  peers: [{ id: peerIdOf(issuer), name: 'p1', site: 'harbour', addresses: [] }],
}

type Handler = (from: string, hello: JoinHello, remoteAddress: string, reply: Done<JoinWelcome>) => void

async function open(t: ExecutionContext, handler: Handler): Promise<Door> {
  const door = await openDoor({ privateKey: issuer, listen: ['/ip4/127.0.0.1/tcp/0'], handler })
  t.teardown(() => door.close())
  return door
}

const tokenFor = (addresses: string[], by = peerIdOf(issuer)): Token => ({
  mesh: welcome.meshId,
  id: hello.tokenId,
  secret,
  issuer: by,
  addresses,
  expiresMs: 0,
})

const join = (token: Token, privateKey = newPrivateKey()): Promise<Outcome<JoinWelcome>> =>
  requestJoin({ token, privateKey, hello, timeoutMs: 8_000 })

async function openRaw(t: ExecutionContext): Promise<Libp2p> {
  const raw = await createLibp2p({ ...stack, privateKey: loadPrivateKey(newPrivateKey()) })
  t.teardown(() => Promise.resolve(raw.stop()))
  return raw
}

test.serial('who asks is known by its key, and is welcomed', async (t) => {
  const asked: [from: string, hello: JoinHello, address: string][] = []
  const door = await open(t, (from, said, address, reply) => {
    asked.push([from, said, address])
    reply(ok(welcome))
  })
  const joiner = newPrivateKey()
  t.deepEqual(await join(tokenFor(door.addresses()), joiner), ok(welcome))
  t.deepEqual(asked, [[peerIdOf(joiner), hello, 'ip4/127.0.0.1']])
})

const refusals: Failure[] = [
  { code: 'TOKEN_REFUSED', why: 'unknown' },
  { code: 'TOKEN_REFUSED', why: 'expired' },
  { code: 'NO_LEADER', group: 'mesh', afterMs: 2_000 },
]

test.serial('a refusal comes back as it is', async (t) => {
  const next = [...refusals]
  const door = await open(t, (_from, _hello, _address, reply) => reply(failed(next.shift() as Failure)))
  for (const failure of refusals) t.deepEqual(await join(tokenFor(door.addresses())), failed(failure))
})

test.serial('a mesh too large for one answer is told in part', async (t) => {
  const peer = {
    id: peerIdOf(issuer),
    name: 'a-peer-with-a-name',
    site: 'harbour',
    addresses: ['/ip4/192.0.2.8/tcp/4710'],
  }
  const peers = Array.from({ length: 16_000 }, () => peer)
  const door = await open(t, (_from, _hello, _address, reply) => reply(ok({ ...welcome, peers })))
  const outcome = await join(tokenFor(door.addresses()))
  t.true(outcome.ok && outcome.value.peers.length > 1_000 && outcome.value.peers.length < 16_000)
})

test.serial('a token names its issuer: another peer at that address is not believed', async (t) => {
  const door = await open(t, () => t.fail('nobody asked'))
  const outcome = await join(tokenFor(door.addresses(), peerIdOf(newPrivateKey())))
  t.like(outcome, { ok: false, failure: { code: 'PEER_UNREACHABLE' } })
})

test.serial('the sixth attempt in a minute from one address has to wait', async (t) => {
  let asked = 0
  const door = await open(t, (_from, _hello, _address, reply) => {
    asked++
    reply(failed({ code: 'TOKEN_REFUSED', why: 'unknown' }))
  })
  for (let n = 0; n < 5; n++) await join(tokenFor(door.addresses()))
  const sixth = await join(tokenFor(door.addresses()))
  t.like(sixth, { ok: false, failure: { code: 'RATE_LIMITED' } })
  t.is(asked, 5)
})

test.serial('nobody answers at a door that is closed', async (t) => {
  const door = await open(t, () => t.fail('nobody asked'))
  const addresses = door.addresses()
  await door.close()
  t.like(await join(tokenFor(addresses)), { ok: false, failure: { code: 'PEER_UNREACHABLE' } })
})

test.serial('nothing but the join protocol is served, and what is no hello is told so', async (t) => {
  const door = await open(t, () => t.fail('nobody asked'))
  const raw = await openRaw(t)
  const connection = await raw.dial(multiaddr(door.addresses()[0]))
  for (const protocol of ['/ipfs/id/1.0.0', '/ipfs/ping/1.0.0', '/godwit/kad/1', '/meshsub/1.1.0'])
    await t.throwsAsync(connection.newStream(protocol), { name: 'UnsupportedProtocolError' })
  const stream = await connection.newStream('/godwit/join/1')
  const answer: number[] = []
  stream.addEventListener('message', ({ data }) => answer.push(...data.subarray()))
  stream.send(Uint8Array.of(0, 0, 0, 1, 0xc0))
  await until(() => answer.length > 4, 5_000)
  t.regex(Buffer.from(answer).toString('latin1'), /FRAME_INVALID/)
})

test.serial('strangers cannot fill the doorway from one address', async (t) => {
  const door = await open(t, () => t.fail('nobody asked'))
  const raws = await Promise.all(Array.from({ length: 6 }, () => openRaw(t)))
  const dialled = await Promise.allSettled(raws.map((raw) => raw.dial(multiaddr(door.addresses()[0]))))
  const open4 = (): number =>
    dialled.filter((each) => each.status === 'fulfilled' && each.value.status === 'open').length
  await until(() => open4() === 4, 5_000)
  t.is(open4(), 4)
})

/** What of the adapter is a rule: framing, the gate's counting, attempts at the door, keys. */
import { fc, testProp } from '@fast-check/ava'
import type { PeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import test from 'ava'
import { BAD_FRAMES_PER_MINUTE_MAX, FRAME_BYTES_MAX, REFUSED_MS } from '../../../protocols/limits.ts'
import { Attempts } from '../../../protocols/libp2p/door.ts'
import { FrameReader, packFrame } from '../../../protocols/libp2p/frames.ts'
import { Gate } from '../../../protocols/libp2p/gate.ts'
import { loadPrivateKey, newPrivateKey, peerIdOf, seedOf } from '../../../protocols/libp2p/identity.ts'
import { peerId } from '../../../protocols/ids.ts'

testProp(
  'frames are read as they were packed, however the stream cuts them',
  [fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), fc.integer({ min: 1, max: 97 })],
  (t, frames, step) => {
    const stream = Buffer.concat(frames.map((frame) => packFrame(frame)))
    const heard: Uint8Array[] = []
    const reader = new FrameReader((frame) => heard.push(frame))
    for (let at = 0; at < stream.length; at += step) t.true(reader.push(stream.subarray(at, at + step)))
    t.false(reader.partial)
    t.deepEqual(
      heard.map((frame) => [...frame]),
      frames.map((frame) => [...frame]),
    )
  },
)

test('a reader keeps no frame that is too long, and knows when it stands in the middle of one', (t) => {
  const reader = new FrameReader(() => t.fail('no frame was sent'))
  t.true(reader.push(Uint8Array.of(0, 0)))
  t.true(reader.partial)
  const long = Buffer.alloc(4)
  long.writeUInt32BE(FRAME_BYTES_MAX + 17)
  t.false(new FrameReader(() => t.fail()).push(long))
})

test('the gate admits who is allowed, until it sends too many bad frames in a minute', (t) => {
  const clock = { nowMs: 0 }
  const gate = new Gate('self', () => clock.nowMs)
  gate.allow(new Map(['self', 'a', 'b'].map((peer) => [peer, []])))
  t.deepEqual(gate.peers(), ['a', 'b'])
  t.false(gate.admits('self'))
  t.false(gate.admits('stranger'))
  t.false(gate.blame('stranger'))

  for (let n = 0; n < BAD_FRAMES_PER_MINUTE_MAX; n++) t.false(gate.blame('a'))
  clock.nowMs = 60_000
  t.is(gate.badFrames('a'), 0, 'a minute later nothing is left of them')
  for (let n = 0; n < BAD_FRAMES_PER_MINUTE_MAX; n++) t.false(gate.blame('a'))
  t.is(gate.badFrames('a'), BAD_FRAMES_PER_MINUTE_MAX)
  t.true(gate.blame('a'))
  t.deepEqual(gate.peers(), ['b'])
  clock.nowMs += REFUSED_MS
  t.true(gate.admits('a'))
})

test('a peer that is removed and allowed again starts without a past', (t) => {
  const gate = new Gate('self', () => 0)
  const allowed = new Map([['a', []]])
  gate.allow(allowed)
  for (let n = 0; n <= BAD_FRAMES_PER_MINUTE_MAX; n++) gate.blame('a')
  t.false(gate.admits('a'))
  gate.allow(new Map())
  gate.allow(allowed)
  t.true(gate.admits('a'))
})

test('a relay gives slots and circuits to the admitted only, and no end takes a stranger from it', async (t) => {
  const [a, b, stranger] = [1, 2, 3].map(() => peerIdFromString(peerIdOf(newPrivateKey()))) as [
    PeerId,
    PeerId,
    PeerId,
  ]
  const gate = new Gate('self')
  gate.allow(new Map([a, b].map((peer) => [peer.toString(), []])))
  const gater = gate.gater()
  t.false(await gater.denyInboundRelayReservation?.(a))
  t.true(await gater.denyInboundRelayReservation?.(stranger))
  const circuits: [from: PeerId, to: PeerId, denied: boolean][] = [
    [a, b, false],
    [a, stranger, true],
    [stranger, b, true],
  ]
  for (const [from, to, denied] of circuits) {
    t.is(await gater.denyOutboundRelayedConnection?.(from, to), denied)
    t.is(await gater.denyInboundRelayedConnection?.(from, to), denied)
  }
})

const attempts: [what: string, address: (n: number) => string, admitted: number][] = [
  ['one address', () => '192.0.2.1', 5],
  ['many addresses', (n) => `192.0.2.${n}`, 30],
]

for (const [what, address, admitted] of attempts) {
  test(`the door takes ${admitted} attempts a minute from ${what}`, (t) => {
    const door = new Attempts()
    const waits = Array.from({ length: 40 }, (_, n) => door.refuse(address(n), n))
    t.is(waits.filter((ms) => ms === 0).length, admitted)
    t.is(waits[admitted], 60_000 - admitted)
    t.is(door.refuse(address(0), 60_000), 0, 'the first is forgotten after a minute')
  })
}

test('a key makes a peer id and a seed, and nothing else is a key', (t) => {
  const key = newPrivateKey()
  t.notThrows(() => peerId(peerIdOf(key), 'peer'))
  t.not(peerIdOf(newPrivateKey()), peerIdOf(key))
  t.is(peerIdOf(Uint8Array.from(key)), peerIdOf(key))
  t.is(seedOf(key).length, 32)
  t.deepEqual([...seedOf(key)], [...loadPrivateKey(key).raw.subarray(0, 32)])
  for (const bytes of [new Uint8Array(0), key.subarray(1), new Uint8Array(68)])
    t.throws(() => loadPrivateKey(bytes), { name: 'GodwitError' })
})

import test from 'ava'
import { Admitted } from '../../node/admitted.ts'
import type { Transport } from '../../protocols/transport.ts'
import { World } from '../../simulator/world.ts'
import { SimStore } from '../../simulator/store.ts'
import { key } from '../../storage/keyspace.ts'
import { knownPeer } from '../../storage/records.ts'
import type { Op } from '../../storage/store.ts'

const peerId = (n: number): string => `Simpeeraaaaaaaa${'abcdefghij'[n]}`
const [SELF, NEAR, FAR] = [peerId(0), peerId(1), peerId(2)] as const
type Peers = Record<string, { id: string; name: string; site: string; addresses: string[] }>

function around(known: readonly string[] = []) {
  const world = new World(1)
  const records = known.map((id) => [key('peer', id), knownPeer.encode({ id, addresses: [] })] as const)
  const store = new SimStore(world, 'host', new Map(records))
  const written: string[] = []
  const write = store.write.bind(store)
  store.write = (batch: readonly Op[], durable, done) => {
    written.push(...batch.flatMap((op) => (op.kind === 'put' ? [op.key] : [])))
    write(batch, durable, done)
  }
  const allowed: string[][] = []
  const transport = {
    self: SELF,
    allow: (peers: ReadonlyMap<string, unknown>) => allowed.push([...peers.keys()]),
  } as unknown as Transport
  const peers: Peers = {}
  const admit = (id: string, ...addresses: string[]): void => {
    peers[id] = { id, name: id.slice(-1), site: 'site', addresses }
  }
  const admitted = new Admitted(() => peers, { clock: world.clock(), store, transport })
  return { world, store, written, allowed, peers, admit, admitted }
}

test('who was known in the last life is allowed before anything is agreed on, and not written again', (t) => {
  const { admitted, allowed, written } = around([SELF, NEAR])
  admitted.look()
  t.deepEqual(allowed, [[NEAR]])
  t.deepEqual(written, [])
})

test('what a look costs goes with what has changed', (t) => {
  const { admit, admitted, allowed, written } = around()
  for (const id of [SELF, NEAR]) admit(id, '/ip4/10.0.0.1/tcp/1')
  admitted.look()
  t.deepEqual(written.splice(0), [key('peer', SELF), key('peer', NEAR)])
  admitted.look()
  // The same addresses, in a state that came as a snapshot.
  admit(NEAR, '/ip4/10.0.0.1/tcp/1')
  admitted.look()
  t.is(allowed.length, 1)
  t.deepEqual(written, [])
  admit(FAR)
  admit(NEAR, '/ip4/10.0.0.2/tcp/1')
  admitted.look()
  t.deepEqual(allowed[1], [NEAR, FAR])
  t.deepEqual(written.toSorted(), [key('peer', NEAR), key('peer', FAR)])
})

test('a removed peer is heard for a moment more; its record stays, and it may be admitted again', (t) => {
  const { admit, admitted, allowed, peers, world } = around()
  for (const id of [SELF, NEAR, FAR]) admit(id)
  admitted.look()
  delete peers[FAR]
  admitted.look()
  world.run(900)
  t.is(allowed.length, 1)
  world.run(1_100)
  t.deepEqual(allowed[1], [NEAR])
  admit(FAR)
  admitted.look()
  t.deepEqual(allowed[2], [NEAR, FAR])
})

test('a state of one names nobody else, and parts with nobody', (t) => {
  const { admit, admitted, allowed, world } = around([SELF, NEAR])
  admit(SELF)
  admitted.look()
  world.run(5_000)
  t.deepEqual([...admitted.known()], [SELF, NEAR])
  t.deepEqual(allowed, [[NEAR]])
})

test('what could not be written is written at a later look', (t) => {
  const { admit, admitted, store, world, written } = around()
  store.full = true
  for (const id of [SELF, NEAR]) admit(id)
  admitted.look()
  world.run(100)
  store.full = false
  written.length = 0
  admitted.look()
  t.deepEqual(written, [key('peer', SELF), key('peer', NEAR)])
})

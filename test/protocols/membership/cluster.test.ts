import test from 'ava'
import { Cluster } from './cluster.ts'

const LOSS = 0.05

test('30 peers, one frame in twenty lost: nobody is called unreachable in ten minutes', (t) => {
  for (const seed of [1, 2]) {
    const cluster = new Cluster({ seed, peers: 30, loss: LOSS })
    cluster.run(600_000)
    t.deepEqual(
      cluster.changes.filter(({ state }) => state === 'unreachable'),
      [],
      `seed ${seed}`,
    )
    t.true(
      cluster.changes.some(({ state }) => state === 'suspect'),
      'there was reason to',
    )
    const perSecond = cluster.frames / 30 / 600
    t.true(perSecond < 6, `${perSecond} frames a second and peer`)
  }
})

test('30 peers: a crash is known to all within 15 s, and so is the return', (t) => {
  for (const seed of [1, 2, 3, 4]) {
    const cluster = new Cluster({ seed, peers: 30, loss: LOSS })
    cluster.run(30_000)
    const [victim = '', ...others] = cluster.peers
    cluster.crash(victim)
    cluster.run(15_000)
    t.is(cluster.count(victim, 'unreachable'), 29, `seed ${seed}`)
    t.deepEqual(
      cluster.changes.filter(({ peer, state }) => peer !== victim && state === 'unreachable'),
      [],
    )

    cluster.start(victim)
    for (const other of others) {
      cluster.connect(victim, other, false)
      cluster.connect(victim, other, true)
    }
    cluster.run(10_000)
    t.is(cluster.count(victim, 'unreachable'), 0, `seed ${seed}`)
  }
})

test('a crash that closes its connections is known sooner', (t) => {
  const cluster = new Cluster({ seed: 1, peers: 30, loss: LOSS })
  cluster.run(30_000)
  const [victim = '', ...others] = cluster.peers
  for (const other of others) cluster.connect(victim, other, false)
  cluster.crash(victim)
  cluster.run(10_000)
  t.is(cluster.count(victim, 'unreachable'), 29)
})

test('two sites cut apart: each loses sight of the other and keeps its own, and both mend', (t) => {
  const cluster = new Cluster({ seed: 1, peers: 20, loss: LOSS })
  cluster.run(20_000)
  const left = new Set(cluster.peers.slice(0, 8))
  const near = (a: string, b: string): boolean => left.has(a) === left.has(b)
  cluster.passes = near
  cluster.run(90_000)
  for (const peer of cluster.peers) {
    t.is(cluster.count(peer, 'unreachable'), left.has(peer) ? 12 : 8)
  }
  const wrong = cluster.changes.filter(({ at, peer, state }) => near(at, peer) && state === 'unreachable')
  t.deepEqual(wrong, [])
  cluster.passes = () => true
  cluster.run(20_000)
  for (const peer of cluster.peers) t.is(cluster.count(peer, 'unreachable'), 0)
})

test('one link that carries nothing between two peers convicts neither', (t) => {
  const cluster = new Cluster({ seed: 1, peers: 10, loss: LOSS })
  const [a = '', b = ''] = cluster.peers
  cluster.passes = (from, to) => !(from === a && to === b) && !(from === b && to === a)
  cluster.run(300_000)
  t.deepEqual(
    cluster.changes.filter(({ state }) => state === 'unreachable'),
    [],
  )
})

test('peers that cannot keep up mislead nobody else', (t) => {
  const cluster = new Cluster({ seed: 1, peers: 30, loss: 0.02 })
  const slow = new Set(cluster.peers.slice(0, 6))
  // A starved process hears and says nothing for half of the time, in spells of 0.8 s.
  const awake = (peer: string): boolean => !slow.has(peer) || Math.floor(cluster.world.nowMs / 800) % 2 === 0
  cluster.passes = (from, to) => awake(from) && awake(to)
  const starve = (): void => {
    for (const peer of slow) cluster.feed(peer, { kind: 'delay', ms: 800 })
    cluster.world.after(1_600, starve)
  }
  starve()
  cluster.run(300_000)
  const convictions = cluster.changes.filter(({ at, state }) => state === 'unreachable' && !slow.has(at))
  t.deepEqual(convictions, [])
  // What the slow ones believe themselves is theirs to bear: wrong now and then, and rare.
  const beliefs = cluster.changes.filter(({ state }) => state === 'unreachable')
  t.true(beliefs.length < 20, `${beliefs.length}`)
})

test('the same seed gives the same life', (t) => {
  const life = (): unknown => {
    const cluster = new Cluster({ seed: 7, peers: 12, loss: LOSS })
    cluster.run(60_000)
    return [cluster.changes, cluster.frames, cluster.bytes]
  }
  t.deepEqual(life(), life())
})

import test from 'ava'
import { SimStore } from '../../simulator/store.ts'
import { World } from '../../simulator/world.ts'
import type { Op } from '../../storage/store.ts'
import { contract, type Opened } from '../contracts/store.ts'
import { outcomeOf, worldUntil } from '../contracts/until.ts'

const lives = (world: World, store: SimStore): Opened => ({
  store,
  until: worldUntil(world),
  reopen: async () => lives(world, store.reopen()),
})

contract('the store in the simulator', async () => {
  const world = new World(1)
  return lives(world, new SimStore(world, 'a'))
})

const put = (n: number): Op[] => [
  { kind: 'put', key: `a/${String(n).padStart(3, '0')}`, value: Buffer.from([n]) },
]

test('a crash keeps what was durable, and a prefix of the rest that differs by seed', (t) => {
  const sizes = new Set<number>()
  for (let seed = 1; seed <= 40; seed++) {
    const world = new World(seed)
    const store = new SimStore(world, 'a')
    let durable = 0
    for (let n = 0; n < 30; n++) {
      // One in ten asks for fsync; writes come while others are in flight.
      world.after(n, () =>
        store.write(put(n), n % 10 === 0, ({ ok }) => {
          if (ok && n % 10 === 0) durable = n + 1
        }),
      )
    }
    world.run(world.random('crash').below(35))
    store.crash()
    const left = store.reopen().recovered('a/')
    t.true(left.length >= durable, `seed ${seed}: ${durable} were durable, ${left.length} are left`)
    t.deepEqual(
      left.map(([, value]) => value[0]),
      left.map((_, n) => n),
      `seed ${seed}: a hole`,
    )
    sizes.add(left.length)
  }
  t.true(sizes.size > 5, 'seeds cut at different places')
})

test('after a crash nothing is answered and nothing is written', (t) => {
  const world = new World(1)
  const store = new SimStore(world, 'a')
  store.write(put(1), true, () => t.fail('answered'))
  store.crash()
  store.write(put(2), true, () => t.fail('answered'))
  world.run(1000)
  t.deepEqual(store.reopen().recovered('a/'), [])
})

test('a full disk fails writes and those behind them; with room again the next one stands alone', async (t) => {
  const world = new World(1)
  const until = worldUntil(world)
  const store = new SimStore(world, 'a')
  store.full = true
  const codes: string[] = []
  const hear = (outcome: { ok: boolean; failure?: { code: string } }): void =>
    void codes.push(outcome.failure?.code ?? 'ok')
  store.write(put(1), true, hear)
  world.run(0.5)
  store.write(put(2), true, hear)
  store.full = false
  await until(() => codes.length === 2, 100)
  t.deepEqual(codes, ['DISK_FULL', 'DISK_FULL'])
  t.true((await outcomeOf<void>(until, (done) => store.write(put(3), true, done))).ok)
  store.crash()
  t.deepEqual(
    store
      .reopen()
      .recovered('a/')
      .map(([key]) => key),
    ['a/003'],
  )
})

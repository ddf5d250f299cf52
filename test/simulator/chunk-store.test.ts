import test from 'ava'
import { SimChunkStore, SimManifestStore } from '../../simulator/chunk-store.ts'
import { World } from '../../simulator/world.ts'
import { contract, type Opened } from '../contracts/chunk-store.ts'
import { chunk } from '../contracts/chunk.ts'
import { outcomeOf, worldUntil } from '../contracts/until.ts'

const lives = (world: World, chunks: SimChunkStore, manifests: SimManifestStore): Opened => ({
  chunks,
  manifests,
  until: worldUntil(world),
  damage: async (id) => chunks.damage(id),
  reopen: async () => lives(world, chunks.reopen(), manifests.reopen()),
})

contract('the chunk store in the simulator', async () => {
  const world = new World(1)
  return lives(world, new SimChunkStore(world, 'a'), new SimManifestStore(world, 'a'))
})

test('a crash keeps what was synced, and a prefix of the rest that differs by seed', async (t) => {
  const sizes = new Set<number>()
  for (let seed = 1; seed <= 20; seed++) {
    const world = new World(seed)
    const until = worldUntil(world)
    const store = new SimChunkStore(world, 'a')
    const write = (n: number): Promise<unknown> =>
      outcomeOf<void>(until, (done) => store.write(chunk(n).id, chunk(n).frame, 4096, done))
    for (let n = 0; n < 5; n++) await write(n)
    await outcomeOf<void>(until, (done) => store.sync(done))
    for (let n = 5; n < 15; n++) await write(n)
    store.crash()
    store.has([], () => t.fail('answered after the crash'))
    const held = store.reopen().held()
    world.run(world.nowMs + 1000)
    sizes.add(held.size)
    const first = Array.from({ length: 15 }, (_, n) => held.has(chunk(n).id)).indexOf(false)
    t.true(held.size >= 5 && (first === -1 || first === held.size), `seed ${seed}: a hole`)
  }
  t.true(sizes.size > 4, 'seeds cut at different places')
})

test('a full disk fails writes until there is room', async (t) => {
  const world = new World(1)
  const until = worldUntil(world)
  const store = new SimChunkStore(world, 'a')
  const { id, frame } = chunk(1)
  const write = (): Promise<unknown> => outcomeOf<void>(until, (done) => store.write(id, frame, 4096, done))
  store.full = true
  t.deepEqual(await write(), { ok: false, failure: { code: 'DISK_FULL', path: 'a' } })
  store.full = false
  t.deepEqual(await write(), { ok: true, value: undefined })
})

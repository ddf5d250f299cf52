import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import type { Image } from '../../migration/swarm/support.ts'
import { idsOf, imageOf, range } from '../../migration/swarm/support.ts'
import { isWhole, type Keeper, Scene } from './scene.ts'

/** Neighbours share half of their chunks. */
const images: readonly Image[] = range(0, 4).map((n) => imageOf(range(n * 3, n * 3 + 6), 4096))
const idOf = (at: number): string => (images[at] as Image).manifest.image

test('a dry run says what would go, what stays and why, and drops nothing', (t) => {
  const scene = new Scene(1, [images.slice(0, 3), [images[1] as Image]])
  const [keeper] = scene.keepers as [Keeper, Keeper]
  for (const at of [0, 1]) scene.named.add(idOf(at))
  const before = keeper.peer.chunks.bytes()
  const run = scene.prune(keeper, { dryRun: true })
  scene.run(1_000)
  t.like(run.outcome, { ok: true })
  const items = run.outcome?.ok === true ? run.outcome.value : []
  const fate = (id: string): unknown =>
    items.filter((each) => each.id === id).map(({ drops, why }) => [drops, why])
  t.deepEqual(fate(idOf(0)), [[false, 'no other copy is known']])
  t.deepEqual(fate(idOf(1)), [[true, 'p1 holds it']])
  t.deepEqual(fate(idOf(2)), [[true, 'nothing refers to it']])
  t.is(keeper.peer.chunks.bytes(), before)
  const told = items.find(({ kind }) => kind === 'chunks')?.bytes ?? 0
  t.true(told > 0)

  const real = scene.prune(keeper)
  scene.run(1_000)
  t.deepEqual(real.outcome, run.outcome, 'it does what it said')
  t.is(keeper.peer.chunks.bytes(), before - told)
  t.deepEqual(keeper.peer.manifests.list(), [idOf(0)])
})

test('by force the only known copy of an image goes, and nothing else that would have stayed', (t) => {
  const scene = new Scene(2, [images])
  const [keeper] = scene.keepers as [Keeper]
  for (const at of [0, 1]) scene.named.add(idOf(at))
  keeper.refers.add(idOf(1))
  scene.settle<void>((done) => keeper.pins.pin({ image: idOf(2), name: '', atMs: 0 }, done))
  scene.prune(keeper, { force: true })
  scene.run(1_000)
  t.deepEqual(keeper.peer.manifests.list(), [idOf(1), idOf(2)].sort())
})

test('nothing goes while it cannot be known what refers to it, by force either', (t) => {
  const scene = new Scene(3, [images])
  const [keeper] = scene.keepers as [Keeper]
  keeper.unsettled = 'a move may need it'
  const run = scene.prune(keeper, { force: true })
  scene.run(1_000)
  t.is(keeper.peer.manifests.list().length, 4)
  t.true(run.outcome?.ok === true && run.outcome.value.every(({ drops }) => !drops))
})

test('two that prune at once do not rely on each other', (t) => {
  const whole = [images[0] as Image]
  const scene = new Scene(4, [whole, whole])
  const [one, other] = scene.keepers as [Keeper, Keeper]
  scene.named.add(idOf(0))
  const runs = [scene.prune(one), scene.prune(other)]
  scene.run(1_000)
  t.true(isWhole(one, images[0] as Image) && isWhole(other, images[0] as Image))
  t.true(runs.every(({ outcome }) => outcome?.ok === true && outcome.value.every(({ drops }) => !drops)))
  scene.prune(one)
  scene.run(1_000)
  t.deepEqual([isWhole(one, images[0] as Image), isWhole(other, images[0] as Image)], [false, true])
})

test('a copy that is not on disk for good vouches for nothing', (t) => {
  const whole = [images[0] as Image]
  const scene = new Scene(8, [whole, whole])
  const [one, other] = scene.keepers as [Keeper, Keeper]
  scene.named.add(idOf(0))
  other.peer.chunks.full = true
  scene.prune(one)
  scene.run(1_000)
  t.true(isWhole(one, images[0] as Image))
})

test('a peer that does not answer holds nothing, as far as anybody knows', (t) => {
  const whole = [images[0] as Image]
  const scene = new Scene(5, [whole, whole])
  const [one, other] = scene.keepers as [Keeper, Keeper]
  scene.named.add(idOf(0))
  other.peer.sim.life.pause()
  scene.prune(one)
  scene.run(30_000)
  t.true(isWhole(one, images[0] as Image))
})

test('a manifest that cannot be taken off the disk ends it, and what is left is whole', (t) => {
  const scene = new Scene(6, [images])
  const [keeper] = scene.keepers as [Keeper]
  keeper.peer.manifests.fail = { code: 'IO', path: 'x', why: 'no' }
  const run = scene.prune(keeper)
  scene.run(1_000)
  t.like(run.outcome, { ok: false, failure: { code: 'IO' } })
  keeper.peer.manifests.fail = undefined
  t.true(images.every((image) => isWhole(keeper, image)))
})

test('pins outlive a power cut once they are said to be there, and end', (t) => {
  const scene = new Scene(7, [images])
  const [keeper] = scene.keepers as [Keeper]
  scene.settle<void>((done) => keeper.pins.pin({ image: idOf(0), name: 'x', atMs: 1 }, done))
  scene.restart(keeper)
  t.deepEqual(keeper.pins.list(), [{ image: idOf(0), name: 'x', atMs: 1 }])
  scene.settle<void>((done) => keeper.pins.unpin(idOf(0), done))
  scene.restart(keeper)
  t.false(keeper.pins.has(idOf(0)))
  keeper.store.full = true
  let failed: unknown
  keeper.pins.pin({ image: idOf(1), name: '', atMs: 1 }, (outcome) => (failed = outcome))
  scene.run(100)
  t.like(failed, { ok: false, failure: { code: 'DISK_FULL' } })
  t.false(keeper.pins.has(idOf(1)))
})

const peer = fc.integer({ min: 0, max: 2 })
const image = fc.integer({ min: 0, max: images.length - 1 })
const ms = fc.constantFrom(0, 1, 3, 8, 40, 400)
const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('prune' as const), peer, ms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('refer' as const), peer, image, ms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unrefer' as const), peer, image, ms }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pin' as const), peer, image, ms }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('name' as const), image, ms }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('fetch' as const), peer, image, ms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), peer, ms }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constant(700_000) }) },
)

testProp(
  'whatever is pruned, referred to, fetched and cut short: what is referred to stays, and so does one copy of what is precious',
  [fc.array(command, { maxLength: 25 }), fc.integer({ min: 1, max: 1_000_000 })],
  (t, commands, seed) => {
    const scene = new Scene(seed, [images, images, images.slice(0, 2)])
    for (const at of [0, 1]) scene.named.add(idOf(at))
    /** What each peer holds whole and refers to; and precious images that somebody holds whole. */
    const check = (): void => {
      for (const keeper of scene.keepers)
        for (const each of images)
          if (keeper.refers.has(each.manifest.image) && !isWhole(keeper, each))
            throw new Error(`${keeper.peer.id} has lost what it refers to`)
      for (const each of images)
        if (scene.named.has(each.manifest.image) && !scene.keepers.some((keeper) => isWhole(keeper, each)))
          throw new Error('the last copy of what is precious is gone')
    }
    for (const each of commands) {
      const keeper = scene.keepers['peer' in each ? each.peer : 0] as Keeper
      const wanted = images['image' in each ? each.image : 0] as Image
      const id = wanted.manifest.image
      if (each.do === 'prune') scene.prune(keeper)
      if (each.do === 'refer') whenWhole(keeper, wanted, () => keeper.refers.add(id))
      if (each.do === 'unrefer') keeper.refers.delete(id)
      if (each.do === 'pin' && isWhole(keeper, wanted))
        keeper.pins.pin({ image: id, name: '', atMs: 0 }, () => {})
      if (each.do === 'name') whenWhole(keeper, wanted, () => scene.named.add(id))
      if (each.do === 'fetch') bring(keeper, wanted)
      if (each.do === 'crash') scene.restart(keeper)
      scene.run(each.ms, check)
    }
    t.pass()
  },
  { numRuns: 80 },
)

/** On disk for good. */
function whenWhole(keeper: Keeper, image: Image, run: () => void): void {
  const { peer } = keeper
  peer.chunks.sync(() => peer === keeper.peer && isWhole(keeper, image) && run())
}

/** As a download does: held from the first question to the last. */
function bring(keeper: Keeper, { manifest, frames }: Image): void {
  const { chunks, manifests } = keeper.peer
  const hold = chunks.hold()
  manifests.put(manifest, () =>
    chunks.has(idsOf({ manifest, frames }), () => {
      for (const [id, frame] of frames) chunks.write(id, frame, manifest.chunkBytes, () => {})
      chunks.sync(() => hold.release())
    }),
  )
}

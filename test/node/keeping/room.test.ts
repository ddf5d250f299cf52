import test from 'ava'
import { Collecting } from '../../../node/keeping/collecting.ts'
import { KeptCopies } from '../../../node/keeping/kept-copies.ts'
import { type Known } from '../../../node/keeping/pruning.ts'
import { references } from '../../../node/keeping/references.ts'
import { parseQuota, type Quota, type Reservation, Room } from '../../../node/keeping/room.ts'
import type { Failure } from '../../../protocols/errors.ts'
import type { ImageId } from '../../../protocols/ids.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { SimDisks } from '../../../simulator/disks.ts'
import { type Image, imageOf, range } from '../../migration/swarm/support.ts'
import { vmNumber } from '../qemu/machines.ts'
import { isWhole, type Keeper, Scene } from './scene.ts'

const KIB = 1024
/** Six chunks of 4 KiB that do not compress; none is shared. */
const images: readonly Image[] = range(0, 4).map((n) => imageOf(range(n * 6, n * 6 + 6), 4096))
const idOf = (at: number): ImageId => (images[at] as Image).manifest.image

/** One peer with room for images and kept copies of two moved VMs, the older on image 0, the younger on 1; a second peer. */
function scene(seed: number, others: readonly Image[], quota: Quota | undefined, diskBytes = 1e9) {
  const stage = new Scene(seed, [images.slice(0, 2), others])
  const [keeper] = stage.keepers as [Keeper]
  const { chunks, manifests, sim } = keeper.peer
  const disks = new SimDisks(stage.stage.world, { chunks, manifests })
  for (const at of [0, 1]) {
    stage.settle((done) => disks.prepare(vmNumber(at + 1), [{ image: idOf(at), bytes: 0 }], done))
    disks.writeChunk(vmNumber(at + 1), 1, Buffer.alloc(4096, at + 1))
    stage.settle<void>((done) =>
      disks.setAside(vmNumber(at + 1), '1.1', { atMs: at, content: [idOf(at)] }, done),
    )
  }
  const known: Known = {
    references: () =>
      references({
        grants: [],
        moves: [],
        promises: [],
        kept: disks.kept(),
        pins: keeper.pins.list(),
        uses: [],
      }),
    precious: () => new Set(),
    unsettled: () => keeper.unsettled,
    others: () => ['p1'],
    nameOf: () => '',
    nameOfPeer: (peer) => peer,
  }
  const ports = { chunks, manifests, disks, clock: sim.life.clock, directory: sim.directory }
  const kept = new KeptCopies(ports, known, keeper.vouching)
  const disk = () => ({ totalBytes: diskBytes, freeBytes: diskBytes - chunks.bytes() })
  const room = new Room({ chunks, disk, quota }, kept, new Collecting(chunks, manifests))
  const want = (bytes: number): Outcome<Reservation> | undefined => {
    const answers: Outcome<Reservation>[] = []
    room.want('image x', bytes, (outcome) => answers.push(outcome))
    stage.run(60_000)
    return answers[0]
  }
  return { stage, keeper, disks, kept, room, want }
}

test('room is what quota and disk leave, less what is to come', (t) => {
  const { room, want, keeper } = scene(1, [], { bytes: 200 * KIB })
  const before = room.view()
  t.is(before.usedBytes, keeper.peer.chunks.bytes() + before.keptBytes)
  const first = want(50 * KIB)
  t.true(first?.ok)
  t.is(room.view().reservedBytes, 50 * KIB)
  t.like(want(110 * KIB), { ok: false, failure: { code: 'QUOTA', quotaBytes: 200 * KIB } })
  if (first?.ok === true) first.value.release()
  t.true(want(110 * KIB)?.ok)
})

test('without a quota the disk bounds it, and a part of that stays free', (t) => {
  const { want } = scene(2, [], undefined, 1_000 * KIB)
  t.like(want(940 * KIB), { ok: false, failure: { code: 'QUOTA', quotaBytes: null } })
  t.true(want(800 * KIB)?.ok)
})

test('kept copies go when room is needed, the oldest first, and no more than needed', (t) => {
  const { want, disks, keeper, kept } = scene(3, images, { bytes: 70 * KIB })
  t.true(want(30 * KIB)?.ok)
  t.deepEqual(
    disks.kept().map(({ vm }) => vm),
    [vmNumber(2)],
  )
  t.false(isWhole(keeper, images[0] as Image), 'its image went with it')
  t.true(isWhole(keeper, images[1] as Image))
  t.is(kept.bytes(), 4 * KIB)
})

test('none goes when all of them together would not do', (t) => {
  const { want, disks } = scene(4, images, { bytes: 70 * KIB })
  t.like(want(90 * KIB), { ok: false, failure: { code: 'QUOTA', neededBytes: 90 * KIB } })
  t.is(disks.kept().length, 2)
})

test('what may be the only copy stays, however much room is needed; so does what is pinned', async (t) => {
  const { want, disks, keeper, stage, kept } = scene(5, [images[1] as Image], { bytes: 70 * KIB })
  stage.settle<void>((done) => keeper.pins.pin({ image: idOf(1), name: '', atMs: 0 }, done))
  const listed = stage.settle<readonly { elsewhere: string }[]>((done) => kept.list(done))
  t.deepEqual(
    listed.map(({ elsewhere }) => elsewhere),
    ['', 'p1'],
  )
  t.like(want(30 * KIB), { ok: false, failure: { code: 'QUOTA' } })
  t.true(isWhole(keeper, images[0] as Image) && isWhole(keeper, images[1] as Image))
  t.true(disks.kept().some(({ vm }) => vm === vmNumber(1)))
})

test('nothing goes while a move may need it', (t) => {
  const { want, disks, keeper } = scene(6, images, { bytes: 70 * KIB })
  keeper.unsettled = 'a move may need it'
  t.like(want(30 * KIB), { ok: false })
  t.is(disks.kept().length, 2)
})

test('a copy of which nobody knows what it is the same as is never evicted', (t) => {
  const { want, disks, stage } = scene(7, images, { bytes: 75 * KIB })
  for (const { name } of disks.kept()) stage.settle<void>((done) => disks.drop(name, done))
  stage.settle((done) => disks.prepare(vmNumber(3), [{ image: idOf(0), bytes: 0 }], done))
  stage.settle<void>((done) => disks.setAside(vmNumber(3), '1.1', { atMs: 0, content: [] }, done))
  t.like(want(60 * KIB), { ok: false })
  t.is(disks.kept().length, 1)
})

test('who brings more than was thought is stopped, once', (t) => {
  const { room, keeper, stage } = scene(8, [], { bytes: 80 * KIB })
  const stopped: Failure[] = []
  const watch = room.watch('import of x', (failure) => stopped.push(failure))
  watch.expects(20 * KIB)
  stage.run(1_000)
  t.deepEqual(stopped, [])
  const more = imageOf(range(100, 120), 4096)
  for (const [id, frame] of more.frames) keeper.peer.chunks.write(id, frame, 4096, () => {})
  stage.run(1_000)
  watch.look()
  watch.look()
  t.is(stopped.length, 1)
  t.like(stopped[0], { code: 'QUOTA', what: 'import of x', neededBytes: room.view().usedBytes - 80 * KIB })
  watch.release()
  t.is(room.view().reservedBytes, 0)
})

test('who expects more than there is room for is stopped before it brings anything', (t) => {
  const { room, stage } = scene(9, [], { bytes: 80 * KIB })
  const stopped: Failure[] = []
  const watch = room.watch('import of x', (failure) => stopped.push(failure))
  watch.expects(1_000 * KIB)
  watch.expects(1_000 * KIB)
  stage.run(60_000)
  t.like(stopped, [{ code: 'QUOTA', neededBytes: 500 * KIB }])
})

const quotas: [text: string, quota: ReturnType<typeof parseQuota>][] = [
  ['off', 'off'],
  ['80%', { share: 0.8 }],
  ['100%', { share: 1 }],
  ['200GiB', { bytes: 200 * 1024 ** 3 }],
  ['1.5TiB', { bytes: 1.5 * 1024 ** 4 }],
  ['512B', { bytes: 512 }],
  ['0%', undefined],
  ['101%', undefined],
  ['200', undefined],
  ['200GB', undefined],
  ['-1GiB', undefined],
  ['', undefined],
]
for (const [text, quota] of quotas)
  test(`a quota is read: ${text || '(nothing)'}`, (t) => {
    t.deepEqual(parseQuota(text), quota)
  })

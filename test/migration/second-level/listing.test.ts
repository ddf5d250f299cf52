import test from 'ava'
import { Listing } from '../../../migration/second-level/listing.ts'
import { LISTING_AGAIN_MS, LISTING_MS } from '../../../protocols/limits.ts'
import { idsOf, type Image, imageOfBlocks, range, Stage } from '../swarm/support.ts'

const one = imageOfBlocks(range(0, 64))
const two = imageOfBlocks([...range(100, 116), ...range(0, 16).map(() => undefined), ...range(116, 140)])

/** A peer that holds these images, of none of which it has a list. */
function stage(images: readonly Image[]) {
  const on = new Stage(1)
  const holdings = images.map((image) => ({ image }))
  const peer = on.peer(
    'a',
    'one',
    holdings,
    (store) => store,
    () => [],
    { blocks: true, unlisted: images },
  )
  const { lists, work } = peer.blocks as NonNullable<typeof peer.blocks>
  const { chunks, manifests } = peer
  const listing = new Listing({ clock: peer.sim.life.clock, chunks, manifests, lists, work })
  return { world: on.world, peer, lists, listing }
}

const names = (...images: readonly Image[]): string[] => images.map(({ manifest }) => manifest.image).sort()

test('images without a list get one, and a list whose image went goes too', (t) => {
  const { world, peer, lists, listing } = stage([one, two])
  listing.start()
  world.run(LISTING_MS - 1)
  t.deepEqual(lists.list(), [])
  world.run(2 * LISTING_MS)
  t.deepEqual(lists.list(), names(one, two))
  peer.manifests.remove(two.manifest.image, () => {})
  world.run(4 * LISTING_MS)
  t.deepEqual(lists.list(), names(one))
})

test('an image that comes is listed at once, and a download that waits is told', (t) => {
  const { world, lists, listing } = stage([one])
  let told: readonly string[] | undefined
  listing.came(one.manifest.image)
  listing.hurry(() => (told = lists.list()))
  t.is(told, undefined)
  world.run(500)
  t.deepEqual(told, names(one))
  let again = false
  listing.hurry(() => (again = true))
  t.false(again)
  world.run(501)
  t.true(again)
})

test('an image that is not whole is tried again when it has come, and now and then', (t) => {
  const { world, peer, lists, listing } = stage([one, two])
  const [lost = ''] = idsOf(one)
  const frame = one.frames.get(lost) as Uint8Array
  peer.chunks.damage(lost)
  listing.start()
  world.run(3 * LISTING_MS)
  t.deepEqual(lists.list(), names(two))
  peer.chunks.write(lost, frame, one.manifest.chunkBytes, () => {})
  world.run(6 * LISTING_MS)
  t.deepEqual(lists.list(), names(two))
  world.run(7 * LISTING_MS + LISTING_AGAIN_MS)
  t.deepEqual(lists.list(), names(one, two))
})

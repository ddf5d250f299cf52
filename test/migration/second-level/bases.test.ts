import test from 'ava'
import { Bases } from '../../../migration/second-level/bases.ts'
import { failed, ok } from '../../../protocols/outcome.ts'
import { SimBlockWork } from '../../../simulator/blocks.ts'
import { SimChunkStore, SimManifestStore } from '../../../simulator/chunk-store.ts'
import { World } from '../../../simulator/world.ts'
import type { BlockLists } from '../../../storage/images/block-lists.ts'
import { FINGERPRINT_BYTES, setFingerprint } from '../../../storage/images/fingerprint.ts'
import { buildManifest } from '../../../storage/images/manifest.ts'
import { type Sketch, sketchOf } from '../../../storage/images/sketch.ts'

const CHUNK = 256 * 1024
const BLOCKS = CHUNK / 4_096
/** 25 images of 4 GiB: 100 GiB are held. */
const IMAGES = 25
const CHUNKS = 16_384
const nameOf = (image: number): string => image.toString(16).padStart(64, '0')

/** Of blocks [first, first + count) of an image: numbers as good as hashes. */
function prints(image: number, first: number, count: number): Uint8Array {
  const list = new Uint8Array(count * FINGERPRINT_BYTES)
  for (let at = 0; at < count; at++) {
    const block = image * 2 ** 22 + first + at + 1
    const [high, low] = [Math.imul(block, 0x9e3779b1) >>> 8, Math.imul(block ^ 0x5bd1e995, 0x85ebca6b) >>> 8]
    setFingerprint(list, at, high * 2 ** 24 + low)
  }
  return list
}

test('with 100 GiB of images only the nearest lists are read, a piece at a time', (t) => {
  const world = new World(1)
  const read = new Set<string>()
  let largest = 0
  const lists: BlockLists = {
    list: () => Array.from({ length: IMAGES }, (_, image) => nameOf(image)),
    sketch: (image, done) => done(ok(sketch(Number.parseInt(image, 16)))),
    read(image, first, count, done) {
      read.add(image)
      const blocks = Math.max(0, Math.min(count, CHUNKS * BLOCKS - first))
      largest = Math.max(largest, blocks * FINGERPRINT_BYTES)
      world.after(0, () => done(ok(prints(Number.parseInt(image, 16), first, blocks))))
    },
    draft: () => ({ set: () => {}, finish: () => {}, drop: () => {} }),
    remove: () => {},
  }
  const hashes = new Uint8Array(CHUNKS * 32).fill(1)
  const manifest = buildManifest(CHUNKS * CHUNK, CHUNK, hashes)
  const manifests = {
    get: (image: string, done: Parameters<SimManifestStore['get']>[1]) => done(ok({ ...manifest, image })),
  }
  const bases = new Bases(
    { lists, work: new SimBlockWork(world), chunks: new SimChunkStore(world, 'x'), manifests },
    'target',
  )
  /** Made of blocks of images 3 and 7. */
  const target = [prints(3, 5_000, 3_000), prints(7, 100, 1_000)]
  let found: boolean | undefined
  bases.find(sketchOf(...target), (is) => (found = is))
  t.true(found)

  const wanted = [
    ...Array.from({ length: 40 }, (_, n) => prints(3, 5_000 + n * BLOCKS, BLOCKS)),
    prints(7, 500, BLOCKS),
  ]
  let copies = 0
  bases.plan(wanted, (plans) => {
    for (const plan of plans) copies += plan.copies.reduce((sum, { count }) => sum + count, 0)
  })
  world.run(60_000)
  t.is(copies, 41 * BLOCKS)
  t.deepEqual([...read].sort(), [nameOf(3), nameOf(7)])
  t.true(largest <= 192 * 1024, `${largest} bytes`)
})

function sketch(image: number): Sketch {
  return sketchOf(prints(image, 0, 1_024 * BLOCKS))
}

test('a base whose manifest or chunks are gone is done without', (t) => {
  const world = new World(1)
  const lists: BlockLists = {
    list: () => [nameOf(1)],
    sketch: (_, done) => done(ok(sketch(1))),
    read: (_, __, ___, done) => done(failed({ code: 'NOT_FOUND', what: 'block list', name: 'x' })),
    draft: () => ({ set: () => {}, finish: () => {}, drop: () => {} }),
    remove: () => {},
  }
  const ports = { lists, work: new SimBlockWork(world), chunks: new SimChunkStore(world, 'x') }
  let found: boolean | undefined
  new Bases({ ...ports, manifests: new SimManifestStore(world, 'x') }, 'target').find(
    sketchOf(prints(1, 0, 5_000)),
    (is) => (found = is),
  )
  world.run(1_000)
  t.false(found)
})

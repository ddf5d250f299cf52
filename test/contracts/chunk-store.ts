/** What every chunk store and manifest store promises (storage/images/chunk-store.ts). `open` opens empty ones. */
import test, { type ExecutionContext } from 'ava'
import type { Failure } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { pack } from '../../storage/images/chunk-content.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import { buildManifest } from '../../storage/images/manifest.ts'
import { chunk, type Chunk } from './chunk.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = {
  readonly chunks: ChunkStore
  readonly manifests: ManifestStore
  readonly until: Until
  /** Changes the stored frame of a chunk behind the store's back. */
  damage(id: ChunkId): Promise<void>
  /** Ends this life of the host in order, and opens the same folders or disks in the next. */
  reopen(): Promise<Opened>
}

const KIB = 1024

const write = ({ chunks, until }: Opened, { id, frame, content }: Chunk): Promise<Outcome<void>> =>
  outcomeOf(until, (done) => chunks.write(id, frame, content.length, done))
const read = ({ chunks, until }: Opened, id: ChunkId): Promise<Outcome<Uint8Array>> =>
  outcomeOf(until, (done) => chunks.read(id, done))
const has = ({ chunks, until }: Opened, ids: ChunkId[]): Promise<Outcome<boolean[]>> =>
  outcomeOf(until, (done) => chunks.has(ids, done))

/** Frames that claim to be chunk 1, and are not. */
const one = chunk(1)
const unsound: [what: string, frame: Uint8Array, chunkBytes: number][] = [
  ["another chunk's frame", chunk(2).frame, 4 * KIB],
  ['nothing', new Uint8Array(), 4 * KIB],
  ['bytes that are no frame', Buffer.alloc(100, 7), 4 * KIB],
  ['half a frame', one.frame.subarray(0, one.frame.length / 2), 4 * KIB],
  ['a frame of another size', one.frame, 8 * KIB],
  ['a frame that unpacks to more', pack(Buffer.alloc(64 * 1024 * KIB)), 4 * KIB],
  ['a frame larger than a chunk may be', Buffer.alloc(8 * KIB), 4 * KIB],
  ['a chunk of no bytes', one.frame, 0],
]

export function contract(name: string, open: (t: ExecutionContext) => Promise<Opened>): void {
  const fails = (t: ExecutionContext, outcome: Outcome<unknown>, failure: Partial<Failure>): void => {
    t.like(outcome, { ok: false, failure })
  }

  test(`${name} gives back what was written, in the next life too`, async (t) => {
    let opened = await open(t)
    const some = [chunk(1), chunk(2, 64 * KIB), chunk(3)]
    for (const each of some) t.deepEqual(await write(opened, each), { ok: true, value: undefined })
    const ids = [...some.map(({ id }) => id), chunk(4).id, chunk(1).id]
    for (let life = 0; life < 3; life++) {
      t.deepEqual(await has(opened, ids), { ok: true, value: [true, true, true, false, true] })
      for (const { id, frame } of some) {
        const outcome = await read(opened, id)
        t.true(outcome.ok && Buffer.from(frame).equals(outcome.value))
      }
      if (life === 0) t.true((await outcomeOf<void>(opened.until, (done) => opened.chunks.sync(done))).ok)
      opened = await opened.reopen()
    }
  })

  test(`${name} says that it does not hold a chunk`, async (t) => {
    fails(t, await read(await open(t), one.id), { code: 'CHUNK_MISSING', chunks: 1 })
  })

  for (const [what, frame, chunkBytes] of unsound) {
    test(`${name} stores nothing when offered ${what}`, async (t) => {
      const opened = await open(t)
      const outcome = await outcomeOf<void>(opened.until, (done) =>
        opened.chunks.write(one.id, frame, chunkBytes, done),
      )
      fails(t, outcome, { code: 'CHUNK_CORRUPT', chunk: one.id })
      t.deepEqual(await has(opened, [one.id]), { ok: true, value: [false] })
      t.true((await write(opened, one)).ok, 'the sound one is taken')
    })
  }

  test(`${name} takes the sound one of two frames that come at once`, async (t) => {
    const opened = await open(t)
    const [bad, good] = await Promise.all([
      outcomeOf<void>(opened.until, (done) => opened.chunks.write(one.id, chunk(2).frame, 4 * KIB, done)),
      write(opened, one),
    ])
    fails(t, bad, { code: 'CHUNK_CORRUPT' })
    t.true(good.ok)
    t.true((await read(opened, one.id)).ok)
  })

  test(`${name} takes the same chunk from many at once`, async (t) => {
    const opened = await open(t)
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => write(opened, chunk(i % 2))))
    t.true(outcomes.every(({ ok }) => ok))
    t.deepEqual(await has(opened, [chunk(0).id, chunk(1).id]), { ok: true, value: [true, true] })
  })

  test(`${name} notices damage once, and then takes the chunk anew`, async (t) => {
    const opened = await open(t)
    await write(opened, one)
    await opened.damage(one.id)
    fails(t, await read(opened, one.id), { code: 'CHUNK_CORRUPT', chunk: one.id })
    t.deepEqual(await has(opened, [one.id]), { ok: true, value: [false] })
    t.true((await write(opened, one)).ok)
    const next = await opened.reopen()
    t.true((await read(next, one.id)).ok)
  })

  test(`${name} keeps manifests, whole and true to their names`, async (t) => {
    const opened = await open(t)
    const { until } = opened
    const manifest = buildManifest(8 * KIB, 4 * KIB, Buffer.from(one.id + chunk(2).id, 'hex'))
    const other = buildManifest(4 * KIB, 4 * KIB, Buffer.from(one.id, 'hex'))
    const put = (each: typeof manifest): Promise<Outcome<void>> =>
      outcomeOf(until, (done) => opened.manifests.put(each, done))
    t.true((await put(manifest)).ok)
    t.true((await put(manifest)).ok, 'twice is once')
    t.true((await put(other)).ok)
    fails(t, await put({ ...manifest, image: other.image }), { code: 'IMAGE_INVALID' })
    fails(t, await put({ ...manifest, bytes: 12 * KIB }), { code: 'IMAGE_INVALID' })

    const { manifests } = await opened.reopen()
    t.deepEqual(manifests.list(), [manifest.image, other.image].sort())
    const got = await outcomeOf<typeof manifest>(until, (done) => manifests.get(manifest.image, done))
    t.true(got.ok && Buffer.from(got.value.hashes).equals(manifest.hashes) && got.value.bytes === 8 * KIB)
    const gone = (): Promise<Outcome<void>> => outcomeOf(until, (done) => manifests.remove(other.image, done))
    t.true((await gone()).ok)
    fails(t, await gone(), { code: 'NOT_FOUND', name: other.image })
    t.deepEqual(manifests.list(), [manifest.image])
    const lost = await outcomeOf<typeof manifest>(until, (done) => manifests.get(other.image, done))
    fails(t, lost, { code: 'NOT_FOUND', name: other.image })
  })
}

/** What every chunk store and manifest store promises (storage/images/chunk-store.ts). `open` opens empty ones. */
import test, { type ExecutionContext } from 'ava'
import type { Failure } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { pack } from '../../storage/images/chunk-content.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { ChunkStore, Collected, ManifestStore, Scrubbed } from '../../storage/images/chunk-store.ts'
import { buildManifest, verifyManifest } from '../../storage/images/manifest.ts'
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

const markedAs = (...ns: number[]): ChunkNames => {
  const marked = new ChunkNames()
  for (const n of ns) marked.add(chunk(n).id)
  return marked
}
const collect = (
  { chunks, until }: Opened,
  mark: (done: Done<ChunkNames>) => void,
  liveMax = 1,
): Promise<Outcome<Collected>> =>
  outcomeOf(until, (done) => chunks.collect({ mark, liveMax, bytesPerSecondMax: 1e9 }, done))
const scrub = ({ chunks, until }: Opened, bytesMax: number): Promise<Outcome<Scrubbed>> =>
  outcomeOf(until, (done) => chunks.scrub({ bytesMax, bytesPerSecondMax: 1e9 }, done))
const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n)
const idsOf = (count: number): ChunkId[] => range(count).map((n) => chunk(n).id)

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
      t.deepEqual(await outcomeOf<number[]>(opened.until, (done) => opened.chunks.sizes(ids, done)), {
        ok: true,
        value: ids.map((id) => some.find((each) => each.id === id)?.frame.length ?? 0),
      })
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

  test(`${name} takes what was packed here without looking into it, but does not put it over what it holds`, async (t) => {
    const opened = await open(t)
    await write(opened, one)
    const packed = [one, chunk(2), chunk(3)].map(({ id }) => ({
      id,
      frame: chunk(3).frame,
      chunkBytes: 4 * KIB,
    }))
    t.true((await outcomeOf<void>(opened.until, (done) => opened.chunks.put(packed, done))).ok)
    const next = await opened.reopen()
    const frames = [one.frame, chunk(3).frame, chunk(3).frame]
    for (const [i, { id }] of packed.entries()) {
      const outcome = await read(next, id)
      t.true(outcome.ok && Buffer.from(frames[i] as Uint8Array).equals(outcome.value))
    }
  })

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

  test(`${name} drops what nothing refers to, and keeps the rest in this life and the next`, async (t) => {
    const opened = await open(t)
    for (const n of range(40)) await write(opened, chunk(n))
    const kept = range(40).filter((n) => n % 3 === 0)
    const before = opened.chunks.bytes()
    t.true(before > 0)
    const mark = (done: Done<ChunkNames>): void => done(ok(markedAs(...kept)))
    const counted = await outcomeOf<Collected>(opened.until, (done) =>
      opened.chunks.collect({ mark, liveMax: 1, bytesPerSecondMax: 1e9, dryRun: true }, done),
    )
    t.is(opened.chunks.bytes(), before)
    const collected = await collect(opened, mark)
    t.deepEqual(collected, counted, 'a dry run says what would go')
    t.is(opened.chunks.bytes(), before - (counted.ok ? counted.value.bytes : 0))
    t.true(collected.ok && collected.value.chunks === 26 && collected.value.bytes > 0)
    const held = range(40).map((n) => n % 3 === 0)
    t.deepEqual(await has(opened, idsOf(40)), { ok: true, value: held })
    t.true((await write(opened, chunk(1))).ok, 'what was dropped is taken anew')
    const next = await opened.reopen()
    t.deepEqual(await has(next, idsOf(3)), { ok: true, value: [true, true, false] })
    for (const n of kept) {
      const outcome = await read(next, chunk(n).id)
      t.true(outcome.ok && Buffer.from(chunk(n).frame).equals(outcome.value))
    }
    t.like(await collect(next, (done) => done(ok(markedAs(1, ...kept)))), { ok: true, value: { chunks: 0 } })
  })

  test(`${name} keeps what is written or asked for while a collection marks`, async (t) => {
    const opened = await open(t)
    for (const n of range(6)) await write(opened, chunk(n))
    const collected = await collect(opened, (done) => {
      opened.chunks.has([chunk(2).id], (asked) => {
        t.deepEqual(asked, { ok: true, value: [true] })
        opened.chunks.write(chunk(7).id, chunk(7).frame, 4 * KIB, () =>
          opened.chunks.write(chunk(3).id, chunk(3).frame, 4 * KIB, () => done(ok(markedAs(0)))),
        )
      })
    })
    t.like(collected, { ok: true, value: { chunks: 3 } })
    const held = [true, false, true, true, false, false, false, true]
    t.deepEqual(await has(opened, idsOf(8)), { ok: true, value: held })
  })

  test(`${name} ends a collection that is cancelled, and the next one does its work`, async (t) => {
    const opened = await open(t)
    for (const n of range(12)) await write(opened, chunk(n))
    const mark = (done: Done<ChunkNames>): void => done(ok(markedAs(1, 2)))
    const terms = { mark, liveMax: 1, bytesPerSecondMax: 1e9, isCancelled: () => true }
    const cancelled = await outcomeOf<Collected>(opened.until, (done) => opened.chunks.collect(terms, done))
    fails(t, cancelled, { code: 'CANCELLED' })
    t.like(await collect(opened, mark), { ok: true })
    t.deepEqual(await has(opened, idsOf(4)), { ok: true, value: [false, true, true, false] })
    for (const n of [1, 2]) t.true((await read(opened, chunk(n).id)).ok)
  })

  test(`${name} keeps what is seen under a hold that is released while a collection runs`, async (t) => {
    const opened = await open(t)
    const hold = opened.chunks.hold()
    await write(opened, chunk(1))
    await write(opened, chunk(2))
    // As an import ends whose manifest comes after the marking.
    const collected = await collect(opened, (done) => {
      hold.release()
      done(ok(markedAs(0)))
    })
    t.true(collected.ok)
    t.deepEqual(await has(opened, idsOf(3)), { ok: true, value: [false, true, true] })
    t.like(await collect(opened, (done) => done(ok(markedAs(1)))), { ok: true, value: { chunks: 1 } })
  })

  test(`${name} keeps what is seen under a hold until it is released`, async (t) => {
    const opened = await open(t)
    const none = (): Promise<unknown> => collect(opened, (done) => done(ok(markedAs())))
    for (const n of range(4)) await write(opened, chunk(n))
    const first = opened.chunks.hold()
    await has(opened, [chunk(1).id])
    await none()
    const second = opened.chunks.hold()
    await write(opened, chunk(2))
    await none()
    first.release()
    first.release()
    await none()
    t.deepEqual(await has(opened, idsOf(4)), { ok: true, value: [false, false, true, false] })
    second.release()
    await none()
    t.deepEqual(await has(opened, idsOf(4)), { ok: true, value: [false, false, false, false] })
  })

  test(`${name} drops nothing when marking fails, and can be collected after that`, async (t) => {
    const opened = await open(t)
    for (const n of range(4)) await write(opened, chunk(n))
    const failure = { code: 'IO', path: 'a manifest', why: 'unreadable' } as const
    fails(t, await collect(opened, (done) => done(failed(failure))), failure)
    t.deepEqual(await has(opened, idsOf(4)), { ok: true, value: [true, true, true, true] })
    t.like(await collect(opened, (done) => done(ok(markedAs(1)))), { ok: true, value: { chunks: 3 } })
  })

  test(`${name} finds what the disk has changed by reading all of it, a part at a time`, async (t) => {
    let opened = await open(t)
    for (const n of range(9)) await write(opened, chunk(n))
    await opened.damage(chunk(4).id)
    const found: ChunkId[] = []
    let chunks = 0
    for (let wrapped = false; !wrapped;) {
      const outcome = await scrub(opened, 1)
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
      t.true(outcome.value.chunks <= 1, 'no more than it was told')
      chunks += outcome.value.chunks
      wrapped = outcome.value.wrapped
      found.push(...outcome.value.damaged)
      // Where it was is kept.
      if (chunks === 5) opened = await opened.reopen()
    }
    t.is(chunks, 9, 'each once')
    t.deepEqual(found, [chunk(4).id])
    t.deepEqual(await has(opened, [chunk(4).id]), { ok: true, value: [false] })
    t.true((await write(opened, chunk(4))).ok)
    t.like(await scrub(opened, 1e9), { ok: true, value: { chunks: 9, damaged: [], wrapped: true } })
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
    t.true(got.ok && verifyManifest(got.value) === undefined && got.value.bytes === 8 * KIB)
    const gone = (): Promise<Outcome<void>> => outcomeOf(until, (done) => manifests.remove(other.image, done))
    t.true((await gone()).ok)
    fails(t, await gone(), { code: 'NOT_FOUND', name: other.image })
    t.deepEqual(manifests.list(), [manifest.image])
    const lost = await outcomeOf<typeof manifest>(until, (done) => manifests.get(other.image, done))
    fails(t, lost, { code: 'NOT_FOUND', name: other.image })
  })
}

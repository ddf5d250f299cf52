/** Whatever parts of an image are spread over whatever sources: it comes whole when it can, and says so when it cannot. */
import { fc, testProp } from '@fast-check/ava'
import { ok } from '../../../protocols/outcome.ts'
import type { ChunkStore } from '../../../storage/images/chunk-store.ts'
import { holds, idsOf, imageOf, range, Stage } from './support.ts'

const CHUNK = 4 * 1024
const WRONG = imageOf([9_999], CHUNK).frames.values().next().value as Uint8Array

const liar = (store: ChunkStore): ChunkStore => ({
  has: (ids, done) => store.has(ids, done),
  sizes: (ids, done) => store.sizes(ids, done),
  bytes: () => store.bytes(),
  write: (id, frame, bytes, done) => store.write(id, frame, bytes, done),
  put: (packed, done) => store.put(packed, done),
  sync: (done) => store.sync(done),
  hold: () => store.hold(),
  collect: (collection, done) => store.collect(collection, done),
  scrub: (scrub, done) => store.scrub(scrub, done),
  read: (id, done) => store.read(id, () => done(ok(WRONG))),
})

const source = fc.record({
  /** Which chunks it holds: one in this many, from here on. */
  every: fc.integer({ min: 1, max: 4 }),
  first: fc.integer({ min: 0, max: 30 }),
  manifest: fc.boolean(),
  honest: fc.oneof({ arbitrary: fc.constant(true), weight: 4 }, { arbitrary: fc.constant(false), weight: 1 }),
  near: fc.boolean(),
  /** Killed, or cut off without a word, after so many ms. */
  ends: fc.option(
    fc.record({
      afterMs: fc.integer({ min: 0, max: 400 }),
      how: fc.constantFrom('killed' as const, 'power' as const),
    }),
  ),
})

testProp(
  'an image comes whole exactly when honest sources hold it all',
  [
    fc.integer({ min: 1, max: 2 ** 30 }),
    fc.array(source, { minLength: 1, maxLength: 5 }),
    fc.integer({ min: 1, max: 60 }),
  ],
  (t, seed, sources, chunks) => {
    const stage = new Stage(seed)
    // Every ninth chunk is of zeros, and every fifth is there twice.
    const image = imageOf(
      range(0, chunks).map((n) => (n % 9 === 8 ? undefined : n % 5 === 4 ? n - 1 : n)),
      CHUNK,
    )
    const peers = sources.map(({ every, first, manifest, honest, near }, n) => {
      const indexes = range(0, chunks).filter((index) => index >= first && index % every === 0)
      return stage.peer(
        `s${n}`,
        near ? 'here' : `site${n}`,
        [{ image, indexes, manifest }],
        honest ? undefined : liar,
      )
    })
    const peer = stage.peer('b', 'here')
    const fetched = stage.fetch(peer, image, peers)
    for (const [n, { ends }] of sources.entries())
      if (ends !== null) stage.world.after(ends.afterMs, () => stage.network.crash(`s${n}`, ends.how))
    stage.world.run(90_000)

    const lasting = sources.flatMap(({ honest, ends }, n) => (honest && ends === null ? [peers[n]] : []))
    const held = new Set(lasting.flatMap((each) => [...(each?.chunks.held() ?? [])]))
    const known = sources.some(({ manifest, ends }) => manifest && ends === null)
    const must = known && idsOf(image).every((id) => held.has(id))
    t.not(fetched.outcome, undefined)
    if (must) t.deepEqual(fetched.outcome?.ok === false ? fetched.outcome.failure : undefined, undefined)
    if (fetched.outcome?.ok === true) t.true(holds(peer, image))
    else t.is(fetched.outcome?.failure.code, 'NO_SOURCE')
    const names = new Set(idsOf(image))
    t.true([...peer.chunks.held()].every((id) => names.has(id)))
    // Twice is what a chunk may cost when a source is lost or lies; all of them never do.
    const reads = peers.reduce((sum, { served }) => sum + served.reads, 0)
    t.true(reads <= 2 * names.size + 8 * sources.length, `${reads} reads for ${names.size} chunks`)
  },
  { numRuns: 80 },
)

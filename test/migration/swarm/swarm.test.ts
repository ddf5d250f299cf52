import test from 'ava'
import { NO_SOURCE_MS, SERVE_READS_MAX } from '../../../protocols/limits.ts'
import { PROTOCOL } from '../../../protocols/swarm/messages.ts'
import { ok } from '../../../protocols/outcome.ts'
import type { ChunkStore } from '../../../storage/images/chunk-store.ts'
import { holds, idsOf, imageOf, range, reportOf, Stage } from './support.ts'

const CHUNK = 64 * 1024
/** Peers with a line of 20 Mbit/s each, 40 ms apart. */
const EQUALS = { lanMbit: 20, lanMs: 20 }
const base = imageOf(range(0, 160))

test('an image comes whole, verified, and its costs are told', (t) => {
  const stage = new Stage(1)
  const image = imageOf([...range(0, 50), undefined, undefined, 7, 8, ...range(50, 60)])
  const source = stage.peer('a', 'one', [{ image }])
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, image, [source])
  stage.world.run(10_000)
  const report = reportOf(t, fetched)
  const frames = [...image.frames.values()].reduce((sum, frame) => sum + frame.length, 0)
  t.true(holds(peer, image))
  t.deepEqual(peer.manifests.list(), [image.manifest.image])
  t.is(report.logicalBytes, 64 * CHUNK)
  t.is(report.dedupBytes, 60 * CHUNK)
  t.is(report.compressedBytes, frames)
  t.true(report.wireBytes > frames && report.wireBytes < frames * 1.02 + 10_000, String(report.wireBytes))
  t.is(report.duplicateBytes, 0)
  const last = fetched.progress.at(-1)
  t.is(last?.doneBytes, report.logicalBytes)
  t.is(last?.wireBytes, report.wireBytes)

  const again = stage.fetch(peer, image, [source])
  stage.world.run(11_000)
  t.is(reportOf(t, again).wireBytes, 0)
})

test('progress never goes back', (t) => {
  const stage = new Stage(2, { uplinkMbit: 20 })
  const source = stage.peer('a', 'one', [{ image: base }])
  const fetched = stage.fetch(stage.peer('b', 'two'), base, [source])
  stage.world.run(20_000)
  reportOf(t, fetched)
  t.true(fetched.progress.length > 5)
  const figures = ['doneBytes', 'compressedBytes', 'wireBytes'] as const
  fetched.progress.reduce((before, now) => {
    for (const figure of figures) t.true(now[figure] >= before[figure], figure)
    return now
  })
  t.true(fetched.progress.some(({ etaMs, bytesPerSecond }) => bytesPerSecond > 1e6 && (etaMs ?? 0) > 500))
})

test('what is held from another image is not fetched', (t) => {
  const stage = new Stage(3)
  const grown = imageOf([...range(0, 150), ...range(500, 520)])
  const source = stage.peer('a', 'one', [{ image: grown }])
  const peer = stage.peer('b', 'two', [{ image: base }])
  const fetched = stage.fetch(peer, grown, [source])
  stage.world.run(10_000)
  t.is(reportOf(t, fetched).dedupBytes, 20 * CHUNK)
  t.is(source.served.reads, 20)
  t.true(holds(peer, grown))
})

test('after a power cut nothing that the disk kept is fetched again', (t) => {
  for (const seed of range(1, 9)) {
    const stage = new Stage(seed, { uplinkMbit: 40 })
    const source = stage.peer('a', 'one', [{ image: base }])
    const before = stage.peer('b', 'two')
    stage.fetch(before, base, [source])
    stage.world.run(700 + seed * 150)
    t.false(holds(before, base))
    const peer = stage.restart(before)
    const kept = peer.chunks.held().size
    const readsBefore = source.served.reads
    const fetched = stage.fetch(peer, base, [source])
    // What was on its way to the dead is still served; the source learns only later.
    stage.world.run(60_000)
    const report = reportOf(t, fetched)
    t.is(report.dedupBytes, (160 - kept) * CHUNK)
    t.true(source.served.reads - readsBefore <= 160 - kept + 80)
    t.true(holds(peer, base))
  }
})

test('a source that sends other bytes is banned at the first, and nothing of it is stored', (t) => {
  const stage = new Stage(4)
  const other = imageOf(range(900, 910))
  const wrong = other.frames.values().next().value as Uint8Array
  const evil = (store: ChunkStore): ChunkStore => ({
    has: (ids, done) => store.has(ids, done),
    sizes: (ids, done) => store.sizes(ids, done),
    bytes: () => store.bytes(),
    write: (id, frame, bytes, done) => store.write(id, frame, bytes, done),
    put: (packed, done) => store.put(packed, done),
    sync: (done) => store.sync(done),
    hold: () => store.hold(),
    collect: (collection, done) => store.collect(collection, done),
    scrub: (scrub, done) => store.scrub(scrub, done),
    read: (_, done) => store.read(_, () => done(ok(wrong))),
  })
  const liar = stage.peer('liar', 'one', [{ image: base }], evil)
  const honest = stage.peer('honest', 'three', [{ image: base }])
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [liar, honest])
  stage.world.run(20_000)
  reportOf(t, fetched)
  t.true(holds(peer, base))
  t.is(peer.chunks.held().size, 160)
  t.is(stage.network.counts.blames, 1)
  // Banned: not asked again, in this download or the next.
  const reads = liar.served.reads
  t.true(reads < 40, String(reads))
  stage.fetch(stage.peer('c', 'two'), base, [honest])
  const next = imageOf([...range(0, 10), ...range(300, 310)])
  stage.fetch(peer, next, [liar])
  stage.world.run(60_000)
  t.is(liar.served.reads, reads)
})

test('a corrupt disk of a source costs a chunk, not the source', (t) => {
  const stage = new Stage(5)
  const damaged = stage.peer('a', 'one', [{ image: base }])
  const whole = stage.peer('c', 'three', [{ image: base }])
  damaged.chunks.damage(idsOf(base, [3])[0] as string)
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [damaged, whole])
  stage.world.run(20_000)
  reportOf(t, fetched)
  t.true(holds(peer, base))
  t.is(stage.network.counts.blames, 0)
})

test('an image that nobody holds whole comes from parts, one of them held by a peer that never saw it', (t) => {
  const stage = new Stage(6)
  const elsewhere = imageOf([...range(2_000, 2_040), ...range(100, 160)])
  const sources = [
    stage.peer('a', 'one', [{ image: base, indexes: range(0, 60) }]),
    stage.peer('b', 'two', [{ image: base, indexes: range(40, 100) }]),
    stage.peer('c', 'three', [{ image: elsewhere }]),
  ]
  const peer = stage.peer('d', 'four')
  const fetched = stage.fetch(peer, base, sources)
  stage.world.run(20_000)
  const report = reportOf(t, fetched)
  t.true(holds(peer, base))
  t.is(report.sources, 3)
  // Endgame may ask for one of them twice: it did for 3 of 30 seeds.
  const reads = sources.reduce((sum, { served }) => sum + served.reads, 0)
  t.true(reads === 160 || (reads === 161 && report.duplicateBytes <= 65 * 1024), String(reads))
})

test('sources are found in the directory', (t) => {
  const stage = new Stage(7)
  const source = stage.peer('a', 'one', [{ image: base }])
  source.sim.directory.provide(base.manifest.image)
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [])
  stage.world.run(30_000)
  reportOf(t, fetched)
  stage.world.run(32_000)
  const found: string[] = []
  source.sim.directory.find(base.manifest.image, 5, 1_000, (outcome) => {
    if (outcome.ok) found.push(...outcome.value)
  })
  stage.world.run(34_000)
  t.deepEqual(found, ['b'])
})

test('a source that dies without a word costs 300 ms', (t) => {
  const run = (dies: boolean): number => {
    const stage = new Stage(8, { uplinkMbit: 20, jitter: 0 })
    stage.world.run(1_000)
    const live = stage.peer('a', 'one', [{ image: base }])
    const dead = stage.peer('c', 'three', [{ image: base, indexes: range(0, 40) }])
    const peer = stage.peer('b', 'two')
    stage.network.links.setUplink('two', 1_000)
    const fetched = stage.fetch(peer, base, [live, dead])
    stage.world.run(2_000)
    // From here on the other has to bring all that is left, either way.
    if (dies) stage.network.cut('b', 'c')
    else stage.network.crash('c', 'killed')
    stage.world.run(60_000)
    reportOf(t, fetched)
    return fetched.atMs
  }
  const killed = run(false)
  const silent = run(true)
  // With a chunk at the end of a 20 Mbit/s line (26 ms) to spare: it may only be asked for at the end.
  t.true(silent <= killed + 300 + 52, `${silent} against ${killed}`)
})

test('eight sources bring it eight times as fast, and hardly anything twice', (t) => {
  const run = (count: number): { ms: number; duplicates: number } => {
    const stage = new Stage(9, EQUALS)
    stage.world.run(1_000)
    const sources = range(0, count).map((n) => stage.peer(`s${n}`, 'here', [{ image: base }]))
    const peer = stage.peer('b', 'here')
    const fetched = stage.fetch(peer, base, sources)
    stage.world.run(90_000)
    return { ms: fetched.atMs - 1_000, duplicates: reportOf(t, fetched).duplicateBytes }
  }
  const one = run(1)
  const eight = run(8)
  // Dials and the manifest take 300 ms of either.
  t.true(eight.ms - 300 < (one.ms - 300) / 6.9, `${eight.ms} against ${one.ms}`)
  t.true(eight.duplicates <= 0.05 * 160 * CHUNK, String(eight.duplicates))
})

test('nobody in sight holds the rest: NO_SOURCE after its time, with the number of chunks', (t) => {
  const stage = new Stage(10)
  const source = stage.peer('a', 'one', [{ image: base, indexes: range(0, 150) }])
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [source])
  stage.world.run(60_000)
  t.deepEqual(fetched.outcome, {
    ok: false,
    failure: { code: 'NO_SOURCE', image: base.manifest.image, missing: 10 },
  })
  t.true(fetched.atMs > NO_SOURCE_MS && fetched.atMs < NO_SOURCE_MS + 5_000, String(fetched.atMs))
  t.is(peer.chunks.held().size, 150)
})

test('nobody has the manifest: NO_SOURCE too', (t) => {
  const stage = new Stage(11)
  const source = stage.peer('a', 'one')
  const fetched = stage.fetch(stage.peer('b', 'two'), base, [source])
  stage.world.run(60_000)
  t.is(fetched.outcome?.ok === false && fetched.outcome.failure.code, 'NO_SOURCE')
})

test('a source that comes late is used', (t) => {
  const stage = new Stage(12)
  const first = stage.peer('a', 'one', [{ image: base, indexes: range(0, 80) }])
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [first])
  stage.world.run(8_000)
  stage
    .peer('c', 'three', [{ image: base, indexes: range(80, 160) }])
    .sim.directory.provide(base.manifest.image)
  stage.world.run(40_000)
  reportOf(t, fetched)
  t.true(holds(peer, base))
})

test('two downloads of one image share one; a cancelled one does not end the other', (t) => {
  const stage = new Stage(13)
  const source = stage.peer('a', 'one', [{ image: base }])
  const peer = stage.peer('b', 'two')
  const one = stage.fetch(peer, base, [source])
  const two = stage.fetch(peer, base, [source])
  stage.world.run(300)
  one.cancel()
  stage.world.run(20_000)
  t.is(one.outcome?.ok === false && one.outcome.failure.code, 'CANCELLED')
  reportOf(t, two)
  t.is(source.served.reads, 160)
})

test('the last one cancelled ends it; a later one goes on from there', (t) => {
  const stage = new Stage(14, { uplinkMbit: 20 })
  const source = stage.peer('a', 'one', [{ image: base }])
  const peer = stage.peer('b', 'two')
  const one = stage.fetch(peer, base, [source])
  stage.world.run(3_000)
  one.cancel()
  stage.world.run(5_000)
  const kept = peer.chunks.held().size
  t.true(kept > 0 && kept < 160)
  const reads = source.served.reads
  stage.world.run(9_000)
  t.is(source.served.reads, reads)
  const two = stage.fetch(peer, base, [source])
  stage.world.run(60_000)
  t.is(reportOf(t, two).dedupBytes, (160 - kept) * CHUNK)
})

test('a full disk ends it with that reason', (t) => {
  const stage = new Stage(15)
  const source = stage.peer('a', 'one', [{ image: base }])
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [source])
  stage.world.run(400)
  peer.chunks.full = true
  stage.world.run(5_000)
  t.is(fetched.outcome?.ok === false && fetched.outcome.failure.code, 'DISK_FULL')
})

test('what a near peer holds does not cross the uplink', (t) => {
  const stage = new Stage(16)
  const far = stage.peer('a', 'one', [{ image: base }])
  const near = stage.peer('c', 'two', [{ image: base, indexes: range(0, 100) }])
  const peer = stage.peer('b', 'two')
  const fetched = stage.fetch(peer, base, [far, near])
  stage.world.run(20_000)
  reportOf(t, fetched)
  t.is(near.served.reads, 100)
  t.is(far.served.reads, 60)
})

test('eight peers fetch at once from one seed: they help each other, found in the directory and by asking', (t) => {
  const stage = new Stage(17, EQUALS)
  const seed = stage.peer('seed', 'here', [{ image: base }])
  seed.sim.directory.provide(base.manifest.image)
  const peers = range(0, 8).map((n) => stage.peer(`p${n}`, 'here'))
  stage.world.run(1_000)
  const fetched = peers.map((peer) => stage.fetch(peer, base, [seed]))
  stage.world.run(120_000)
  for (const each of fetched) reportOf(t, each)
  const lastMs = Math.max(...fetched.map(({ atMs }) => atMs)) - 1_000
  const oneMs = (160 * CHUNK * 8) / 20_000
  t.log(
    `last after ${(lastMs / oneMs).toFixed(2)} of one copy's time, seed sent ${(seed.served.reads / 160).toFixed(2)} copies`,
  )
  // A small image: seconds, of which dials and the first chunk's way to the last peer are a good part.
  t.true(lastMs < oneMs * 1.5)
  t.true(seed.served.reads <= 160 * 1.1, String(seed.served.reads))
  const duplicates = fetched.reduce((sum, each) => sum + reportOf(t, each).duplicateBytes, 0)
  t.true(duplicates <= 0.01 * 8 * 160 * CHUNK, String(duplicates))
})

test('four peers of a site fetch at once: each chunk crosses its uplink once', (t) => {
  const wan = { uplinkMbit: 20, lanMbit: 1_000 }
  const cases = {
    'from a source of all of it': [range(0, 160)],
    'from two that hold parts': [range(0, 100), range(60, 160)],
  }
  for (const [name, parts] of Object.entries(cases)) {
    const stage = new Stage(20, wan)
    const sources = parts.map((indexes, n) => stage.peer(`s${n}`, `far-${n}`, [{ image: base, indexes }]))
    const peers = range(0, 4).map((n) => stage.peer(`p${n}`, 'here'))
    stage.world.run(1_000)
    const fetched = peers.map((peer) => stage.fetch(peer, base, [...sources, ...peers]))
    stage.world.run(120_000)
    for (const each of fetched) reportOf(t, each)
    const reads = sources.reduce((sum, { served }) => sum + served.reads, 0)
    t.log(`${name}: ${(reads / 160).toFixed(2)} copies`)
    t.true(reads <= 160 * 1.1, `${name}: ${reads}`)
  }
})

test('one that is shown chunks and loses its power costs the others nothing that they notice', (t) => {
  const run = (seed: number, dies: boolean): number => {
    const stage = new Stage(seed, { ...EQUALS, jitter: 0 })
    stage.world.run(1_000)
    const source = stage.peer('seed', 'here', [{ image: base }])
    const peers = range(0, 4).map((n) => stage.peer(`p${n}`, 'here'))
    const fetched = peers.map((peer) => stage.fetch(peer, base, [source, ...peers]))
    stage.world.run(3_000)
    if (dies) stage.network.crash('p3', 'power')
    stage.world.run(60_000)
    for (const each of fetched.slice(0, 3)) reportOf(t, each)
    return Math.max(...fetched.slice(0, 3).map(({ atMs }) => atMs))
  }
  // Of one alone it is up to 900 ms by chance, of 20 seeds 340.
  const costs = [21, 22].map((seed) => run(seed, true) - run(seed, false))
  t.true((costs[0] as number) + (costs[1] as number) <= 2 * 600, costs.join(', '))
})

test('reads for all channels together are bounded, and sessions take turns', (t) => {
  const stage = new Stage(18)
  const source = stage.peer('a', 'one', [{ image: base }])
  stage.network.links.setUplink('one', 1_000)
  const peers = range(0, 6).map((n) => stage.peer(`p${n}`, `site-${n}`))
  const fetched = peers.map((peer) => stage.fetch(peer, base, [source]))
  stage.world.run(60_000)
  for (const each of fetched) reportOf(t, each)
  t.true(source.served.mostAtOnce <= SERVE_READS_MAX)
  const ends = fetched.map(({ atMs }) => atMs)
  t.true(Math.max(...ends) < 2 * Math.min(...ends), ends.join())
})

test('junk on a channel costs its sender the channel, on either side', (t) => {
  const stage = new Stage(19)
  const source = stage.peer('a', 'one', [{ image: base }])
  const stranger = stage.network.join('x', 'three')
  const seen: string[] = []
  stranger.transport.allow(
    new Map([
      ['a', []],
      ['b', []],
    ]),
  )
  stranger.transport.serve(PROTOCOL, {
    channel: (_, channel) => void channel.send(Uint8Array.of(0xc1, 1, 2)),
  })
  const peer = stage.peer('b', 'two')
  const everyone = new Map(['a', 'b', 'x'].map((id) => [id, []]))
  source.sim.transport.allow(everyone)
  peer.sim.transport.allow(everyone)
  stranger.transport.open('a', PROTOCOL, (outcome) => {
    if (!outcome.ok) return
    outcome.value.onClose(() => seen.push('closed'))
    outcome.value.send(Uint8Array.of(0xc1))
  })
  const fetched = stage.fetch(peer, base, [source], { sources: ['x', 'a'] })
  stage.world.run(20_000)
  reportOf(t, fetched)
  t.deepEqual(seen, ['closed'])
  t.true(stage.network.counts.blames >= 2)
})

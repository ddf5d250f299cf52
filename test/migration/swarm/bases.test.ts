/** The base under a disk of a peer as a source, for others and for itself. */
import test from 'ava'
import { failed, ok } from '../../../protocols/outcome.ts'
import type { Bases } from '../../../storage/images/bases.ts'
import { holds, type Image, imageOf, range, reportOf, Stage } from './support.ts'

const CHUNK = 16 * 1024
const image = imageOf(range(0, 80), CHUNK)

/** A base of an image; `damaged`: what its disk has changed. */
function baseOf({ frames }: Image, damaged: ReadonlySet<string> = new Set()): Bases & { reads: number } {
  const bases: Bases & { reads: number } = {
    reads: 0,
    find: (ids, done) => done(ok(ids.map((id) => (frames.has(id) ? CHUNK : 0)))),
    read: (id, done) => {
      const frame = damaged.has(id) ? undefined : frames.get(id)
      if (frame === undefined) return done(failed({ code: 'CHUNK_MISSING', image: '', chunks: 1 }))
      bases.reads++
      done(ok(frame))
    },
  }
  return bases
}

test('chunks that only the base under a disk holds are served', (t) => {
  const stage = new Stage(1)
  const bases = baseOf(image)
  stage.bases.set('host', bases)
  const host = stage.peer('host', 'far', [{ image, indexes: range(0, 30) }])
  const peer = stage.peer('peer', 'here')
  stage.world.run(500)
  const fetched = stage.fetch(peer, image, [host])
  stage.world.run(60_000)
  t.is(reportOf(t, fetched).sources, 1)
  t.true(holds(peer, image))
  t.is(bases.reads, 50)
})

test('what lies in a base here is not fetched, and the store has it then', (t) => {
  const stage = new Stage(2)
  const changed = new Set([...image.frames.keys()].slice(0, 3))
  stage.bases.set('peer', baseOf(image, changed))
  const seed = stage.peer('seed', 'far', [{ image }])
  const peer = stage.peer('peer', 'here', [{ image, indexes: range(70, 80) }])
  stage.world.run(500)
  const fetched = stage.fetch(peer, image, [seed])
  stage.world.run(60_000)
  const report = reportOf(t, fetched)
  t.is(report.dedupBytes, changed.size * CHUNK)
  t.is(seed.served.reads, changed.size)
  t.true(holds(peer, image))
})

test('a base that holds all of it needs nobody', (t) => {
  const stage = new Stage(3)
  stage.bases.set('peer', baseOf(image))
  const peer = stage.peer('peer', 'here', [{ image, indexes: [] }])
  const fetched = stage.fetch(peer, image, [])
  stage.world.run(10_000)
  t.is(reportOf(t, fetched).wireBytes, 0)
  t.true(holds(peer, image))
})

test('a full disk ends the taking over of a base with that reason', (t) => {
  const stage = new Stage(4)
  stage.bases.set('peer', baseOf(image))
  const peer = stage.peer('peer', 'here', [{ image, indexes: [] }])
  peer.chunks.full = true
  const fetched = stage.fetch(peer, image, [])
  stage.world.run(10_000)
  t.like(fetched.outcome, { ok: false, failure: { code: 'DISK_FULL' } })
})

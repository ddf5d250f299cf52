/** A peer looks after its own chunk store: damage is found and made good from others, garbage goes. */
import test from 'ava'
import { Counts } from '../../node/figures.ts'
import { Collecting } from '../../node/keeping/collecting.ts'
import { Housekeeping } from '../../node/housekeeping.ts'
import type { Pull } from '../../node/moving/around.ts'
import { NO_COST } from '../../protocols/move/messages.ts'
import { ok } from '../../protocols/outcome.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { SimJournal } from '../../simulator/journal.ts'
import { chunk } from '../contracts/chunk.ts'
import { holds, idsOf, imageOf, range, Stage } from '../migration/swarm/support.ts'

const MINUTE = 60_000

/** Two peers with the same image, and the housekeeping of the second. */
function scene(seed: number) {
  const image = imageOf(range(0, 40))
  const other = imageOf(range(100, 110))
  const stage = new Stage(seed)
  const source = stage.peer('a', 'one', [{ image }])
  const peer = stage.peer('b', 'one', [{ image }, { image: other }])
  const journal = new SimJournal(stage.world, 'b')
  const counts = new Counts()
  const asked: string[] = []
  const pull: Pull = (images, _holders, _onCost, done) => {
    asked.push(...images.map((each) => each.image))
    const [{ image: wanted, only } = { image: '' }] = images
    return peer.swarm.download({
      image: wanted,
      ...(only && { only }),
      sources: [source.id],
      near: () => true,
      onProgress: () => {},
      done: (outcome) =>
        done(outcome.ok ? ok({ ...NO_COST, ...outcome.value.report, totalBytes: 0 }) : outcome),
    })
  }
  const { clock } = peer.sim.life
  const { chunks, manifests } = peer
  const housekeeping = new Housekeeping(
    { clock, chunks, manifests, journal },
    new Collecting(chunks, manifests),
    pull,
    counts,
  )
  const notes = (): string[] => {
    const texts: string[] = []
    journal.tail(50, (outcome) => outcome.ok && texts.push(...outcome.value.map(({ text }) => text)))
    stage.world.run(stage.world.nowMs + 10)
    return texts
  }
  return { image, other, stage, source, peer, housekeeping, counts, asked, notes }
}

test('a chunk that the disk has changed is found, and fetched from a peer that has it', (t) => {
  const { image, stage, peer, source, housekeeping, counts, asked, notes } = scene(1)
  const [bad = ''] = idsOf(image, [17])
  peer.chunks.damage(bad)
  housekeeping.start()
  stage.world.run(stage.world.nowMs + 3 * MINUTE)
  t.true(holds(peer, image))
  t.deepEqual(asked, [image.manifest.image], 'the image that has it, once')
  t.is(source.served.reads, 1, 'one chunk crosses')
  t.is(counts.values().godwit_store_damaged_chunks_total, 1)
  t.true(notes().some((text) => text.startsWith('the image was made whole')))
  let read: unknown
  peer.chunks.read(bad, (outcome) => (read = outcome))
  stage.world.run(stage.world.nowMs + 10)
  t.like(read, { ok: true })
})

test('damage that nobody can make good is asked for again, until somebody can', (t) => {
  const { other, stage, peer, source, housekeeping, asked, notes } = scene(2)
  peer.chunks.damage(idsOf(other, [3])[0] as ChunkId)
  housekeeping.start()
  stage.world.run(stage.world.nowMs + 5 * MINUTE)
  t.deepEqual(asked, [other.manifest.image])
  t.true(notes().some((text) => text.startsWith('the image stays damaged')))
  const [id = ''] = idsOf(other, [3])
  source.chunks.write(id, other.frames.get(id) as Uint8Array, other.manifest.chunkBytes, () => {})
  stage.world.run(stage.world.nowMs + 15 * MINUTE)
  t.true(holds(peer, other))
  t.is(asked.length, 2)
})

test('an image that is here in part is not fetched because one of its chunks was damaged', (t) => {
  const { image, stage, peer, housekeeping, counts, asked } = scene(6)
  for (const id of idsOf(image, range(0, 20))) peer.chunks.damage(id)
  for (const id of idsOf(image, range(0, 19))) peer.chunks.read(id, () => {})
  stage.world.run(stage.world.nowMs + 100)
  t.is(peer.chunks.held().size, 50 - 19)
  housekeeping.start()
  stage.world.run(stage.world.nowMs + 3 * MINUTE)
  t.is(counts.values().godwit_store_damaged_chunks_total, 1)
  t.deepEqual(asked, [])
})

test('a manifest that the disk has changed is fetched again, and those of its chunks that are damaged', (t) => {
  const { image, other, stage, peer, source, housekeeping, asked, notes } = scene(7)
  peer.manifests.damage(image.manifest.image)
  peer.manifests.damage(other.manifest.image)
  for (const id of idsOf(image, range(0, 3))) peer.chunks.damage(id)
  housekeeping.start()
  stage.world.run(stage.world.nowMs + 3 * MINUTE)
  t.deepEqual(peer.manifests.damaged(), [other.manifest.image], 'nobody has the other')
  t.deepEqual(new Set(asked), new Set([image.manifest.image, other.manifest.image]))
  t.is(source.served.reads, 3)
  t.true(holds(peer, image))
  const texts = notes()
  t.true(texts.some((text) => text.startsWith('the manifest of this image was fetched again')))
  t.true(texts.some((text) => text.startsWith('the manifest of this image stays damaged: NO_SOURCE')))
  t.is(texts.filter((text) => text.startsWith('the disk has changed the manifest')).length, 2)
})

test('chunks that no manifest names go, those of every manifest stay', (t) => {
  const { image, other, stage, peer, housekeeping, counts } = scene(3)
  for (const n of range(0, 5)) peer.chunks.write(chunk(n).id, chunk(n).frame, 4096, () => {})
  stage.world.run(stage.world.nowMs + 10)
  t.is(peer.chunks.held().size, 55)
  housekeeping.start()
  stage.world.run(stage.world.nowMs + 3 * MINUTE)
  t.is(peer.chunks.held().size, 50)
  t.true(holds(peer, image) && holds(peer, other))
  t.true(counts.values().godwit_store_collected_bytes_total > 0)
})

test('nothing is dropped while a manifest cannot be read', (t) => {
  const { stage, peer, housekeeping, notes } = scene(4)
  peer.chunks.write(chunk(1).id, chunk(1).frame, 4096, () => {})
  peer.manifests.fail = { code: 'DATA_CORRUPT', what: 'a manifest', why: 'it is not what its name says' }
  housekeeping.start()
  stage.world.run(stage.world.nowMs + 3 * MINUTE)
  t.is(peer.chunks.held().size, 51)
  t.true(notes().some((text) => text === 'collecting garbage failed: DATA_CORRUPT'))
})

test('stopped, it does nothing more', (t) => {
  const { image, stage, peer, housekeeping, asked } = scene(5)
  peer.chunks.damage(idsOf(image, [1])[0] as ChunkId)
  housekeeping.start()
  housekeeping.stop()
  stage.world.run(stage.world.nowMs + 5 * MINUTE)
  t.deepEqual(asked, [])
})

/** Finding peers that never saw an image but hold its chunks, on the simulator's network. */
import test from 'ava'
import { LISTED_CHUNKS_MAX } from '../../../protocols/limits.ts'
import { holds, imageOf, range, reportOf, Stage } from '../swarm/support.ts'

const CHUNK = 4 * 1024
const wanted = imageOf(range(0, 400), CHUNK)
/** Another image that shares a tenth of its chunks. */
const cousin = imageOf([...range(0, 40), ...range(5_000, 5_100)], CHUNK)
const stranger = imageOf(range(7_000, 7_200), CHUNK)

test('a neighbour that never saw the image but holds chunks of it is found, though nobody named it', (t) => {
  const stage = new Stage(1)
  const seed = stage.peer('seed', 'far', [{ image: wanted, indexes: range(30, 400) }])
  const near = stage.peer('near', 'here', [{ image: cousin }])
  const other = stage.peer('other', 'here', [{ image: stranger }])
  const peer = stage.peer('peer', 'here', [], undefined, () => [near.id, other.id])
  stage.world.run(500)
  const fetched = stage.fetch(peer, wanted, [seed])
  stage.world.run(60_000)
  reportOf(t, fetched)
  t.true(holds(peer, wanted))
  // What it holds and the seed does not, and most of the rest: it is near, and known a little later.
  t.true(near.served.reads >= 30 && near.served.reads <= 40, String(near.served.reads))
  t.is(other.served.reads, 0)
})

test('who holds none of it costs a digest, not a list', (t) => {
  const cost = (strangers: number): number => {
    const stage = new Stage(2)
    const seed = stage.peer('seed', 'far', [{ image: wanted }])
    const others = range(0, strangers).map((n) => stage.peer(`other-${n}`, 'far', [{ image: stranger }]))
    const peer = stage.peer('peer', 'here')
    stage.world.run(500)
    const fetched = stage.fetch(peer, wanted, [seed, ...others])
    stage.world.run(60_000)
    return reportOf(t, fetched).wireBytes
  }
  // A hello and its answer each; a list of 400 chunks is 12,800 bytes, and of a large image LISTED_CHUNKS_MAX times 32.
  const each = (cost(12) - cost(2)) / 10
  t.true(LISTED_CHUNKS_MAX > 400 && each > 0 && each < 400, String(each))
})

test('the one peer that holds the last few chunks is found once the rest is here', (t) => {
  const stage = new Stage(3)
  const seed = stage.peer('seed', 'far', [{ image: wanted, indexes: range(1, 400) }])
  const last = stage.peer('last', 'far', [{ image: imageOf([0, ...range(8_000, 8_050)], CHUNK) }])
  const peer = stage.peer('peer', 'here', [], undefined, () => [last.id])
  stage.world.run(500)
  const fetched = stage.fetch(peer, wanted, [seed])
  stage.world.run(60_000)
  reportOf(t, fetched)
  t.is(last.served.reads, 1)
})

/** The second level in the swarm: what is held in part, at another place, comes by blocks. */
import test from 'ava'
import { type Image, holds, imageOfBlocks, type Peer, range, reportOf, Stage } from './support.ts'

const BLOCKS = { blocks: true }
const same = <T>(each: T): T => each
const nobody = (): string[] => []
/** 4 MiB: 64 chunks of 16 blocks. */
const BASE = range(0, 1_024)
const base = imageOfBlocks(BASE)
/** Built again: everything lies three blocks further, and ten are new. */
const rebuilt = imageOfBlocks([
  ...range(5_000, 5_003),
  ...BASE.slice(0, 700),
  ...range(6_000, 6_007),
  ...BASE.slice(700),
])

function pair(
  seed: number,
  target: Image,
  held: readonly Image[],
  speaks = BLOCKS,
): { stage: Stage; source: Peer; peer: Peer } {
  const stage = new Stage(seed, { uplinkMbit: 20 })
  const source = stage.peer(
    'a',
    'one',
    [{ image: target }, ...held.map((image) => ({ image }))],
    same,
    nobody,
    speaks,
  )
  const peer = stage.peer(
    'b',
    'two',
    held.map((image) => ({ image })),
    same,
    nobody,
    BLOCKS,
  )
  return { stage, source, peer }
}

test('an image that was built again costs what is new in it', (t) => {
  const { stage, source, peer } = pair(1, rebuilt, [base])
  const fetched = stage.fetch(peer, rebuilt, [source])
  stage.world.run(30_000)
  const report = reportOf(t, fetched)
  t.true(holds(peer, rebuilt))
  // Ten blocks, and 96 bytes of fingerprints for each of 65 chunks.
  t.true(report.wireBytes < 70_000, JSON.stringify(report))
  t.is(report.matchedBytes, 1_024 * 4_096)
  t.is(report.duplicateBytes, 0)
})

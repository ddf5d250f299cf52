import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { Mesh, type Peer, type Seen } from './mesh.ts'

// Goal: whatever is lost, cut, compacted, restarted or begun anew, each peer is given the committed sequence: every entry
// once, in order, nothing left out (mesh.ts holds every delivery against the truth as it comes); and once the faults
// stop, everybody has everything soon. Method: histories that the seed draws, 3 to 14 peers in up to four sites.
const seen: Seen = {}
const HEAL_MS = 60_000

testProp(
  'what is delivered is what was committed, each entry once',
  [fc.nat()],
  (t, seed) => {
    const { sites, members, loss, kept } = drawn(seed)
    const mesh = new Mesh({ seed, sites, members, loss, kept })
    mesh.start()
    for (let turn = 0; turn < 40; turn++) {
      happen(mesh)
      mesh.run(mesh.dice.below(4_000))
    }
    mesh.loss = 0
    mesh.cut.clear()
    for (const peer of mesh.peers) if (!peer.up) peer.start()
    for (const peer of mesh.peers) if (peer.member) peer.catchUp()
    mesh.run(HEAL_MS)
    t.deepEqual(mesh.behind(), [], `seed ${seed}`)
    for (const [what, count] of Object.entries(mesh.seen)) seen[what] = (seen[what] ?? 0) + count
  },
  { numRuns: 120 },
)

test.after('the histories reached the hard cases', (t) => {
  const hard = [
    'entries',
    'part',
    'snapshot',
    'snapshot of a newer generation',
    'recovered',
    'compacted',
    'restarted',
    'behind',
    'adrift',
    'loop',
    'resumed elsewhere',
    'crossed',
  ]
  t.deepEqual(
    hard.filter((what) => seen[what] === undefined),
    [],
    JSON.stringify(seen),
  )
})

function drawn(seed: number): { sites: number[]; members: number; loss: number; kept: number } {
  const { dice } = new Mesh({ seed, sites: [1], members: 1, loss: 0, kept: 0 })
  const sites = Array.from({ length: 1 + dice.below(4) }, () => 1 + dice.below(4))
  while (sites.reduce((sum, each) => sum + each, 0) < 3) sites.push(1)
  return { sites, members: 1 + dice.below(3), loss: dice.pick([0, 0, 0.05, 0.3]), kept: 1 + dice.below(20) }
}

/** One thing, of those that happen to meshes. */
function happen(mesh: Mesh): void {
  const { dice, peers } = mesh
  const peer = dice.pick(peers)
  const what = dice.below(10)
  if (what < 5) return mesh.commit(1 + dice.below(dice.pick([3, 40])))
  if (what === 5) return peer.compact(dice.below(mesh.kept))
  if (what === 6) return restart(mesh, peer)
  if (what === 7) return void mesh.cut.add(peer.id)
  if (what === 8) return mesh.cut.clear()
  const held = peers.filter(
    ({ up, member, disk }) => up && member && disk.generation === mesh.generation && disk.log.applied > 0,
  )
  if (held.length > 0 && dice.chance(0.2)) mesh.recover(dice.pick(held))
  else mesh.cut.add(`site ${dice.pick(peers).site} ${dice.pick(peers).site}`)
}

function restart(mesh: Mesh, peer: Peer): void {
  mesh.count('restarted')
  if (!peer.up) return peer.start()
  peer.crash()
  if (mesh.dice.chance(0.7)) peer.start()
}

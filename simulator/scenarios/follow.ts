/**
 * Following: whatever is lost, cut, compacted, restarted or begun anew, each peer is given the committed sequence, every
 * entry once, in order, nothing left out (simulator/follow holds every delivery against the truth as it comes); and once
 * the faults stop, everybody has everything soon. Three peers to as many as told, in up to four sites.
 */
import { Mesh, type Terms } from '../follow/mesh.ts'
import type { Peer } from '../follow/peer.ts'
import type { Random } from '../random.ts'
import { type Scenario, Violation } from '../scenario.ts'

const CALM_MS = 80_000
const HEAL_MS = 60_000
/** Between two things that happen, at most. */
const TURN_MS = 4_000

export const follow: Scenario = {
  name: 'follow',
  summary: "one group's log, followed from peer to peer through losses, cuts, restarts and compactions",
  virtualMs: CALM_MS + HEAL_MS,
  peers: 14,
  moments: [
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
  ],

  run(world, peers, moment) {
    const dice = world.random('follow')
    const mesh = new Mesh(world, drawn(dice, peers), (what) => {
      if (follow.moments.includes(what)) moment(what)
    })
    mesh.start()
    for (let at = 0; at < CALM_MS; at += dice.below(TURN_MS)) world.after(at, () => happen(mesh))
    world.after(CALM_MS, () => {
      mesh.loss = 0
      mesh.cut.clear()
      for (const peer of mesh.peers) if (!peer.up) peer.start()
      for (const peer of mesh.peers) if (peer.member) peer.catchUp()
    })
    return {
      counts: () => ({ committed: mesh.truth.length }),
      end() {
        const behind = mesh.behind()
        if (behind.length > 0) throw new Violation('all is everywhere', behind.join('; '))
      },
    }
  },
}

function drawn(dice: Random, peers: number): Terms {
  const sites = Array.from({ length: 1 + dice.below(4) }, () => 1 + dice.below(4))
  const total = (): number => sites.reduce((sum, each) => sum + each, 0)
  while (total() < 3) sites.push(1)
  while (total() > peers && sites.length > 1) sites.pop()
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

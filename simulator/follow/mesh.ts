/**
 * Peers that hold one group's log and follow it from each other: the real cores and codecs, on virtual time and on a
 * network and disks that lose things. Members get the log from the truth itself, each as late as it likes; all others
 * have only what they are told. Every delivery is held against the truth at once.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Entry, Snapshot } from '../../protocols/raft/types.ts'
import type { Random } from '../random.ts'
import { Violation } from '../scenario.ts'
import type { World } from '../world.ts'
import { Peer, snapshotAt } from './peer.ts'

export type Terms = {
  /** Peers of each site; the first `members` of all peers, one site after the other, are members. */
  readonly sites: readonly number[]
  readonly members: number
  readonly loss: number
  /** Entries kept behind a snapshot. */
  readonly kept: number
}

export class Mesh {
  readonly world: World
  readonly peers: Peer[]
  /** The committed sequence; the entry with index i is at i - 1. */
  truth: Entry[] = []
  generation = 0
  /** Where the present generation begins. */
  generationIndex = 0
  loss: number
  readonly dice: Random
  readonly kept: number
  readonly count: (what: string) => void
  /** Pairs of sites, or of peers, that cannot reach each other. */
  readonly cut = new Set<string>()

  constructor(world: World, { sites, members, loss, kept }: Terms, moment: (what: string) => void) {
    this.world = world
    this.count = moment
    this.dice = world.random('mesh')
    this.loss = loss
    this.kept = kept
    const places = sites.flatMap((count, site) => Array.from({ length: count }, () => site))
    // Members are spread: the first peer of each site, then the second.
    const order = places
      .map((site, n) => ({ n, turn: n - places.indexOf(site) }))
      .sort((a, b) => a.turn - b.turn)
    const chosen = new Set(order.slice(0, members).map(({ n }) => n))
    this.peers = places.map((site, n) => new Peer(this, n, site, chosen.has(n)))
  }

  start(): void {
    for (const each of this.peers) each.start()
  }

  commit(count = 1): void {
    for (let n = 0; n < count; n++) {
      const index = this.truth.length + 1
      const term = (this.truth.at(-1)?.term ?? 1) + Number(this.dice.chance(0.05))
      const data = Uint8Array.of(this.generation, index & 255, index >> 8, this.dice.below(256))
      this.truth.push({ term, index, kind: 'normal', data })
    }
    for (const each of this.peers) if (each.member) each.catchUp()
  }

  /** `raft recover`: what one member has becomes a snapshot of a new generation; the rest never happened. */
  recover(by: Peer): void {
    this.generation++
    this.truth.length = by.disk.log.applied
    this.generationIndex = by.disk.log.applied
    by.disk.generation = this.generation
    by.compact(0)
    by.crash()
    by.start()
    this.count('recovered')
  }

  /** @throws Violation when `entry` is not what was committed there. */
  checkEntry(peer: string, entry: Entry): void {
    if (!isDeepStrictEqual(entry, this.truth[entry.index - 1]))
      throw new Violation('as committed', `${peer} was given another entry ${entry.index}`)
  }

  /** @throws Violation when `snapshot` is not the state that the committed entries make. */
  checkSnapshot(peer: string, snapshot: Snapshot): void {
    if (!isDeepStrictEqual(snapshot, snapshotAt(this.truth, snapshot.index)))
      throw new Violation('as committed', `${peer} was given another snapshot of ${snapshot.index}`)
  }

  reach(a: Peer, b: Peer): boolean {
    return (
      a.up &&
      b.up &&
      !this.cut.has(`site ${a.site} ${b.site}`) &&
      !this.cut.has(`site ${b.site} ${a.site}`) &&
      !this.cut.has(a.id) &&
      !this.cut.has(b.id)
    )
  }

  /** Who has not got everything. */
  behind(): string[] {
    return this.peers
      .filter(
        ({ up, disk }) =>
          up && (disk.generation !== this.generation || disk.log.applied !== this.truth.length),
      )
      .map(
        ({ id, disk }) =>
          `${id} at ${disk.generation}.${disk.log.applied} of ${this.generation}.${this.truth.length}`,
      )
  }
}

/**
 * What happens to the voters of a mesh that three peers founded, and to those elected since: whoever leads is struck, over
 * and over and mostly with something of that group's in hand. It is killed, loses power, alone or with the other voters, or is cut off from them
 * while everybody else still sees it; another takes over, and it comes back to find its term over.
 */
import type { Cluster, GroupName } from '../cluster.ts'
import type { SimHost } from '../host.ts'
import type { Operators } from '../operators.ts'

type Terms = {
  readonly fromMs: number
  /** Nothing is broken any more. */
  readonly untilMs: number
}

/** A voter is away for this long, ms: longer than an election, short enough that the other two are whole again by the next. */
const AWAY_MS = { least: 1_500, range: 2_500 }
const EVERY_MS = { least: 2_500, range: 2_500 }
/** How long a strike waits for something to be in hand. */
const PATIENCE_MS = 1_000
const LOOK_MS = 10

type Struck = { readonly leader: SimHost; readonly voters: readonly SimHost[] }
type Blow = (cluster: Cluster, struck: Struck, awayMs: number) => void

/** By the moment that each one is. */
const BLOWS = {
  'leader killed'({ world }, { leader }, awayMs) {
    leader.kill()
    world.after(awayMs, () => leader.start())
  },
  'leader without power'({ world }, { leader }, awayMs) {
    leader.cutPower()
    world.after(awayMs, () => leader.start())
  },
  // A fuse, or a region: what was acknowledged is on disks, or nowhere.
  'all voters without power at once'({ world }, { voters }, awayMs) {
    for (const host of voters) host.cutPower()
    for (const host of voters) world.after(awayMs, () => host.start())
  },
  'leader cut off from the voters'({ world, network }, { leader, voters }, awayMs) {
    const others = voters.filter((each) => each !== leader)
    for (const { terms } of others) network.cut(leader.terms.id, terms.id)
    world.after(awayMs, () => {
      for (const { terms } of others) network.healPair(leader.terms.id, terms.id)
    })
  },
} satisfies Record<string, Blow>
const BLOW_NAMES = Object.keys(BLOWS) as (keyof typeof BLOWS)[]

export const STRIKE_MOMENTS: readonly string[] = [
  'founded by three',
  ...BLOW_NAMES,
  'leader struck with a hand-over in the log',
  'leader struck while VMs are created and changed',
  'VM deleted meanwhile',
  'another voter leads the mesh',
  'another voter leads the site',
]

/** VMs that are created in the voters' site meanwhile, and how many of all are deleted. */
const VMS = 4
const DELETED = 3

export function strikeLeaders(
  cluster: Cluster,
  operators: Operators,
  moment: (name: string) => void,
  { fromMs, untilMs }: Terms,
): void {
  const { world } = cluster
  const dice = world.random('strikes')
  const site = cluster.founders[0]?.terms.site ?? ''
  moment('founded by three')

  const last = untilMs - PATIENCE_MS - AWAY_MS.least - AWAY_MS.range
  for (let at = fromMs; at < last; at += EVERY_MS.least + dice.below(EVERY_MS.range)) {
    const group: GroupName = dice.chance(0.5) ? 'mesh' : 'site'
    const awayMs = AWAY_MS.least + dice.below(AWAY_MS.range)
    world.after(at, () => {
      if (group === 'mesh')
        return whenBusy(
          () => handOvers() > 0,
          () => strike(group, awayMs),
        )
      // What was just asked for is on its way to the leader, in its log, or on its way to the other voters.
      operators.flipSome(site)
      world.after(dice.below(60), () => {
        if (strike(group, awayMs)) moment('leader struck while VMs are created and changed')
      })
    })
  }
  for (let n = 0; n < VMS; n++)
    world.after(fromMs + dice.below(last - fromMs), () => operators.createVm(`voters-${n}`, site))
  // Those that moved most, and are moving now, too: a deleted VM must not come back by what is still under way.
  for (let n = 0; n < DELETED; n++)
    world.after(fromMs + dice.below(last - fromMs), () =>
      operators.deleteVm(`vm-${n}`, () => moment('VM deleted meanwhile')),
    )

  const handOvers = (): number => {
    const moves = cluster.leader('mesh')?.node?.context.agreement.mesh.state.moves ?? {}
    return Object.values(moves).filter(({ state }) => state === 'intended').length
  }

  const whenBusy = (busy: () => boolean, run: () => boolean): void => {
    const endMs = world.nowMs + PATIENCE_MS
    const look = (): void => {
      const found = busy()
      if (!found && world.nowMs < endMs) return void world.after(LOOK_MS, look)
      if (run() && found) moment('leader struck with a hand-over in the log')
    }
    look()
  }

  /** False when nobody leads now: the strike before is not over. */
  const strike = (group: GroupName, awayMs: number): boolean => {
    const leader = cluster.leader(group)
    if (leader === undefined) return false
    const name = dice.pick(BLOW_NAMES)
    moment(name)
    BLOWS[name](cluster, { leader, voters: cluster.voters(group, leader) }, awayMs)
    world.after(awayMs, () => {
      const next = cluster.leader(group)
      if (next !== undefined && next !== leader) moment(`another voter leads the ${group}`)
    })
    return true
  }
}

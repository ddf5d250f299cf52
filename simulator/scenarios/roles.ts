/**
 * Who votes, and who leads, in meshes of the product's own code: a voter is lost, a site with two of five, peers come and
 * go, many join at once, all are restarted one after another. While something happens writers write all the time; at the
 * end the voters are those that the rules of protocols/roles/ ask for.
 */
import { Cluster } from '../cluster.ts'
import type { SimHost } from '../host.ts'
import { peerOf } from '../../protocols/raft/member.ts'
import { mostOf } from '../../protocols/roles/spread.ts'
import { type Scenario, Violation } from '../scenario.ts'
import type { World } from '../world.ts'
import { Writers } from '../writers.ts'

/** When the mesh has formed, and its voters have been chosen and promoted. */
const SETTLED_MS = 45_000

type Terms = {
  readonly name: string
  readonly summary: string
  readonly virtualMs: number
  /** Sites by their number of peers. */
  readonly sites: (peers: number) => readonly number[]
  readonly peers: number
  readonly moments: readonly string[]
  /** Whether a write may fail: where voters are struck down, those that they were just told may. */
  readonly mayFail: boolean
  /** Uplinks of the sites that do not have one of their own, by the site's place. */
  readonly uplinks?: Readonly<Record<number, string>>
  run(world: World, cluster: Cluster, moment: (name: string) => void): void
  end(cluster: Cluster): void
}

const scenario = (terms: Terms): Scenario => ({
  name: `role/${terms.name}`,
  summary: terms.summary,
  virtualMs: terms.virtualMs,
  peers: terms.peers,
  moments: ['formed', ...terms.moments],

  run(world, peers, moment) {
    const sites = terms.sites(peers).map((count, n) => {
      const uplink = terms.uplinks?.[n]
      return { name: `site${n}`, peers: count, ...(uplink !== undefined && { uplink }) }
    })
    const cluster = new Cluster(world, { sites, memoryMiB: 4_096, images: new Map() })
    const writers = new Writers(cluster)
    const voters = new Watched(cluster)
    cluster.form(() => moment('formed'))
    world.after(SETTLED_MS, () => writers.start())
    terms.run(world, cluster, moment)
    world.after(terms.virtualMs - 5_000, () => writers.stop())
    return {
      check: () => voters.look(),
      end() {
        if (!terms.mayFail && writers.failed.length > 0)
          throw new Violation('no failed write', `${writers.failed.length}: ${writers.failed[0]}`)
        if (writers.done < 100) throw new Violation('writes', `only ${writers.done} were done`)
        terms.end(cluster)
      },
      counts: () => ({
        ...cluster.network.counts,
        writes: writers.done,
        failed: writers.failed.length,
        slowestMs: Math.round(writers.slowestMs),
        changes: voters.changes,
      }),
    }
  },
})

/** The mesh's voters after every event: how often they change, and that a majority of them is never behind one site. */
class Watched {
  readonly #cluster: Cluster
  #seen = ''
  #nextMs = 0
  changes = 0

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  look(): void {
    const { nowMs } = this.#cluster.world
    if (nowMs < this.#nextMs) return
    this.#nextMs = nowMs + 100
    const voters = votersOf(this.#cluster)
    const text = voters.map(({ terms }) => terms.name).join(' ')
    if (text === this.#seen || text === '') return
    if (this.#seen !== '') this.changes++
    this.#seen = text
    this.#cluster.world.say(`mesh voters: ${text}`)
  }
}

/** As the mesh's leader has it; nobody while there is none. */
function votersOf(cluster: Cluster): SimHost[] {
  const [leader] = cluster.hosts
    .flatMap((host) => {
      const group = host.node?.context.agreement.mesh
      return group?.role === 'leader' ? [group.status()] : []
    })
    .toSorted((a, b) => b.term - a.term)
  return (leader?.configuration.voters ?? []).flatMap(
    (member) => cluster.hosts.find(({ terms }) => terms.id === peerOf(member)) ?? [],
  )
}

const sitesOf = (hosts: readonly SimHost[]): { site: string; uplink: string }[] =>
  hosts.map(({ terms }) => ({ site: terms.site, uplink: terms.uplink ?? terms.site }))

function expectVoters(cluster: Cluster, count: number, siteMax: number): SimHost[] {
  const voters = votersOf(cluster)
  const names = voters.map(({ terms }) => terms.name).join(' ')
  if (voters.length !== count) throw new Violation('roles at target', `${count} should vote: ${names}`)
  if (mostOf(sitesOf(voters), 'site') > siteMax) throw new Violation('spread over sites', names)
  return voters
}

function expectRunning(cluster: Cluster, count: number): void {
  const voters = expectVoters(cluster, count, Infinity)
  const gone = voters.filter(({ running }) => !running)
  if (gone.length > 0)
    throw new Violation(
      'roles at target',
      `${gone.map(({ terms }) => terms.name).join(' ')} vote and are gone`,
    )
}

const voterLost = scenario({
  name: 'voter-lost-promote-standby',
  summary: 'a voter loses its power for good; another of its site, or of a site without one, takes its vote',
  virtualMs: 110_000,
  peers: 8,
  sites: (peers) => [Math.max(1, peers - 6), 2, 2, 1, 1],
  moments: ['five vote', 'leader lost', 'follower lost'],
  mayFail: true,
  run(world, cluster, moment) {
    world.after(SETTLED_MS + 1_000, () => {
      const voters = votersOf(cluster)
      if (voters.length === 5) moment('five vote')
      const lost = world.random('nemesis').pick(voters)
      const leads = lost.node?.context.agreement.mesh.role === 'leader'
      moment(leads ? 'leader lost' : 'follower lost')
      lost.cutPower()
    })
  },
  end: (cluster) => expectRunning(cluster, 5),
})

const siteLost = scenario({
  name: 'site-lost-2-of-5-voters',
  summary: 'the site of two of five voters burns down; the three others go on, and one more joins them',
  virtualMs: 120_000,
  peers: 9,
  sites: (peers) => [3, 3, Math.max(2, peers - 6)],
  moments: ['two of five lost'],
  mayFail: true,
  run(world, cluster, moment) {
    world.after(SETTLED_MS + 1_000, () => {
      const bySite = Map.groupBy(votersOf(cluster), ({ terms }) => terms.site)
      const [site] = [...bySite].find(([, voters]) => voters.length === 2) ?? []
      if (site === undefined) return
      moment('two of five lost')
      for (const host of cluster.hostsOf(site)) host.cutPower()
    })
  },
  end(cluster) {
    const live = expectVoters(cluster, 5, 2).filter(({ running }) => running)
    if (live.length < 4) throw new Violation('roles at target', `${live.length} of 5 voters are left`)
  },
})

const oneOfEachSite = scenario({
  name: 'no-two-voters-same-site',
  summary: 'five sites and more, two of them behind one mast: one voter of each, no majority behind the mast',
  virtualMs: 60_000,
  peers: 12,
  sites: (peers) => [Math.max(2, peers - 9), 3, 2, 1, 1, 1, 1].slice(0, 6),
  uplinks: { 1: 'mast', 2: 'mast', 3: 'mast' },
  moments: ['five vote'],
  mayFail: false,
  run(world, cluster, moment) {
    world.after(SETTLED_MS + 5_000, () => {
      if (votersOf(cluster).length === 5) moment('five vote')
    })
  },
  end(cluster) {
    const voters = expectVoters(cluster, 5, 1)
    if (mostOf(sitesOf(voters), 'uplink') > 2)
      throw new Violation('spread over uplinks', voters.map(({ terms }) => terms.name).join(' '))
  },
})

/** When nobody writes any more, and what a peer hears of all others then, in frames: half of it telemetry, a third Raft. */
const QUIET_MS = 86_000
const QUIET_FRAMES_PER_S_MAX = 40

const joinStorm = scenario({
  name: 'join-storm-200',
  summary: 'two hundred peers join at once; voters are chosen in a few changes all the same',
  virtualMs: 90_000,
  peers: 200,
  sites: (peers) => Array.from({ length: 20 }, (_, n) => Math.floor(peers / 20) + (n < peers % 20 ? 1 : 0)),
  moments: ['seven vote'],
  mayFail: false,
  run(world, cluster, moment) {
    world.after(80_000, () => {
      if (votersOf(cluster).length === 7) moment('seven vote')
    })
    world.after(QUIET_MS, () => {
      const { frames } = cluster.network.counts
      world.after(3_500, () => {
        const perSecond = (cluster.network.counts.frames - frames) / 3.5 / cluster.hosts.length
        if (perSecond > QUIET_FRAMES_PER_S_MAX)
          throw new Violation('a quiet mesh', `each peer hears ${perSecond.toFixed(1)} frames a second`)
      })
    })
  },
  end: (cluster) => void expectVoters(cluster, 7, 1),
})

const rollingRestart = scenario({
  name: 'handover-rolling-restart',
  summary: 'every peer is stopped and started, one after another; no write fails',
  virtualMs: 130_000,
  peers: 9,
  sites: (peers) => [3, 2, 2, 1, Math.max(1, peers - 8)],
  moments: ['leader stopped', 'voter stopped', 'all restarted'],
  mayFail: false,
  run(world, cluster, moment) {
    const next = (n: number): void => {
      const host = cluster.hosts[n]
      if (host === undefined) return moment('all restarted')
      const mesh = host.node?.context.agreement.mesh
      if (mesh?.role === 'leader') moment('leader stopped')
      if (votersOf(cluster).includes(host)) moment('voter stopped')
      host.stop(() => world.after(500, () => host.start(() => void world.after(2_000, () => next(n + 1)))))
    }
    world.after(SETTLED_MS + 1_000, () => next(0))
  },
  end: (cluster) => expectRunning(cluster, 5),
})

const flap = scenario({
  name: 'flap-does-not-churn',
  summary: 'a voter and a spare come and go every few seconds; nobody gains or loses a vote by it',
  virtualMs: 120_000,
  peers: 7,
  sites: (peers) => [2, 1, 1, 1, 1, Math.max(1, peers - 6)],
  moments: ['voter flapped', 'spare flapped'],
  mayFail: true,
  run(world, cluster, moment) {
    let before: string[] = []
    world.after(SETTLED_MS + 1_000, () => {
      const voters = votersOf(cluster)
      before = voters.map(({ terms }) => terms.name)
      const leads = (host: SimHost): boolean => host.node?.context.agreement.mesh.role === 'leader'
      const voter = voters.find((host) => !leads(host))
      const spare = cluster.hosts.find((host) => !voters.includes(host))
      for (const [host, name] of [
        [voter, 'voter flapped'],
        [spare, 'spare flapped'],
      ] as const) {
        if (host === undefined) continue
        const blink = (): void => {
          if (world.nowMs > 105_000) return
          moment(name)
          const others = cluster.hosts.filter((each) => each !== host)
          for (const other of others) cluster.network.cut(host.terms.id, other.terms.id)
          world.after(3_000, () => {
            cluster.network.heal()
            world.after(5_000, blink)
          })
        }
        blink()
      }
    })
    world.after(118_000, () => {
      const after = votersOf(cluster).map(({ terms }) => terms.name)
      if (before.join(' ') !== after.join(' '))
        throw new Violation('no churn', `${before.join(' ')} voted, ${after.join(' ')} do`)
    })
  },
  end: (cluster) => void expectVoters(cluster, 5, 1),
})

export const ROLES: readonly Scenario[] = [
  voterLost,
  siteLost,
  oneOfEachSite,
  joinStorm,
  rollingRestart,
  flap,
]

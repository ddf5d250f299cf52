/**
 * A mesh of sites, the way its operators use it: it is formed, VMs are created and moved, one site is cut off and goes on
 * by itself, peers are killed and hosts lose power, the site comes back. One-owner and the guests' counters are checked
 * after every event; at the end nothing that was acknowledged is lost and every VM runs that is to run.
 */
import { simGuestImage } from '../guest.ts'
import { Cluster } from '../cluster.ts'
import { Guests } from '../checkers/guests.ts'
import { NoLostWrite } from '../checkers/no-lost-write.ts'
import type { SimHost } from '../host.ts'
import type { RunningGuest } from '../hypervisor.ts'
import { type Scenario, Violation } from '../scenario.ts'
import type { World } from '../world.ts'
import { Operators } from '../operators.ts'
import { STRIKE_MOMENTS, strikeLeaders } from './strikes.ts'

const VMS = 20
const SITE_PEERS = 5
const CHUNK_BYTES = 4_096
/** When, in virtual ms. Nothing is broken after CALM: the rest is for what must come right by itself. */
const AT = {
  images: 8_500,
  vms: 9_500,
  cut: 18_000,
  cutWork: 19_500,
  heal: 34_000,
  moves: 36_000,
  calm: 46_000,
  settled: 57_000,
}

export const mesh: Scenario = {
  name: 'mesh',
  summary: '20 VMs are placed and moved while a site is cut off, peers are killed and hosts lose power',
  virtualMs: 60_000,
  peers: 50,
  moments: [
    'formed',
    'twenty VMs run',
    'site cut off',
    'stopped while cut off',
    'started while cut off',
    'moved inside a cut-off site',
    'move between sites refused while cut off',
    'booted while cut off',
    'site back',
    'moved between sites',
    'moved back',
    'move cancelled or refused',
    'peer killed',
    'killed in the middle of a move',
    'guest found by the next life of its peer',
    'host without power',
    ...STRIKE_MOMENTS,
  ],

  run(world, peers, moment) {
    const sites = sitesOf(peers)
    const image = simGuestImage({
      seed: world.seed,
      bytes: 64 * CHUNK_BYTES,
      chunkBytes: CHUNK_BYTES,
      dataChunks: 24,
    })
    // Half of the seeds begin as init makes a mesh, half with three voters of the mesh's group and of the first site's.
    const founders = world.seed % 2 === 0 ? 3 : 1
    const images = new Map([['base.raw', image]])
    const cluster = new Cluster(world, { sites, memoryMiB: 16_384, images, founders })
    const writes = new NoLostWrite<Wholes>()
    const operators = new Operators(cluster, writes, moment)
    cluster.form(() => moment('formed'))

    world.after(AT.images, () => sites.forEach(({ name }) => operators.importImage(name)))
    for (let n = 0; n < VMS; n++) world.after(AT.vms + 50 * n, () => operators.createVm(`vm-${n}`))
    world.after(AT.cut - 500, () => {
      if (operators.running() === VMS) moment('twenty VMs run')
    })
    nemesis(world, cluster, operators, moment)
    if (cluster.founders.length === 3)
      strikeLeaders(cluster, operators, moment, { fromMs: AT.cut + 500, untilMs: AT.calm })
    return {
      ...checks(cluster, writes, operators),
      counts: () => ({ ...cluster.network.counts, ...operators.counts() }),
    }
  },
}

/** Every VM that some site's leader agrees on, by name. */
export type Wholes = ReadonlyMap<
  string,
  { readonly id: string; readonly site: string; readonly host: string; readonly wanted: string }
>

/** Sites of SITE_PEERS, at least two. */
function sitesOf(peers: number): { name: string; peers: number }[] {
  const count = Math.max(2, Math.round(peers / SITE_PEERS))
  return Array.from({ length: count }, (_, n) => ({
    name: `site${n}`,
    peers: Math.floor(peers / count) + (n < peers % count ? 1 : 0),
  }))
}

function nemesis(world: World, cluster: Cluster, operators: Operators, moment: (name: string) => void): void {
  const dice = world.random('nemesis')
  const names = [...new Set(cluster.hosts.map(({ terms }) => terms.site))]
  // The site with the mesh's one voter stays in sight: without it nothing moves between sites, here as in the product.
  const cut = dice.pick(names.slice(1))
  world.after(AT.cut, () => {
    cluster.network.cutSite(cut)
    moment('site cut off')
  })
  world.after(AT.cutWork, () => operators.workAlone(cut))
  world.after(AT.cutWork + 1_000 + dice.below(2_000), () => {
    const up = cluster.hostsOf(cut).filter(({ running }) => running)
    const withGuests = up.filter(({ hypervisor }) => hypervisor.runningGuests().length > 0)
    const host = dice.pick(withGuests.length > 0 ? withGuests : up)
    powerCycle(world, host, 1_000 + dice.below(2_000), moment)
    world.after(9_000, () => {
      if (host.hypervisor.runningGuests().length > 0) moment('booted while cut off')
    })
  })
  world.after(AT.heal, () => {
    cluster.network.heal()
    moment('site back')
  })

  // Moves all the while between the sites that see each other, later with the one that came back too.
  for (let at = AT.cut + 1_000; at < AT.calm; at += 700 + dice.below(600)) {
    world.after(at, () => operators.moveSome(at < AT.moves ? names.filter((name) => name !== cut) : names))
  }
  // Peers are killed at any moment, mostly those that have something in hand.
  for (let at = AT.cut; at < AT.calm; at += 1_500 + dice.below(3_000)) {
    world.after(at, () => {
      const busy = operators.busyHosts()
      const inMove = busy.length > 0 && dice.chance(0.7)
      const host = inMove ? dice.pick(busy) : dice.pick(cluster.hosts)
      if (!host.running) return
      if (inMove) moment('killed in the middle of a move')
      moment('peer killed')
      const had = host.hypervisor.runningGuests()
      host.kill()
      world.after(500 + dice.below(2_500), () =>
        host.start(() => {
          if (had.length > 0 && still(host, had)) moment('guest found by the next life of its peer')
        }),
      )
    })
  }
  world.after(AT.heal + 3_000 + dice.below(4_000), () => {
    powerCycle(world, dice.pick(cluster.hosts.filter(({ running }) => running)), 1_500, moment)
  })
}

function powerCycle(world: World, host: SimHost, darkMs: number, moment: (name: string) => void): void {
  host.cutPower()
  moment('host without power')
  world.after(darkMs, () => host.start())
}

const still = (host: SimHost, had: readonly RunningGuest[]): boolean =>
  had.every(({ vm }) => host.hypervisor.runningGuests().some((guest) => guest.vm === vm))

function checks(
  cluster: Cluster,
  writes: NoLostWrite<Wholes>,
  operators: Operators,
): { check(): void; end(): void } {
  const guests = new Guests(cluster)
  // What the mesh had agreed on shortly before the end must be everywhere at the end.
  let agreedIndex = 0
  cluster.world.after(AT.settled, () => {
    agreedIndex = Math.max(...cluster.hosts.map(({ node }) => node?.context.agreement.mesh.appliedIndex ?? 0))
  })
  return {
    check: () => guests.check(),
    end() {
      guests.count()
      const agreed = operators.agreed()
      writes.check('vms', 'the mesh', agreed)
      guests.runAsAgreed(agreed)
      const formed = cluster.hosts.filter(({ node }) => node?.ready() === true).length
      if (formed !== cluster.hosts.length)
        throw new Violation('one mesh', `${formed} of ${cluster.hosts.length} peers are ready`)
      const applied = cluster.hosts.map(({ node }) => node?.context.agreement.mesh.appliedIndex ?? 0)
      if (applied.some((index) => index < agreedIndex))
        throw new Violation('one mesh', `of ${agreedIndex} mesh entries are applied: ${applied.join(', ')}`)
    },
  }
}

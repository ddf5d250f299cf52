/**
 * People at the CLI of simulated peers: they import, create, stop, start and move, and write down what they were told.
 * An answer that leaves open whether it was done (a timeout, a peer that went) counts as neither.
 */
import type { Failure } from '../protocols/errors.ts'
import type { Outcome } from '../protocols/outcome.ts'
import type { Cluster } from './cluster.ts'
import type { NoLostWrite } from './checkers/no-lost-write.ts'
import type { SimHost } from './host.ts'
import type { Random } from './random.ts'
import type { Wholes } from './scenarios/mesh.ts'

/** Failures that leave open what became of the request. */
const OPEN = new Set<Failure['code']>([
  'TIMEOUT',
  'PEER_UNREACHABLE',
  'PROPOSAL_DROPPED',
  'OUTCOME_UNKNOWN',
  'STOPPING',
  'NO_LEADER',
  'NO_QUORUM',
  'PEER_BUSY',
  'DAEMON_UNREACHABLE',
])
const LOOK_MS = 250

export class Operators {
  readonly #cluster: Cluster
  readonly #writes: NoLostWrite<Wholes>
  readonly #moment: (name: string) => void
  readonly #dice: Random
  /** Site where each VM was created, and whether it has left it. */
  readonly #origin = new Map<string, { site: string; left: boolean }>()
  readonly #jobs = new Map<string, { vm: string; by: SimHost; to: string }>()
  #created = 0
  #moved = 0
  #refused = 0

  constructor(cluster: Cluster, writes: NoLostWrite<Wholes>, moment: (name: string) => void) {
    this.#cluster = cluster
    this.#writes = writes
    this.#moment = moment
    this.#dice = cluster.world.random('operators')
  }

  counts(): Record<string, number> {
    return { created: this.#created, moved: this.#moved, refused: this.#refused }
  }

  running(): number {
    return this.#cluster.hosts.reduce((sum, { hypervisor }) => sum + hypervisor.runningGuests().length, 0)
  }

  /** What the leaders of all sites agree on; a VM between two logs is with the one that the mesh's names. */
  agreed(): Wholes {
    const all = new Map<string, { id: string; site: string; host: string; wanted: string; home: number }>()
    for (const { node, terms } of this.#leaders()) {
      for (const vm of Object.values(node?.context.agreement.site.state.vms ?? {})) {
        const host = this.#cluster.hosts.find((each) => each.terms.id === vm.host)?.terms.name ?? vm.host
        const known = all.get(vm.name)
        if (known !== undefined && known.home > vm.epoch[1]) continue
        all.set(vm.name, { id: vm.id, site: terms.site, host, wanted: vm.wanted, home: vm.epoch[1] })
      }
    }
    return all
  }

  importImage(site: string): void {
    const host = this.#someone(site)
    if (host === undefined) return this.#again(() => this.importImage(site))
    this.#cluster.ask(host, 'image.import', { name: 'base', path: 'base.raw', format: 'raw' }, (outcome) => {
      if (!outcome.ok && OPEN.has(outcome.failure.code)) this.#again(() => this.importImage(site))
    })
  }

  createVm(name: string, site = this.#dice.pick(this.#cluster.hosts).terms.site): void {
    this.#create(
      name,
      site,
      this.#writes.asked({
        group: 'vms',
        subject: name,
        what: `create ${name}`,
        holds: (all) => all.has(name),
      }),
    )
  }

  #create(name: string, site: string, told: (acknowledged: boolean) => void): void {
    const host = this.#someone(site)
    const again = (): void => this.#again(() => this.#create(name, site, told))
    if (host === undefined) return again()
    const spec = { ...SPEC, name, memoryMiB: 256 + this.#dice.below(4) * 256 }
    this.#cluster.ask<{ id: string }>(host, 'vm.create', { spec, start: true, dryRun: false }, (outcome) => {
      if (!outcome.ok && outcome.failure.code === 'NOT_FOUND') this.importImage(site)
      // Names are nobody else's: an answer was lost, and it is there.
      if (!outcome.ok && outcome.failure.code !== 'NAME_TAKEN') return again()
      told(true)
      this.#created++
      this.#origin.set(name, { site, left: false })
    })
  }

  /** In a site that sees nobody else: stop, start, move inside; and a move elsewhere, which must be refused soon. */
  workAlone(site: string): void {
    const here = [...this.agreed()].filter(([, vm]) => vm.site === site)
    const [first, second, third] = this.#dice.shuffle(here).map(([name]) => name)
    if (first !== undefined) {
      this.#want(site, first, 'stopped', () => {
        this.#moment('stopped while cut off')
        this.#want(site, first, 'running', () => this.#moment('started while cut off'))
      })
    }
    if (second !== undefined) {
      const from = this.agreed().get(second)?.host
      const to = this.#cluster.hostsOf(site).find(({ terms, running }) => terms.name !== from && running)
      if (to !== undefined)
        this.#move(second, to.terms.name, site, () => this.#moment('moved inside a cut-off site'))
    }
    if (third !== undefined) {
      const askedMs = this.#cluster.world.nowMs
      const elsewhere = this.#cluster.hosts.find(({ terms }) => terms.site !== site)?.terms.site ?? ''
      this.#move(
        third,
        elsewhere,
        site,
        () => {},
        () => {
          if (this.#cluster.world.nowMs - askedMs < 4_000)
            this.#moment('move between sites refused while cut off')
        },
      )
    }
  }

  /** One VM of these sites moves to another of them. */
  moveSome(sites: readonly string[]): void {
    const movable = [...this.agreed()].filter(([, vm]) => sites.includes(vm.site) && vm.wanted === 'running')
    if (movable.length === 0 || sites.length < 2) return
    const [name, vm] = this.#dice.pick(movable)
    const origin = this.#origin.get(name)
    const home =
      origin?.left === true && sites.includes(origin.site) && this.#dice.chance(0.5) ? origin.site : undefined
    const to = home ?? this.#dice.pick(sites.filter((site) => site !== vm.site))
    if (to === vm.site) return
    this.#move(name, to, vm.site, () => {
      this.#moment('moved between sites')
      if (origin === undefined) return
      if (origin.left && to === origin.site) this.#moment('moved back')
      origin.left = to !== origin.site
    })
  }

  /** A VM of that site that runs is stopped, or one that was stopped is started. */
  flipSome(site: string): void {
    const here = [...this.agreed()].filter(([, vm]) => vm.site === site)
    if (here.length === 0) return
    const [name, vm] = this.#dice.pick(here)
    this.#want(site, name, vm.wanted === 'running' ? 'stopped' : 'running', () => {})
  }

  /** Deletes the VM wherever it is now, if it is anywhere. */
  deleteVm(name: string, deleted: () => void): void {
    const site = this.agreed().get(name)?.site
    const host = site === undefined ? undefined : this.#someone(site)
    if (host === undefined) return
    const told = this.#writes.asked({
      group: 'vms',
      subject: name,
      what: `delete ${name}`,
      holds: (all) => !all.has(name),
    })
    this.#cluster.ask(host, 'vm.delete', { name }, (outcome) => {
      if (outcome.ok) deleted()
      if (outcome.ok || !OPEN.has(outcome.failure.code)) told(outcome.ok)
    })
  }

  /** One VM moves to another host of its site. */
  moveInside(site: string): void {
    const movable = [...this.agreed()].filter(([, vm]) => vm.site === site && vm.wanted === 'running')
    if (movable.length === 0) return
    const [name, vm] = this.#dice.pick(movable)
    const others = this.#cluster.hostsOf(site).filter(({ terms }) => terms.name !== vm.host)
    if (others.length > 0)
      this.#move(name, this.#dice.pick(others).terms.name, site, () => this.#moment('moved inside a site'))
  }

  /** Every VM of a host goes to another of its site: what is under way on it when something breaks. */
  empty(host: SimHost): void {
    const { name: from, site } = host.terms
    const others = this.#cluster.hostsOf(site).filter((each) => each !== host)
    for (const [name, vm] of this.agreed()) {
      if (vm.host !== from || vm.wanted !== 'running' || others.length === 0) continue
      this.#move(name, this.#dice.pick(others).terms.name, site, () => this.#moment('moved inside a site'))
    }
  }

  /** Whatever hangs, somebody cancels it. */
  cancelAll(): void {
    for (const host of this.#cluster.hosts) {
      for (const { id, state } of host.node?.context.jobs.list() ?? [])
        if (state === 'running') this.#cluster.ask(host, 'job.cancel', { name: id }, () => {})
    }
  }

  /** Hosts with a move in hand. */
  busyHosts(): SimHost[] {
    return this.#cluster.hosts.filter(
      ({ node }) => node?.context.jobs.list().some(({ state }) => state === 'running') ?? false,
    )
  }

  #move(name: string, to: string, site: string, moved: () => void, refused: () => void = () => {}): void {
    const host = this.#someone(site)
    if (host === undefined) return
    const not = (): void => {
      this.#refused++
      this.#moment('move cancelled or refused')
      refused()
    }
    this.#cluster.ask<{ job: string }>(host, 'vm.move', { name, to, mode: 'cold' }, (outcome) => {
      if (!outcome.ok) return not()
      const { job } = outcome.value
      this.#jobs.set(job, { vm: name, by: host, to })
      const look = (): void => {
        const view = this.#cluster.hosts
          .map(({ node }) => node?.context.jobs.get(job))
          .find((each) => each !== undefined)
        if (view?.state === 'failed' || view?.state === 'cancelled') return not()
        if (view?.state === 'done') {
          this.#moved++
          return moved()
        }
        this.#cluster.world.after(LOOK_MS, look)
      }
      look()
    })
  }

  #want(site: string, name: string, wanted: 'running' | 'stopped', done: () => void): void {
    const host = this.#someone(site)
    if (host === undefined) return
    const told = this.#writes.asked({
      group: 'vms',
      subject: `${name} wanted`,
      what: `${name} ${wanted}`,
      // Whether it is to be there at all is the business of who created and deleted it.
      holds: (all) => !all.has(name) || all.get(name)?.wanted === wanted,
    })
    const method = wanted === 'running' ? 'vm.start' : 'vm.stop'
    this.#cluster.ask(
      host,
      method,
      wanted === 'running' ? { name } : { name, kill: false },
      (outcome: Outcome<unknown>) => {
        if (outcome.ok) told(true)
        // Agreed on, and then not seen so in time: the agreement stands.
        else if (!OPEN.has(outcome.failure.code) && outcome.failure.code !== 'HYPERVISOR') told(false)
        if (outcome.ok) done()
      },
    )
  }

  /** Of each site; of two that say they lead, the one with the newer term does. */
  #leaders(): SimHost[] {
    const leaders = new Map<string, { host: SimHost; term: number }>()
    for (const host of this.#cluster.hosts) {
      const group = host.node?.context.agreement.site
      if (group?.role !== 'leader') continue
      const { term } = group.status()
      if (term > (leaders.get(host.terms.site)?.term ?? -1)) leaders.set(host.terms.site, { host, term })
    }
    return [...leaders.values()].map(({ host }) => host)
  }

  #someone(site: string): SimHost | undefined {
    const here = this.#cluster.hostsOf(site).filter(({ node }) => node?.ready() === true)
    return here.length === 0 ? undefined : this.#dice.pick(here)
  }

  #again(run: () => void): void {
    this.#cluster.world.after(LOOK_MS, run)
  }
}

/** What operators ask for when they ask for a VM. */
export const specNamed = (name: string): object => ({ ...SPEC, name, memoryMiB: 256 })

const SPEC = {
  version: 1,
  cpus: 1,
  cpuModel: 'qemu64',
  firmware: 'bios',
  disks: [{ image: 'base' }],
  nics: [],
  autostart: true,
  dependsOn: [],
  labels: {},
  policy: 'autonomous',
  failover: 'manual',
}

/**
 * Disks run full: of one host, of all voters, of everybody, and space returns. Nothing that was acknowledged is lost, and
 * whatever was asked for comes about once there is space, on every peer.
 */
import { NoLostWrite } from '../checkers/no-lost-write.ts'
import { Cluster } from '../cluster.ts'
import { simGuestImage } from '../guest.ts'
import type { SimHost } from '../host.ts'
import { Operators } from '../operators.ts'
import { type Scenario, Violation } from '../scenario.ts'
import type { Wholes } from './mesh.ts'

const CHUNK_BYTES = 4_096
const VMS = 12
/** When, in virtual ms. */
const AT = { images: 4_000, vms: 6_000, full: 7_000, calm: 27_000 }
/** How long disks stay full, and how long until the next do. */
const FULL_MS = { least: 200, range: 6_000 }
const EVERY_MS = { least: 1_000, range: 3_000 }

export const diskFull: Scenario = {
  name: 'disk-full',
  summary: 'VMs are created while the disks of one host, of the voters or of all run full for a while',
  virtualMs: 50_000,
  peers: 6,
  moments: ['formed', 'one disk full', 'a leader full', 'voters full', 'all disks full'],

  run(world, peers, moment) {
    const dice = world.random('disk-full')
    const half = Math.max(3, Math.ceil(peers / 2))
    const image = simGuestImage({
      seed: world.seed,
      bytes: 16 * CHUNK_BYTES,
      chunkBytes: CHUNK_BYTES,
      dataChunks: 4,
    })
    const cluster = new Cluster(world, {
      sites: [
        { name: 'site0', peers: half },
        { name: 'site1', peers: Math.max(1, peers - half) },
      ],
      memoryMiB: 16_384,
      images: new Map([['base.raw', image]]),
      founders: dice.pick([1, 3]),
    })
    const writes = new NoLostWrite<Wholes>()
    const operators = new Operators(cluster, writes, () => {})
    cluster.form(() => moment('formed'))
    world.after(AT.images, () => ['site0', 'site1'].forEach((site) => operators.importImage(site)))
    for (let n = 0; n < VMS; n++)
      world.after(AT.vms + dice.below(AT.calm - AT.vms), () => operators.createVm(`vm-${n}`))

    const fill = (hosts: readonly SimHost[]): void => {
      world.say(`full: ${hosts.map(({ terms }) => terms.name).join(' ')}`)
      for (const host of hosts) host.store.full = true
      world.after(FULL_MS.least + dice.below(FULL_MS.range), () => {
        world.say(`space again: ${hosts.map(({ terms }) => terms.name).join(' ')}`)
        for (const host of hosts) host.store.full = false
      })
    }
    const blows: Record<string, () => readonly SimHost[]> = {
      'one disk full': () => [dice.pick(cluster.hosts)],
      'a leader full': () => [cluster.leader(dice.pick(['mesh', 'site'])) ?? dice.pick(cluster.founders)],
      'voters full': () => cluster.founders,
      'all disks full': () => cluster.hosts,
    }
    for (let at = AT.full; at < AT.calm; at += EVERY_MS.least + dice.below(EVERY_MS.range)) {
      world.after(at, () => {
        const name = dice.pick(Object.keys(blows))
        moment(name)
        fill(blows[name]?.() ?? [])
      })
    }
    return {
      counts: () => operators.counts(),
      end() {
        const { created } = operators.counts()
        if (created !== VMS)
          throw new Violation('space returns', `${created} of ${VMS} VMs are created, though there is space`)
        writes.check('vms', 'the mesh', operators.agreed())
        const applied = cluster.hosts.map(({ node }) => node?.context.agreement.mesh.appliedIndex ?? 0)
        if (new Set(applied).size !== 1)
          throw new Violation('one mesh', `mesh entries applied: ${applied.join(', ')}`)
        const running = operators.running()
        if (running !== VMS) throw new Violation('wanted runs', `${running} of ${VMS} VMs run`)
      },
    }
  },
}

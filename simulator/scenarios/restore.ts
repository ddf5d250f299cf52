/**
 * Stores of hosts are put back from backups, one host after the other, while VMs move and are created: votes that were
 * given, grants that were given up and promises that were made are forgotten. Some of these peers were killed first, some
 * lost power; then an operator types `peer replace`. One-owner is checked after every event, and that a peer whose folder
 * was put back takes no part until it was replaced; at the end nothing that was acknowledged is lost and every VM runs.
 */
import { votersOf } from '../../protocols/raft/configuration.ts'
import { Guests } from '../checkers/guests.ts'
import { NoLostWrite } from '../checkers/no-lost-write.ts'
import { Cluster } from '../cluster.ts'
import { simGuestImage } from '../guest.ts'
import type { SimHost } from '../host.ts'
import { Operators } from '../operators.ts'
import { type Scenario, Violation } from '../scenario.ts'
import type { Wholes } from './mesh.ts'

const HARBOUR = 'harbour'
const VMS = 12
const CHUNK_BYTES = 4_096
const FOUNDERS = 3
/** When, in virtual ms. Nothing is broken or asked after CALM. */
const AT = { images: 8_500, vms: 9_500, moves: 16_000, calm: 62_000 }
/** Each host in turn: how long before its end the backup is made, and how long it is refused. */
const TURN_MS = 11_000
const OLD_MS = { least: 500, range: 4_500 }
const DOWN_MS = 300
const REFUSED_MS = { least: 1_000, range: 2_000 }
const CANCELS_MS = 700

export const restore: Scenario = {
  name: 'restore',
  summary: 'stores of hosts are put back from backups while VMs move; operators replace the peers',
  virtualMs: 85_000,
  peers: 8,
  moments: [
    'formed',
    'a store was put back',
    'of a voter',
    'of a leader',
    'with a grant that was given up since',
    'without a grant that was taken since',
    'under guests that run',
    'of a host that lost power',
    'nothing noted since',
    'refused',
    'replaced',
    'believed again',
    'moved inside a site',
    'moved between sites',
  ],

  run(world, peers, moment) {
    const sites = [
      { name: HARBOUR, peers: Math.max(FOUNDERS + 1, peers - 3) },
      { name: 'hill', peers: 3 },
    ]
    const content = { bytes: 64 * CHUNK_BYTES, chunkBytes: CHUNK_BYTES, dataChunks: 24 }
    const images = new Map([['base.raw', simGuestImage({ seed: world.seed, ...content })]])
    const cluster = new Cluster(world, { sites, memoryMiB: 16_384, images, founders: FOUNDERS })
    const writes = new NoLostWrite<Wholes>()
    const known = (name: string): void => (restore.moments.includes(name) ? moment(name) : undefined)
    const operators = new Operators(cluster, writes, known)
    cluster.form(() => moment('formed'))
    world.after(AT.images, () => sites.forEach(({ name }) => operators.importImage(name)))
    for (let n = 0; n < VMS; n++) world.after(AT.vms + 50 * n, () => operators.createVm(`vm-${n}`))
    const dice = world.random('nemesis')
    for (let at = AT.moves; at < AT.calm; at += 300 + dice.below(500)) {
      world.after(at, () => {
        if (dice.chance(0.4)) operators.moveSome(sites.map(({ name }) => name))
        else operators.moveInside(HARBOUR)
      })
    }
    for (let at = AT.calm; at < AT.calm + 15_000; at += CANCELS_MS)
      world.after(at, () => operators.cancelAll())
    for (let at = AT.moves; at + TURN_MS < AT.calm; at += TURN_MS)
      world.after(at, () => turnBack(cluster, dice.pick(cluster.hosts), moment))
    return { ...checks(cluster, writes, operators), counts: () => operators.counts() }
  },
}

/** Hosts whose folder was put back, and that nobody has replaced yet. */
const refused = new WeakSet<SimHost>()

function turnBack(cluster: Cluster, picked: SimHost, moment: (name: string) => void): void {
  const { world } = cluster
  const dice = world.random(`turn ${world.nowMs}`)
  // A group that loses its majority by it has to be recovered: scenario role/recover-from-minority.
  const host = [picked, ...cluster.hosts].find((each) => each.running && isSpare(cluster, each))
  if (host === undefined) return
  const backup = host.backup()
  const then = heldBy(host)
  world.after(OLD_MS.least + dice.below(OLD_MS.range), () => {
    // Nothing was written since, or so lately that the mark does not say so yet.
    if (!host.isOutdated(backup)) return moment('nothing noted since')
    const now = heldBy(host)
    if ([...then].some((grant) => !now.has(grant))) moment('with a grant that was given up since')
    if ([...now].some((grant) => !then.has(grant))) moment('without a grant that was taken since')
    const roles = groupsOf(host).map(({ role }) => role)
    if (groupsOf(host).some(isVoter)) moment('of a voter')
    if (roles.includes('leader')) moment('of a leader')
    if (dice.chance(0.5)) {
      host.cutPower()
      moment('of a host that lost power')
    } else {
      if (host.hypervisor.runningGuests().length > 0) moment('under guests that run')
      host.kill()
    }
    host.restore(backup)
    refused.add(host)
    moment('a store was put back')
    world.after(DOWN_MS, () => host.start())
    world.after(DOWN_MS + REFUSED_MS.least + dice.below(REFUSED_MS.range), () =>
      replace(cluster, host, moment),
    )
  })
}

function replace({ world }: Cluster, host: SimHost, moment: (name: string) => void): void {
  if (host.node?.context.binding.mismatch === undefined)
    throw new Violation('bound', `${host.terms.name} takes part with a store that was put back`)
  moment('refused')
  host.kill()
  host.replace(() => {
    refused.delete(host)
    moment('replaced')
    host.start()
    const look = (): void => {
      const { node } = host
      if (node === undefined) return
      if (node.context.doubt.unheard() !== undefined) return void world.after(100, look)
      moment('believed again')
    }
    look()
  })
}

const groupsOf = ({ node }: SimHost) =>
  node === undefined ? [] : [node.context.agreement.mesh, node.context.agreement.site]

const isVoter = (group: ReturnType<typeof groupsOf>[number]): boolean =>
  votersOf(group.status().configuration).includes(group.member)

/** Without this host each group that it votes in still has a majority of members that live. */
function isSpare({ hosts }: Cluster, host: SimHost): boolean {
  const living = new Set(
    hosts.filter((each) => each !== host).flatMap((each) => groupsOf(each).map(({ member }) => member)),
  )
  return groupsOf(host).every((group) => {
    const voters = votersOf(group.status().configuration)
    return !isVoter(group) || voters.filter((member) => living.has(member)).length > voters.length / 2
  })
}

const heldBy = ({ node }: SimHost): Set<string> =>
  new Set(node?.context.vms.grants().map(({ vm, epoch }) => `${vm} ${epoch.join('.')}`))

function checks(
  cluster: Cluster,
  writes: NoLostWrite<Wholes>,
  operators: Operators,
): { check(): void; end(): void } {
  const guests = new Guests(cluster)
  return {
    check() {
      guests.check()
      for (const host of cluster.hosts) {
        if (!refused.has(host)) continue
        const part = groupsOf(host).find(({ role }) => role !== 'follower')
        if (part !== undefined)
          throw new Violation('bound', `${host.terms.name} is ${part.role} of ${part.name} with an old store`)
      }
    },
    end() {
      guests.count()
      const agreed = operators.agreed()
      writes.check('vms', 'the mesh', agreed)
      guests.runAsAgreed(agreed)
      const ready = cluster.hosts.filter(({ node }) => node?.ready() === true).length
      if (ready !== cluster.hosts.length)
        throw new Violation('one mesh', `${ready} of ${cluster.hosts.length} peers are ready`)
    },
  }
}

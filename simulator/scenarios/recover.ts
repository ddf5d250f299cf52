/**
 * Most voters are gone, and the one that is left was cut off from them before: it misses what they agreed on last, takes of
 * moves among it. The operator recovers both groups on it; later the others come back, with logs of the older generation. All
 * the while VMs move. One-owner is checked after every event: nothing that was lost makes a VM run twice.
 */
import { Guests } from '../checkers/guests.ts'
import { NoLostWrite } from '../checkers/no-lost-write.ts'
import { Cluster, type GroupName } from '../cluster.ts'
import { simGuestImage } from '../guest.ts'
import type { SimHost } from '../host.ts'
import { Operators, specNamed } from '../operators.ts'
import { compareEpochs, compareHomes, type Epoch } from '../../protocols/epoch.ts'
import { votersOf } from '../../protocols/raft/configuration.ts'
import { peerOf } from '../../protocols/raft/member.ts'
import { type Scenario, Violation } from '../scenario.ts'
import type { PeerView, VmView } from '../../node/views.ts'
import { MESH_GROUP, siteGroupOf } from '../../node/founding.ts'
import type { Wholes } from './mesh.ts'

const HARBOUR = 'harbour'
const VMS = 12
const CHUNK_BYTES = 4_096
const VOTERS = 3
/** When, in virtual ms. Nothing is broken or asked after CALM. */
const AT = { images: 8_500, vms: 9_500, moves: 16_000, cut: 18_000, calm: 52_000 }
/** How long the survivor misses what the others agree on; they are off; and until they are back. */
const MISSES_MS = { least: 1_000, range: 4_000 }
const OFF_MS = { least: 6_000, range: 4_000 }
const BACK_MS = { least: 500, range: 8_000 }
/** Moves are begun this long before the cut, at most; what hangs after the recovery is cancelled so often. */
const UNDER_WAY_MS = 4_000
const CANCELS_MS = 700
const FIRST_HOME: Epoch = [0, 1, 0, 0]
/** A refusal may take this long (docs/SPECIFICATION.md), and the beat of whoever measures. */
const REFUSED_MS = 2_050
const TOKEN = { site: '', expiryMs: 600_000 }
const VM = { spec: specNamed('more'), start: true, dryRun: false }

export const recover: Scenario = {
  name: 'role/recover-from-minority',
  summary: 'two of three voters are lost with what only they had; the third is recovered, and they come back',
  virtualMs: 75_000,
  peers: 8,
  moments: [
    'formed',
    'mesh loses most voters',
    'site loses most voters',
    'a tail is lost',
    'a host holds a grant that the survivor never heard of',
    'a move was under way',
    'a write is refused without a quorum',
    'what is read is marked stale',
    'recovered',
    'an old voter came back before the recovery',
    'an old voter is a member of the new generation',
    'moved inside a site',
    'moved between sites',
    'moved back',
    'move cancelled or refused',
  ],

  run(world, peers, moment) {
    const sites = [
      { name: HARBOUR, peers: Math.max(VOTERS + 1, peers - 3) },
      { name: 'hill', peers: 3 },
    ]
    const image = simGuestImage({
      seed: world.seed,
      bytes: 64 * CHUNK_BYTES,
      chunkBytes: CHUNK_BYTES,
      dataChunks: 24,
    })
    const images = new Map([['base.raw', image]])
    const cluster = new Cluster(world, { sites, memoryMiB: 16_384, images, founders: VOTERS })
    const operators = new Operators(cluster, new NoLostWrite<Wholes>(), moment)
    cluster.form(() => moment('formed'))
    world.after(AT.images, () => sites.forEach(({ name }) => operators.importImage(name)))
    for (let n = 0; n < VMS; n++) world.after(AT.vms + 50 * n, () => operators.createVm(`vm-${n}`))
    const dice = world.random('nemesis')
    for (let at = AT.moves; at < AT.calm; at += 150 + dice.below(300)) {
      world.after(at, () => {
        if (dice.chance(0.4)) operators.moveSome(sites.map(({ name }) => name))
        else operators.moveInside(HARBOUR)
      })
    }
    let lost: GroupName | undefined
    world.after(AT.cut, () => lose(cluster, operators, moment, ({ group }) => (lost = group)))
    return { ...checks(cluster, operators, () => lost ?? 'mesh', moment), counts: () => operators.counts() }
  },
}

type Loss = {
  readonly group: GroupName
  readonly survivor: SimHost
  /** The other voters. */
  readonly others: readonly SimHost[]
}

/** Voters of the mesh's group, or of harbour's, as its leader has them. */
function votersOfGroup(cluster: Cluster, group: GroupName): SimHost[] {
  const hosts = group === 'mesh' ? cluster.hosts : cluster.hostsOf(HARBOUR)
  const status = hosts
    .map(({ node }) => node?.context.agreement[group].status())
    .find((each) => each?.role === 'leader')
  const peers = new Set(status === undefined ? [] : votersOf(status.configuration).map(peerOf))
  return hosts.filter(({ terms }) => peers.has(terms.id))
}

function lose(
  cluster: Cluster,
  operators: Operators,
  moment: (name: string) => void,
  begun: (loss: Loss) => void,
): void {
  const { world, network } = cluster
  const dice = world.random('loss')
  const group: GroupName = dice.chance(0.5) ? 'mesh' : 'site'
  const voters = votersOfGroup(cluster, group)
  // An election is on, or a voter is being replaced: a moment later it is not.
  if (voters.length < VOTERS) return void world.after(500, () => lose(cluster, operators, moment, begun))
  const survivor = dice.pick(voters)
  let others = voters.filter((host) => host !== survivor)
  begun({ group, survivor, others })
  moment(`${group} loses most voters`)
  // From the other voters alone, or from everybody: then it misses what hosts would have told it, too.
  const away = dice.chance(0.5) ? others : cluster.hosts.filter((host) => host !== survivor)
  operators.empty(survivor)
  world.after(dice.below(UNDER_WAY_MS), () => {
    for (const { terms } of away) network.cut(survivor.terms.id, terms.id)
  })
  world.after(UNDER_WAY_MS + MISSES_MS.least + dice.below(MISSES_MS.range), () => {
    const at = ({ node }: SimHost): number => node?.context.agreement[group].appliedIndex ?? 0
    // Some may have been voted in meanwhile.
    others = [...new Set([...others, ...votersOfGroup(cluster, group)])].filter((host) => host !== survivor)
    if (others.some((host) => at(host) > at(survivor))) moment('a tail is lost')
    for (const host of others) host.cutPower()
    network.heal()
    // Some hosts that may have taken a VM say so only when they are back.
    for (const host of cluster.hosts) {
      if (host === survivor || others.includes(host) || dice.chance(0.5)) continue
      world.after(dice.below(1_000), () => host.cutPower())
      world.after(12_000 + dice.below(10_000), () => host.start())
    }
    const offMs = OFF_MS.least + dice.below(OFF_MS.range)
    world.after(offMs - 3_000, () => look(cluster, { group, survivor, others }, moment))
    const early = dice.chance(0.3)
    others.forEach((host, index) => {
      const backMs = offMs + BACK_MS.least + dice.below(BACK_MS.range)
      world.after(early && index === 0 ? offMs - 1_000 - dice.below(2_000) : backMs, () => {
        if ((survivor.node?.context.agreement[group].generation ?? 0) === 0)
          moment('an old voter came back before the recovery')
        host.start()
      })
    })
    world.after(offMs, () => restart(cluster, group, survivor, operators, moment))
  })
}

/** The operator, before: what is refused, and how; and what can be read. */
function look(cluster: Cluster, { group, survivor, others }: Loss, moment: (name: string) => void): void {
  if (others.some(({ running }) => running)) return
  const { world } = cluster
  const askedMs = world.nowMs
  const [write, params] = group === 'mesh' ? (['token.create', TOKEN] as const) : (['vm.create', VM] as const)
  cluster.ask(survivor, write, params, (outcome) => {
    // One of them came back meanwhile: then there is a quorum, or there is about to be.
    if (others.some(({ running }) => running)) return
    if (outcome.ok) throw new Violation('quorum', `${write} was agreed on by one voter of three`)
    const tookMs = world.nowMs - askedMs
    if (outcome.failure.code !== 'NO_QUORUM' || tookMs > REFUSED_MS)
      throw new Violation('quorum', `refused after ${tookMs} ms: ${JSON.stringify(outcome.failure)}`)
    const names = new Set(others.map(({ terms }) => terms.name))
    const wrong = outcome.failure.missing.filter((name) => !names.has(name))
    if (wrong.length > 0 || outcome.failure.missing.length < 2)
      throw new Violation(
        'quorum',
        `missing are ${[...names].join()}, said was ${outcome.failure.missing.join()}`,
      )
    moment('a write is refused without a quorum')
  })
  const read = group === 'mesh' ? 'peer.list' : 'vm.list'
  cluster.ask<(PeerView | VmView)[]>(survivor, read, {}, (outcome) => {
    const own = outcome.ok ? outcome.value.filter(({ site }) => group === 'mesh' || site === HARBOUR) : []
    if (!outcome.ok || own.some(({ stale, ageMs }) => !stale || ageMs === 0))
      throw new Violation('stale', 'without a quorum something is shown as if it were new')
    moment('what is read is marked stale')
  })
}

function restart(
  cluster: Cluster,
  group: GroupName,
  survivor: SimHost,
  operators: Operators,
  moment: (name: string) => void,
): void {
  const known = survivor.node?.context.agreement.site.state.vms ?? {}
  const homes = survivor.node?.context.agreement.mesh.state.homes ?? {}
  const isNews = ({ vm, epoch }: { vm: string; epoch: Epoch }): boolean =>
    group === 'site'
      ? compareEpochs(epoch, known[vm]?.epoch ?? epoch) > 0
      : compareHomes(epoch, homes[vm]?.epoch ?? FIRST_HOME) > 0
  if (cluster.hosts.some(({ node }) => node?.context.vms.grants().some(isNews) === true))
    moment('a host holds a grant that the survivor never heard of')
  if (Object.values(known).some(({ move }) => move !== undefined)) moment('a move was under way')
  survivor.kill()
  survivor.recover(group === 'mesh' ? MESH_GROUP : siteGroupOf({ siteName: HARBOUR }), () => {
    moment('recovered')
    survivor.start()
    for (let at = CANCELS_MS; at < 10_000; at += CANCELS_MS)
      cluster.world.after(at, () => operators.cancelAll())
  })
}

function checks(
  cluster: Cluster,
  operators: Operators,
  lost: () => GroupName,
  moment: (name: string) => void,
): { check(): void; end(): void } {
  const guests = new Guests(cluster)
  return {
    check: () => guests.check(),
    end() {
      oneGeneration(cluster, lost())
      moment('an old voter is a member of the new generation')
      const runs = new Set(guests.running().map(({ vm }) => vm))
      for (const [name, vm] of operators.agreed()) {
        const { id } = vm
        const host = cluster.host(vm.host)
        // Its source promised, or gave it up because it was taken; and every other trace of that is lost, the grant of a
        // destination that lost power among it. Nobody may say that it was not taken: it waits for an operator.
        const isHeld =
          cluster.hosts.some(({ node }) => node?.context.vms.promiseOf(id)?.m !== undefined) ||
          host.node?.context.vms.grantOf(id) === undefined
        if (vm.wanted === 'running' && !runs.has(id) && !isHeld) {
          const why = host.node?.context.vms.view(id)?.why ?? ''
          throw new Violation('wanted runs', `${name} is placed on ${vm.host} and runs nowhere: ${why}`)
        }
      }
    },
  }
}

/** Everybody is of the newest generation, and has said what it holds. */
function oneGeneration(cluster: Cluster, group: GroupName): void {
  const hosts = group === 'mesh' ? cluster.hosts : cluster.hostsOf(HARBOUR)
  const found = hosts.map(({ node, terms }) => ({
    name: terms.name,
    generation: node?.context.agreement[group].generation ?? 0,
    unheard: Object.keys(node?.context.agreement[group].state.recovery?.unheard ?? {}),
  }))
  const newest = Math.max(...found.map(({ generation }) => generation))
  if (newest === 0) throw new Violation('one generation', `${group} was never recovered`)
  for (const { name, generation, unheard } of found) {
    if (generation !== newest)
      throw new Violation('one generation', `${name} is in ${generation} of ${group}, not in ${newest}`)
    if (unheard.length > 0)
      throw new Violation('one generation', `${group} has not heard ${unheard.length} hosts, says ${name}`)
  }
}

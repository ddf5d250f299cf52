/** Peers outside a group follow its log: a few vote, everybody else is told by members, and by each other. */
import test, { type ExecutionContext } from 'ava'
import { LOG_ENTRIES_KEPT, SNAPSHOT_EVERY_ENTRIES } from '../../protocols/limits.ts'
import { votersOf } from '../../protocols/raft/configuration.ts'
import { meshState } from '../../node/catalog/mesh.ts'
import type { SimHost } from '../../simulator/host.ts'
import { Mesh } from '../found/support.ts'

const SITES = [
  { name: 'aa', peers: 10 },
  { name: 'bb', peers: 10 },
  { name: 'cc', peers: 10 },
] as const

type Position = { readonly index: number; readonly life: unknown }

/**
 * Looks at every peer's copy of the mesh's state: it never goes back within a life, nor behind what an earlier life had
 * applied and synced; and at one index it is the same, byte for byte, on whichever peer and however it came there.
 */
class Watch {
  readonly #mesh: Mesh
  readonly #states = new Map<number, string>()
  readonly #positions = new Map<string, Position>()
  readonly faults: string[] = []
  /** Copies compared with another peer's. */
  compared = 0

  constructor(mesh: Mesh) {
    this.#mesh = mesh
  }

  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += 50) {
      this.#mesh.run(50)
      for (const host of this.#mesh.cluster.hosts) if (host.node !== undefined) this.#look(host)
    }
  }

  #look({ terms: { name }, node }: SimHost): void {
    const group = node?.context.agreement.mesh
    if (group === undefined) return
    const index = group.appliedIndex
    const before = this.#positions.get(name)
    if (before?.life === node && before?.index === index) return
    if (before?.life === node && before !== undefined && index < before.index)
      this.faults.push(`${name} goes back from ${before.index} to ${index}`)
    this.#positions.set(name, { index, life: node })
    const state = Buffer.from(meshState.encode(group.state)).toString('base64')
    const known = this.#states.get(index)
    if (known === undefined) this.#states.set(index, state)
    else if (known !== state) this.faults.push(`${name} has another state at ${index}`)
    else this.compared++
  }
}

const all = (mesh: Mesh): SimHost[] => mesh.cluster.hosts.filter(({ node }) => node !== undefined)
const indexOf = ({ node }: SimHost): number => node?.context.agreement.mesh.appliedIndex ?? -1

/** Whoever leads the mesh's group with the newest term: voters are elected, and need not be founders. */
function leaderOf(mesh: Mesh): SimHost | undefined {
  const led = all(mesh).flatMap((host) => {
    const { role = 'follower', term = 0 } = host.node?.context.agreement.mesh.status() ?? {}
    return role === 'leader' ? [{ host, term }] : []
  })
  return led.toSorted((a, b) => b.term - a.term)[0]?.host
}

/** Everybody who runs has what the mesh's leader has. */
function together(mesh: Mesh): boolean {
  const leader = leaderOf(mesh)
  return leader !== undefined && all(mesh).every((host) => indexOf(host) === indexOf(leader))
}

/** A command of the mesh's group, by whoever it is asked of: passed on to the leader. */
function propose(t: ExecutionContext, mesh: Mesh, name: string, port: number): void {
  const { agreement } = mesh.context(name)
  const answers: unknown[] = []
  const peer = mesh.host(name).terms.id
  const command = { kind: 'peer-update' as const, peer, addresses: [`/ip4/10.9.9.9/tcp/${port}`] }
  agreement.proposeMesh(command, (outcome) => answers.push(outcome.ok))
  mesh.until(`${name} is answered`, () => answers.length > 0)
  t.deepEqual(answers, [true])
}

test('of thirty a few vote, everybody else follows, and no site crosses the WAN twice', (t) => {
  const mesh = new Mesh(SITES, 3)
  const watch = new Watch(mesh)
  watch.run(60_000)
  mesh.until('all have everything', () => together(mesh))
  const crossing: string[] = []
  let outside = 0
  for (const { terms, node } of all(mesh)) {
    if (node === undefined) continue
    const { agreement, following } = node.context
    t.true(votersOf(agreement.mesh.status().configuration).length <= 5)
    const { source, ageMs } = following.followed('mesh')
    t.true(ageMs < 15_000, `${terms.name}: ${ageMs}`)
    const isMember = agreement.mesh.isMember(terms.id)
    t.is(source === '', isMember, terms.name)
    if (!isMember) outside++
    const from = mesh.cluster.hosts.find((host) => host.terms.id === source)
    if (from !== undefined && from.terms.site !== terms.site) crossing.push(terms.site)
  }
  t.true(outside >= 24, `${outside} outside`)
  t.is(crossing.length, new Set(crossing).size, crossing.join(' '))
  propose(t, mesh, 'cc-7', 1)
  mesh.until('all have it', () => together(mesh), 2_000)
  t.deepEqual(watch.faults, [])
  t.true(watch.compared >= 27, `${watch.compared} compared`)
})

test('watch/monotone-unique-resumable: sources die, sites are cut off, and nobody’s copy goes back or differs', (t) => {
  const mesh = new Mesh(SITES, 3)
  const watch = new Watch(mesh)
  let port = 0
  const work = (): void => {
    propose(t, mesh, 'aa-5', ++port)
    watch.run(500)
  }
  watch.run(20_000)
  // The peers that serve the other sites go, one in the middle of it, one with its power.
  const [first, second] = ['bb-1', 'cc-1'].map((name) => mesh.host(name)) as [SimHost, SimHost]
  work()
  first.kill()
  second.cutPower()
  for (let n = 0; n < 4; n++) work()
  watch.run(15_000)
  mesh.until('the others have found another way', () => together(mesh), 20_000)

  mesh.cluster.network.cutSite('bb')
  for (let n = 0; n < 4; n++) work()
  const before = indexOf(mesh.host('bb-5'))
  t.true(before < indexOf(mesh.host('cc-5')))
  // Cut off, one boots: it has what its disk has, or what a neighbour has, and says how old that is.
  mesh.host('bb-5').cutPower()
  watch.run(2_000)
  mesh.host('bb-5').start()
  watch.run(20_000)
  t.is(indexOf(mesh.host('bb-5')), before)
  t.true(mesh.context('bb-5').following.followed('mesh').ageMs > 15_000)
  first.start()
  second.start()
  mesh.cluster.network.heal()
  mesh.until('everybody has everything', () => together(mesh), 40_000)

  // The leader goes: who follows learns of the next one, and is heard by it.
  const leader = leaderOf(mesh) as SimHost
  leader.kill()
  mesh.until('another leads', () => leaderOf(mesh) !== undefined)
  // Who follows may not know that one yet: a voter passes it on.
  propose(t, mesh, 'bb-3', ++port)
  leader.start()
  mesh.until('everybody has everything again', () => together(mesh), 40_000)
  t.deepEqual(watch.faults, [])
  t.true(watch.compared > 200, `${watch.compared} compared`)
})

test('watch/compaction-boundary: who was away while its source compacted goes on with a snapshot and what follows it', (t) => {
  const mesh = new Mesh(
    [
      { name: 'aa', peers: 4 },
      { name: 'bb', peers: 2 },
    ],
    3,
  )
  const watch = new Watch(mesh)
  watch.run(10_000)
  const away = mesh.host('bb-2')
  const before = indexOf(away)
  away.kill()
  // As many as make a snapshot, and so many more that what `bb-2` has is gone from every log.
  const { agreement } = mesh.context('aa-1')
  const { id: peer } = mesh.host('aa-1').terms
  let [asked, answered] = [0, 0]
  const count = SNAPSHOT_EVERY_ENTRIES + LOG_ENTRIES_KEPT
  const more = (): void => {
    if (asked === count) return
    const addresses = [`/ip4/10.9.9.9/tcp/${++asked}`]
    agreement.proposeMesh({ kind: 'peer-update', peer, addresses }, (outcome) => {
      t.true(outcome.ok)
      answered++
      more()
    })
  }
  for (let n = 0; n < 64; n++) more()
  mesh.until('all are answered', () => answered === count, 600_000)
  mesh.until('its source has them', () => together(mesh))
  const { log, snapshot } = mesh.context('bb-1').agreement.mesh.held()
  t.true(log.base.index > before && snapshot.index > before, `base ${log.base.index}, was at ${before}`)
  away.start()
  mesh.until('it has everything', () => together(mesh), 20_000)
  watch.run(1_000)
  t.true(mesh.context('bb-2').agreement.mesh.held().snapshot.index >= snapshot.index)
  t.deepEqual(watch.faults, [])
  // What it was given is on its disk, and in one piece.
  away.cutPower()
  mesh.cluster.network.cutSite('bb')
  mesh.host('bb-1').kill()
  away.start()
  watch.run(3_000)
  t.true(indexOf(away) >= snapshot.index)
  t.deepEqual(watch.faults, [])
})

test('a group that begins anew is followed by all who followed it, and by the voters that it lost', (t) => {
  const mesh = new Mesh(
    [
      { name: 'aa', peers: 4 },
      { name: 'bb', peers: 2 },
    ],
    3,
  )
  mesh.until('all have everything', () => together(mesh))
  for (const host of mesh.cluster.founders) host.kill()
  const [kept, ...lost] = mesh.cluster.founders as [SimHost, SimHost, SimHost]
  recoverMesh(mesh, kept)
  kept.start()
  const generation = (): number => mesh.context(kept.terms.name).agreement.mesh.generation
  mesh.until('it leads', () => mesh.context(kept.terms.name).agreement.mesh.role === 'leader')
  t.true(generation() > 0)
  for (const host of lost) host.start()
  const isOfIt = ({ node }: SimHost): boolean => node?.context.agreement.mesh.generation === generation()
  mesh.until('all follow', () => all(mesh).every(isOfIt) && together(mesh), 60_000)
  propose(t, mesh, 'bb-2', 1)
  mesh.until('all have it', () => together(mesh))
  // And what they have now is what they boot with.
  mesh.host('bb-2').cutPower()
  mesh.cluster.network.cutSite('bb')
  mesh.host('bb-2').start()
  mesh.run(1_000)
  t.is(mesh.context('bb-2').agreement.mesh.generation, generation())
})

/** `raft recover` on a host whose peer does not run. */
function recoverMesh(mesh: Mesh, host: SimHost): void {
  host.recover('mesh', () => {})
  mesh.run(1_000)
}

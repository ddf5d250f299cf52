/** Peers outside a group follow its log: three vote, everybody else is told by members, and by each other. */
import test, { type ExecutionContext } from 'ava'
import { peerOf } from '../../protocols/raft/member.ts'
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

/** Everybody who runs has what the mesh's leader has. */
function together(mesh: Mesh): boolean {
  const leader = mesh.cluster.leader('mesh')
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

test('three vote, everybody else follows, and each site crosses the WAN once', (t) => {
  const mesh = new Mesh(SITES, 3)
  const watch = new Watch(mesh)
  watch.run(60_000)
  mesh.until('all have everything', () => together(mesh))
  const founders = new Set(mesh.cluster.founders.map(({ terms }) => terms.id))
  const crossing: string[] = []
  for (const { terms, node } of all(mesh)) {
    if (node === undefined) continue
    const { agreement, following } = node.context
    const { voters, learners } = agreement.mesh.status().configuration
    t.deepEqual(new Set(voters.map(peerOf)), founders)
    t.deepEqual(learners, [])
    const { source, ageMs } = following.followed('mesh')
    t.true(ageMs < 15_000, `${terms.name}: ${ageMs}`)
    t.is(source === '', founders.has(terms.id))
    const from = mesh.cluster.hosts.find((host) => host.terms.id === source)
    if (from !== undefined && from.terms.site !== terms.site) crossing.push(terms.site)
  }
  t.deepEqual(crossing.sort(), ['bb', 'cc'])
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
  const leader = mesh.cluster.leader('mesh') as SimHost
  leader.kill()
  mesh.until('another leads', () => mesh.cluster.leader('mesh') !== undefined)
  watch.run(10_000)
  propose(t, mesh, 'bb-3', ++port)
  leader.start()
  mesh.until('everybody has everything again', () => together(mesh), 40_000)
  t.deepEqual(watch.faults, [])
  t.true(watch.compared > 200, `${watch.compared} compared`)
})

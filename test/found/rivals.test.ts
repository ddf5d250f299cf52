/**
 * One log of a site is recovered twice, on two hosts that do not see each other: both lead, both create, both move. What the mesh
 * registered first is what everybody goes to, whichever has the higher number; no VM runs twice on the way, and every VM of
 * either is in the record afterwards.
 */
import test from 'ava'
import { specNamed } from '../../simulator/operators.ts'
import { Mesh } from './support.ts'

const SITES = [
  { name: 'aa', peers: 4 },
  { name: 'bb', peers: 1 },
  { name: 'cc', peers: 1 },
]
const GROUP = 'site/aa'

for (const [first, other] of [
  ['aa-1', 'aa-3'],
  ['aa-3', 'aa-1'],
] as const)
  test(`two recoveries of one log: what ${first} began is registered, and what ${other} began gives way`, (t) => {
    const mesh = new Mesh(SITES, 3)
    // Of three sites each has a voter of the mesh.
    mesh.run(90_000)
    const next = (name: string): string => `aa-${Number(name.slice(3)) + 1}`
    const sides = [
      [first, next(first)],
      [other, next(other)],
    ] as const
    const { network } = mesh.cluster
    const ids = ['web', 'db', 'mail', 'wiki', 'chat', 'git']
      .map((name) => mesh.create(name))
      .map((each) => {
        t.true(each.ok)
        return each.ok ? each.value.id : ''
      })
    mesh.until('all run', () => ids.every((id) => mesh.whereRuns(id).length === 1))
    const twice: string[] = []
    const alone = (): void => {
      for (const id of ids) if (mesh.whereRuns(id).length > 1) twice.push(id)
    }
    const run = (ms: number): void => {
      for (let at = 0; at < ms; at += 20) {
        mesh.run(20)
        alone()
      }
    }
    const apart = (who: readonly string[], from: readonly string[]): void => {
      for (const a of who) for (const b of from) network.cut(mesh.host(a).terms.id, mesh.host(b).terms.id)
    }
    // The others see nobody outside: what they begin the mesh does not hear of.
    apart(sides[1], [...sides[0], 'bb-1', 'cc-1'])
    const pairs = [first, other]
    for (const name of pairs) mesh.host(name).kill()
    for (const name of pairs) mesh.host(name).recover(GROUP, () => mesh.host(name).start())
    const leads = (name: string): boolean =>
      mesh.host(name).node !== undefined &&
      mesh.context(name).agreement.site.generation > 0 &&
      mesh.context(name).agreement.site.leader !== ''
    const together = (a: string, b: string): boolean =>
      leads(a) &&
      leads(b) &&
      mesh.context(a).agreement.site.generation === mesh.context(b).agreement.site.generation
    mesh.until('both lead', () => sides.every(([a, b]) => together(a, b)), 90_000)
    const generation = (name: string): number => mesh.context(name).agreement.site.generation
    const [mine, theirs] = [generation(first), generation(other)]
    t.not(mine, theirs)
    const site = mesh.host(first).identity?.site ?? ''
    const registered = (name: string): number | undefined =>
      mesh.context(name).agreement.mesh.state.generations?.[site]?.generation
    mesh.until('the mesh has registered one', () => registered('bb-1') === mine, 60_000)
    // Until who is out of sight is known to be: what a rival places on such a host, nobody holds when its log goes.
    run(30_000)
    // Both go on: each creates a VM, and moves one of its own.
    for (const [at, to] of sides) {
      const made = mesh.answer<{ id: string }>(at, 'vm.create', {
        spec: specNamed(`new-${at}`),
        start: true,
        dryRun: false,
      })
      t.true(made.ok)
      if (made.ok) ids.push(made.value.id)
      const name = ids.map((id) => mesh.vm(at, id)).find((vm) => vm?.host === mesh.host(at).terms.id)?.name
      if (name !== undefined) mesh.movesTo(at, name, to)
    }
    run(3_000)
    network.heal()
    const all = [...sides[0], ...sides[1]]
    for (let waited = 0; waited < 120_000 && !all.every((name) => generation(name) === mine); waited += 500)
      run(500)
    t.deepEqual(
      all.map(generation),
      all.map(() => mine),
    )
    run(15_000)
    t.deepEqual(twice, [])
    for (const id of ids) {
      const [host] = mesh.whereRuns(id)
      t.truthy(host, id)
      t.is(mesh.vm(first, id)?.host, mesh.host(host ?? '').terms.id, 'the record names who runs it')
    }
    const rivals = mesh.context('bb-1').agreement.mesh.state.generations?.[site]?.rivals ?? []
    t.deepEqual(
      rivals.map((each) => each.generation),
      [theirs],
    )
    const [view] = mesh
      .value<{ group: string; rivals: string }[]>(first, 'raft.list', {})
      .filter(({ group }) => group === GROUP)
    t.regex(view?.rivals ?? '', /is a rival of/)
  })

/** A mesh that three peers found together: three voters from the first entry on, and any of them may go. */
import test from 'ava'
import { peerOf } from '../../protocols/raft/member.ts'
import type { SimHost } from '../../simulator/host.ts'
import { Mesh } from '../found/support.ts'

const SITES = [
  { name: 'aa', peers: 4 },
  { name: 'bb', peers: 2 },
] as const

const voters = (host: SimHost): readonly string[] =>
  (host.node?.context.agreement.mesh.status().configuration.voters ?? []).map(peerOf).toSorted()

test('three founders are the voters of the mesh and of their site; all others learn from them', (t) => {
  const mesh = new Mesh(SITES, 3)
  const founders = mesh.cluster.founders.map(({ terms }) => terms.id).toSorted()
  t.is(founders.length, 3)
  for (const host of mesh.cluster.hosts) {
    t.deepEqual(voters(host), founders)
    const expected = host.terms.site === 'aa' ? founders : [mesh.host('bb-1').terms.id]
    const { configuration } = mesh.context(host.terms.name).agreement.site.status()
    t.deepEqual(configuration.voters.map(peerOf).toSorted(), expected)
    t.is(Object.keys(mesh.context(host.terms.name).agreement.mesh.state.peers).length, 6)
  }
})

const STRIKES = {
  'is killed': (host: SimHost) => host.kill(),
  'loses power': (host: SimHost) => host.cutPower(),
}
/** What the mesh's leader was in the middle of, and what must come of it. */
const PHASES = [
  // Whoever proposed the intent may not hear whether it stands, and withdraws it.
  ['intending', ['taken', 'cancelled', 'none']],
  ['seeding', ['taken']],
  ['promising', ['taken']],
] as const

for (const [what, strike] of Object.entries(STRIKES))
  for (const [phase, ends] of PHASES)
    test(`the leader ${what} while a move is ${phase}: another voter ends it, and the VM runs once`, (t) => {
      const mesh = new Mesh(SITES, 3)
      const id = mesh.running('web', 'aa-4')
      const job = mesh.move('aa-4', 'web', 'bb')
      mesh.phaseIs('aa-4', job, phase)
      const before = mesh.cluster.leader('mesh') as SimHost
      strike(before)
      mesh.until('another voter leads', () => mesh.cluster.leader('mesh') !== undefined)
      t.not(mesh.cluster.leader('mesh'), before)
      mesh.until('the job ends', () => mesh.job('aa-4', job)?.state !== 'running')
      mesh.until('the VM runs', () => mesh.whereRuns(id).length > 0)
      before.start()
      const agreed = (name: string): string => mesh.handOver(name, id)?.state ?? 'none'
      mesh.until('the one that was away has heard', () =>
        (ends as readonly string[]).includes(agreed(before.terms.name)),
      )
      t.is(mesh.context(before.terms.name).agreement.mesh.role, 'follower')
      t.is(mesh.whereRuns(id).length, 1)
      t.is(mesh.whereRuns(id)[0]?.startsWith('bb-'), agreed('bb-1') === 'taken')
    })

test('without two of three nothing is agreed on, and guests run on', (t) => {
  const mesh = new Mesh(SITES, 3)
  const id = mesh.running('web', 'aa-4')
  const [, second, third] = mesh.cluster.founders
  second?.kill()
  third?.kill()
  mesh.run(5_000)
  t.is(mesh.cluster.leader('mesh'), undefined, 'a leader that hears from no quorum steps down')
  const stopped = mesh.answer('aa-4', 'vm.stop', { name: 'web', kill: false })
  t.false(stopped.ok)
  t.deepEqual(mesh.whereRuns(id), ['aa-4'])
  second?.start()
  mesh.until('two of three lead', () => mesh.cluster.leader('site') !== undefined)
  mesh.value('aa-4', 'vm.stop', { name: 'web', kill: false })
  t.deepEqual(mesh.whereRuns(id), [])
})

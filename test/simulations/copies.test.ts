/** Copies of a site's log on peers of two other sites, in meshes of the product's own code. */
import test from 'ava'
import { Mesh } from '../found/support.ts'

const SITES = ['aa', 'bb', 'cc', 'dd'].map((name) => ({ name, peers: 1 }))
const GROUP = 'site/aa'

const keepers = (mesh: Mesh): string[] => {
  const ids = mesh.context('aa-1').agreement.site.state.copies ?? []
  return mesh.cluster.hosts.filter(({ terms }) => ids.includes(terms.id)).map(({ terms }) => terms.name)
}
const indexOn = (mesh: Mesh, host: string): number => mesh.context(host).copies.get(GROUP)?.appliedIndex ?? 0

/** A site of one host whose log is kept in two others. */
function kept(): { mesh: Mesh; first: string; second: string } {
  const mesh = new Mesh(SITES)
  mesh.until('two others keep a copy', () => keepers(mesh).length === 2, 120_000)
  const [first = '', second = ''] = keepers(mesh)
  mesh.until('both have it', () => indexOn(mesh, first) > 0 && indexOn(mesh, second) > 0)
  return { mesh, first, second }
}

test('peers of two other sites keep a copy of a site, which is no member of its group', (t) => {
  const { mesh, first, second } = kept()
  t.not(first.slice(0, 2), second.slice(0, 2))
  mesh.running('web', 'aa-1')
  const { agreement } = mesh.context('aa-1')
  for (const host of [first, second])
    mesh.until('the entries are there', () => indexOn(mesh, host) === agreement.site.appliedIndex)
  t.deepEqual(agreement.site.status().configuration.learners, [])
  t.is(agreement.site.status().configuration.voters.length, 1)
})

// A learner proper would be sent two heartbeats a second: 200 frames with their answers in these 50 s, each over the WAN.
test('an idle site asks and is asked some, and its group of one voter sleeps: no heartbeat for the sake of a copy', (t) => {
  const { mesh, first, second } = kept()
  mesh.run(40_000)
  const beats: string[] = []
  for (const host of [first, second])
    Object.assign(mesh.context(host).copies.get(GROUP) ?? {}, { hear: () => beats.push(host) })
  mesh.run(50_000)
  t.deepEqual(beats, [])
  for (const host of [first, second]) t.true(mesh.context(host).following.followed(GROUP).ageMs < 10_000)
})

test('who keeps a copy and is removed is replaced, and a copy that the log no longer names goes', (t) => {
  const { mesh, first } = kept()
  const drained = mesh.answer('bb-1', 'peer.drain', { name: first, undo: false, dryRun: false })
  t.like(drained, { ok: true })
  mesh.until('another keeps it', () => keepers(mesh).length === 2 && !keepers(mesh).includes(first), 60_000)
  mesh.until('its copy is gone', () => mesh.context(first).copies.get(GROUP) === undefined, 60_000)
  t.is(mesh.host(first).store.recovered(`raft/member/${GROUP}`).length, 0)
})

test('a peer that was killed takes its copies up again', (t) => {
  const { mesh, first } = kept()
  const before = indexOn(mesh, first)
  mesh.host(first).kill()
  mesh.host(first).start()
  mesh.until('it has it from its own disk', () => indexOn(mesh, first) >= before)
  mesh.running('web', 'aa-1')
  const { site } = mesh.context('aa-1').agreement
  mesh.until('and what is new', () => indexOn(mesh, first) === site.appliedIndex)
  t.pass()
})

test('a site that is lost for good is recovered from a copy, and given back to its first host in sight', (t) => {
  const { mesh, first } = kept()
  const id = mesh.running('web', 'aa-1')
  mesh.until('the copy has it', () => mesh.context(first).copies.get(GROUP)?.state.vms[id] !== undefined)
  mesh.host('aa-1').cutPower()
  mesh.run(5_000)
  mesh.host(first).kill()
  mesh.host(first).recover(GROUP, () => mesh.host(first).start())
  mesh.until('the copy leads', () => mesh.host(first).node?.context.copies.get(GROUP)?.role === 'leader')
  t.is(mesh.context(first).copies.get(GROUP)?.state.vms[id]?.name, 'web')
  // Nothing ends a grant: nobody else runs it.
  mesh.run(20_000)
  t.deepEqual(mesh.whereRuns(id), [])
  mesh.host('aa-1').start()
  mesh.until('its host runs it', () => mesh.whereRuns(id).join() === 'aa-1')
  mesh.until(
    'its host leads again, alone',
    () => {
      const { site } = mesh.context('aa-1').agreement
      return site.generation > 0 && site.role === 'leader' && site.status().configuration.voters.length === 1
    },
    120_000,
  )
  t.is(mesh.context('aa-1').agreement.site.state.vms[id]?.host, mesh.host('aa-1').terms.id)
  t.like(mesh.answer('aa-1', 'vm.stop', { name: 'web', kill: false }), { ok: true })
  mesh.until('the copy is only a copy', () => mesh.context(first).copies.get(GROUP)?.role === 'follower')
})

/** Whole peers that prune, evict and are killed while VMs move: what anything refers to stays, wherever and whenever it is done. */
import test, { type ExecutionContext } from 'ava'
import type { KeptView, PruneItem } from '../../node/views.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { chunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'
import { Mesh } from '../found/support.ts'

const HOSTS = ['aa-1', 'aa-2', 'bb-1', 'bb-2']
const FORCED = { dryRun: false, force: true }

/** Every image that a grant of this host names is whole on it. */
function granted(t: ExecutionContext, mesh: Mesh, host: string, when: string): void {
  const { chunks, manifests } = mesh.host(host)
  const held = chunks.held()
  for (const { name, disks } of mesh.context(host).vms.grants())
    for (const { image } of disks) {
      const found: Outcome<Manifest>[] = []
      manifests.get(image, (outcome) => found.push(outcome))
      mesh.until('the manifest is read', () => found.length > 0)
      const [manifest] = found
      if (manifest?.ok !== true) return t.fail(`${host} lacks the manifest of ${name} ${when}`)
      for (let index = 0; index < chunkCount(manifest.value); index++) {
        const id = chunkAt(manifest.value, index)
        if (id !== undefined && !held.has(id)) return t.fail(`${host} lacks a chunk of ${name} ${when}`)
      }
    }
  t.pass()
}

test('a VM that moves leaves a kept copy, which goes when room is needed, and not before', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'aa-1')
  mesh.movesTo('aa-1', 'web', 'bb-1')
  mesh.until('its disks are set aside', () => mesh.host('aa-1').disks.kept().length > 0)
  const [kept] = mesh.value<KeptView[]>('aa-1', 'image.kept', {})
  t.like(kept, { vm: id, elsewhere: 'bb-1' })
  t.is(kept?.images.length, 1)

  const pruned = mesh.value<PruneItem[]>('aa-1', 'image.prune', { dryRun: false, force: false })
  t.false(
    pruned.some(({ id: image }) => image === kept?.images[0]),
    'a kept copy refers to it',
  )
  t.is(mesh.host('aa-1').disks.kept().length, 1)

  const { room } = mesh.context('aa-1').keeping
  const free = mesh.context('aa-1').ports.host.disk()
  const wanted: unknown[] = []
  room.want('much', free.freeBytes - free.totalBytes * 0.02 + 1, (outcome) => wanted.push(outcome))
  mesh.until('room is made', () => wanted.length > 0)
  t.like(wanted[0], { ok: true })
  t.is(mesh.host('aa-1').disks.kept().length, 0)
  for (const each of HOSTS) granted(t, mesh, each, 'after the copy went')
  mesh.movesTo('bb-1', 'web', 'aa-1')
  t.deepEqual(mesh.whereRuns(id), ['aa-1'])
})

for (const afterMs of [5, 120, 300, 1_500])
  test(`pruned by force ${afterMs} ms after a move began, on all hosts, one of them killed then: nothing is missed`, (t) => {
    const mesh = new Mesh()
    const id = mesh.running('web', 'aa-1')
    mesh.move('aa-1', 'web', 'bb-1')
    mesh.run(afterMs)
    for (const each of HOSTS) mesh.ask(each, 'image.prune', FORCED)
    mesh.run(afterMs % 7)
    const killed = afterMs % 2 === 0 ? 'bb-1' : 'aa-1'
    mesh.host(killed).kill()
    mesh.run(500)
    mesh.host(killed).start()
    for (let again = 0; again < 4; again++) {
      mesh.run(1_500)
      for (const each of HOSTS) mesh.ask(each, 'image.prune', FORCED)
    }
    mesh.until('it runs', () => mesh.whereRuns(id).length === 1, 120_000)
    mesh.run(20_000)
    for (const each of HOSTS) granted(t, mesh, each, `${afterMs} ms`)
    t.is(mesh.whereRuns(id).length, 1)
  })

test('a move goes through, at the cost of one, while all hosts prune by force again and again', (t) => {
  const cost = (prunes: boolean): { compressedBytes: number; ms: number } => {
    const mesh = new Mesh()
    mesh.running('web', 'aa-1')
    const job = mesh.move('aa-1', 'web', 'bb-1')
    const startMs = mesh.world.nowMs
    while (mesh.job('aa-1', job)?.state === 'running' && mesh.world.nowMs < startMs + 60_000) {
      if (prunes) for (const each of HOSTS) mesh.ask(each, 'image.prune', FORCED)
      mesh.run(10)
    }
    const ended = mesh.job('aa-1', job)
    t.is(ended?.state, 'done', ended?.error)
    return { compressedBytes: ended?.compressedBytes ?? 0, ms: mesh.world.nowMs - startMs }
  }
  const undisturbed = cost(false)
  const pruned = cost(true)
  t.is(pruned.compressedBytes, undisturbed.compressedBytes, 'nothing is fetched twice')
  t.log(`${undisturbed.ms} ms, and ${pruned.ms} ms while all prune`)
})

test('the last copy of a named image stays at its site, whoever prunes and however often', (t) => {
  const mesh = new Mesh()
  const [image = ''] = Object.values(mesh.context('aa-1').agreement.site.state.images).map(
    (each) => each.image,
  )
  for (let round = 0; round < 3; round++) {
    const runs = HOSTS.map((each) =>
      mesh.ask<PruneItem[]>(each, 'image.prune', { dryRun: false, force: false }),
    )
    mesh.until('all have pruned', () => runs.every(({ length }) => length > 0))
  }
  t.true(HOSTS.some((each) => mesh.host(each).manifests.list().includes(image)))
  mesh.value('aa-1', 'image.pin', { name: 'base', undo: false })
  mesh.value('aa-1', 'image.prune', FORCED)
  t.true(mesh.host('aa-1').manifests.list().includes(image), 'a pin holds by force too')
  mesh.value('aa-1', 'image.pin', { name: 'base', undo: true })
  mesh.value('aa-1', 'image.prune', FORCED)
  t.false(mesh.host('aa-1').manifests.list().includes(image))
})

test('a host without room for its image is passed over, and says why', (t) => {
  const mesh = new Mesh([{ name: 'aa', peers: 2 }])
  for (const name of ['aa-1', 'aa-2']) {
    const { freeBytes } = mesh.context(name).ports.host.disk()
    const { room } = mesh.context(name).keeping
    if (name === 'aa-2') room.want('all', freeBytes * 0.97, () => {})
  }
  const created = mesh.create('web')
  t.true(created.ok)
  mesh.until('it runs', () => mesh.guests().length === 1)
  t.is(mesh.guests()[0]?.host, 'aa-1')
})

/** Found with damaged logs: what a peer did that looked at its log before it had been applied as far as it was. */
import test from 'ava'
import { SimStore } from '../../simulator/store.ts'
import { Mesh } from './support.ts'

test('a VM that was stopped is not started again while its host applies its log anew', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'aa-1')
  mesh.value('aa-1', 'vm.stop', { name: 'web', kill: false })
  mesh.until('it has stopped', () => mesh.whereRuns(id).length === 0)
  mesh.run(1_000)
  const host = mesh.host('aa-1')
  host.kill()
  host.start()
  mesh.world.run(mesh.world.nowMs + 30_000, () => t.deepEqual(mesh.whereRuns(id), []))
  t.is(mesh.vm('aa-1', id)?.wanted, 'stopped')
})

test('a peer whose mesh log is empty goes on telling of its VMs', (t) => {
  const mesh = new Mesh([
    { name: 'aa', peers: 1 },
    { name: 'bb', peers: 1 },
  ])
  const id = mesh.running('web', 'bb-1')
  const host = mesh.host('bb-1')
  host.kill()
  const pairs = new Map(host.store.whatACrashLeaves().recovered(''))
  pairs.set('raft/state/mesh', Uint8Array.of(1, 2, 3))
  host.store = new SimStore(mesh.world, 'bb-1', pairs)
  mesh.cluster.network.cutSite('bb')
  host.start()
  t.is(mesh.context('bb-1').agreement.mesh.opened.how, 'quarantined')
  t.notThrows(() => mesh.run(60_000))
  t.deepEqual(mesh.whereRuns(id), ['bb-1'])
  mesh.cluster.network.heal()
  mesh.until(
    'its mesh log is filled again',
    () => mesh.context('bb-1').agreement.mesh.state.homes[id] !== undefined,
    60_000,
  )
})

/**
 * A move was offered when the mesh's group was lost and recovered, and its destination is gone: whether it took the VM nobody
 * can tell, so no cancel was taken, and the VM ran nowhere for ever. An operator's word that the host never runs again ends that.
 */
import test from 'ava'
import { Mesh } from './support.ts'

const SITES = ['aa', 'bb'].map((name) => ({ name, peers: 1 }))

function uncertain(): { mesh: Mesh; id: string; job: string } {
  const mesh = new Mesh(SITES)
  const id = mesh.running('web', 'aa-1')
  const job = mesh.move('aa-1', 'web', 'bb')
  mesh.until('it has promised', () => mesh.context('aa-1').vms.promiseOf(id)?.m === job)
  mesh.host('bb-1').cutPower()
  mesh.host('aa-1').kill()
  mesh.host('aa-1').recover('mesh', () => mesh.host('aa-1').start())
  mesh.until(
    'the move is taken up',
    () => mesh.host('aa-1').node !== undefined && mesh.job('aa-1', job) !== undefined,
  )
  mesh.ask('aa-1', 'job.cancel', { name: job })
  mesh.until('it is uncertain', () => mesh.job('aa-1', job)?.phase === 'uncertain', 60_000)
  return { mesh, id, job }
}

test('a cancel whose destination has not said stays uncertain; by force the VM runs where it was, above what that host may hold', (t) => {
  const { mesh, id, job } = uncertain()
  mesh.run(20_000)
  t.is(mesh.job('aa-1', job)?.phase, 'uncertain')
  t.deepEqual(mesh.whereRuns(id), [])
  const before = mesh.vm('aa-1', id)?.epoch
  t.true(mesh.answer('aa-1', 'job.cancel', { name: job, force: true }).ok)
  mesh.until('it runs at its source', () => mesh.whereRuns(id).join() === 'aa-1')
  mesh.run(5_000)
  const after = mesh.vm('aa-1', id)
  t.is(after?.move, undefined)
  t.deepEqual(after?.epoch.slice(1, 2), [(before?.[1] ?? 0) + 1])
  t.true((after?.epoch[0] ?? 0) > 0, 'led by the generation, so above what was given in the lost one')
  const home = mesh.context('aa-1').agreement.mesh.state.homes[id]
  t.is(home?.unsafe, true)
  // It was not gone after all: its copy is the one that ends, and the VM can move again.
  mesh.host('bb-1').start()
  mesh.run(30_000)
  t.deepEqual(mesh.whereRuns(id), ['aa-1'])
  mesh.movesTo('aa-1', 'web', 'bb')
  t.deepEqual(mesh.whereRuns(id), ['bb-1'])
  t.is(mesh.context('bb-1').agreement.mesh.state.homes[id]?.unsafe, undefined)
})

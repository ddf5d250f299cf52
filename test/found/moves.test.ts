/** Moves that did not end, lost what the guest had written, or kept a guest from running. */
import test from 'ava'
import { Counting } from '../../simulator/checkers/counting.ts'
import type { SimHost } from '../../simulator/host.ts'
import type { World } from '../../simulator/world.ts'
import { Mesh } from './support.ts'

test('an intent whose source was killed before its mark is withdrawn, and the VM can move', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'bb-2')
  const job = mesh.move('bb-2', 'web', 'aa')
  mesh.until('the intent is agreed on', () => mesh.handOver('aa-1', id)?.m === job)
  t.is(mesh.vm('bb-1', id)?.move, undefined)
  mesh.host('bb-2').kill()
  mesh.run(2_000)
  mesh.host('bb-2').start()
  mesh.until('the intent is withdrawn', () => mesh.handOver('aa-1', id)?.state === 'cancelled')
  mesh.until(
    'its room is free',
    () => mesh.context('aa-1').agreement.site.state.reservations[id] === undefined,
  )
  t.deepEqual(mesh.whereRuns(id), ['bb-2'])
  mesh.movesTo('bb-2', 'web', 'aa-1')
  t.deepEqual(mesh.whereRuns(id), ['aa-1'])
})

for (const afterMs of [0, 10, 30, 60, 100, 160]) {
  test(`a cancel ${afterMs} ms after the room was reserved ends the move, one way or the other`, (t) => {
    const mesh = new Mesh()
    const id = mesh.running('web', 'bb-2')
    const job = mesh.move('bb-2', 'web', 'aa-1')
    mesh.until('room is reserved', () => mesh.job('bb-2', job)?.phase !== 'reserving')
    mesh.run(afterMs)
    mesh.ask('bb-2', 'job.cancel', { name: job })
    mesh.run(20_000)
    const taken = mesh.job('bb-2', job)?.state === 'done'
    if (!taken) t.is(mesh.job('bb-2', job)?.state, 'cancelled')
    t.not(mesh.handOver('aa-1', id)?.state, 'intended')
    t.deepEqual(mesh.whereRuns(id), [taken ? 'aa-1' : 'bb-2'])
  })
}

test('disks that come after their move was cancelled are not taken for those of the next', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'aa-1')
  slowDisks(mesh.world, mesh.host('bb-1'), 20_000)
  const counting = new Counting()
  const first = mesh.move('aa-1', 'web', 'bb-1')
  mesh.phaseIs('aa-1', first, 'preparing')
  mesh.ask('aa-1', 'job.cancel', { name: first })
  mesh.until('the first is cancelled', () => mesh.job('aa-1', first)?.state === 'cancelled')
  mesh.until('it runs on', () => mesh.whereRuns(id).length > 0)
  mesh.run(5_000)
  const second = mesh.move('aa-1', 'web', 'bb-1')
  const look = (): boolean => {
    counting.look(mesh.guests())
    return mesh.job('aa-1', second)?.state === 'done'
  }
  t.notThrows(() => mesh.until('the second arrives', look, 90_000))
  mesh.run(1_000)
  t.deepEqual(mesh.whereRuns(id), ['bb-1'])
  t.notThrows(() => counting.look(mesh.guests()))
})

test('a refusal that was lost in a cut is said again, and the guest runs soon after it', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'aa-1')
  const { disks } = mesh.host('bb-1')
  disks.prepare = (_vm, _sources, done) =>
    void mesh.world.after(500, () => done({ ok: false, failure: { code: 'DISK_FULL', path: '/disks' } }))
  const job = mesh.move('aa-1', 'web', 'bb-1')
  mesh.phaseIs('aa-1', job, 'preparing')
  mesh.cluster.network.cutSite('bb')
  mesh.run(40_000)
  t.deepEqual(mesh.whereRuns(id), [])
  mesh.cluster.network.heal()
  mesh.until('the guest runs', () => mesh.whereRuns(id).length > 0, 20_000)
  t.deepEqual(mesh.whereRuns(id), ['aa-1'])
  mesh.until('the move has ended', () => mesh.job('aa-1', job)?.state === 'failed')
})

const ends: [how: string, end: (host: SimHost, vm: string) => void][] = [
  ['lost power', (host) => host.cutPower()],
  ['lost its guest', (host, vm) => host.hypervisor.crashGuest(vm)],
]

for (const [how, end] of ends) {
  test(`a host that ${how}, cut off with a VM marked as moving and not offered, runs it again`, (t) => {
    const mesh = new Mesh()
    const id = mesh.running('web', 'bb-1')
    mesh.move('bb-1', 'web', 'aa')
    mesh.until('it is marked', () => mesh.vm('bb-1', id)?.move !== undefined)
    mesh.cluster.network.cutSite('bb')
    mesh.run(3_000)
    t.deepEqual(mesh.whereRuns(id), ['bb-1'])
    t.is(mesh.context('bb-1').vms.promiseOf(id)?.m, undefined)
    end(mesh.host('bb-1'), id)
    mesh.run(2_000)
    mesh.host('bb-1').start()
    mesh.until('it runs again', () => mesh.whereRuns(id).length > 0, 120_000)
    t.deepEqual(mesh.whereRuns(id), ['bb-1'])
    mesh.run(60_000)
    t.deepEqual(mesh.whereRuns(id), ['bb-1'])
    t.notThrows(() => {
      mesh.cluster.network.heal()
      mesh.until('the move has ended', () => mesh.vm('bb-1', id)?.move === undefined, 120_000)
    })
    mesh.until('it runs after the move', () => mesh.whereRuns(id).length === 1)
  })
}

test('a cancel of a move that is not the newest ends, and fills no log meanwhile', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'bb-2')
  const newest = mesh.handOver('aa-1', id)?.m
  const job = mesh.move('bb-2', 'web', 'aa')
  const { site } = mesh.context('aa-1').agreement
  mesh.until('room is reserved', () => site.state.reservations[id]?.m === job)
  mesh.cluster.network.cutSite('aa')
  mesh.run(20_000)
  mesh.cluster.network.heal()
  mesh.until('the move has ended', () => mesh.job('bb-2', job)?.state !== 'running')
  t.is(mesh.handOver('aa-1', id)?.m, newest)
  t.deepEqual(mesh.whereRuns(id), ['bb-2'])
  // Voters and timing are agreed on now and then; a cancel that does not end asks again every second or so.
  const { appliedIndex } = mesh.context('aa-1').agreement.mesh
  mesh.run(10 * 60_000)
  t.true(mesh.context('aa-1').agreement.mesh.appliedIndex - appliedIndex < 40)
})

test('a cancel before the intent is agreed on ends', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'bb-2')
  const job = mesh.move('bb-2', 'web', 'aa')
  mesh.phaseIs('bb-2', job, 'intending')
  mesh.ask('bb-2', 'job.cancel', { name: job })
  mesh.until('the move has ended', () => mesh.job('bb-2', job)?.state === 'cancelled')
  mesh.run(20_000)
  t.not(mesh.handOver('aa-1', id)?.state, 'intended')
  t.deepEqual(mesh.whereRuns(id), ['bb-2'])
})

/** Making disks takes this long, and one call waits for the other, as files of that size would have it. */
function slowDisks(world: World, { disks }: SimHost, ms: number): void {
  const prepare = disks.prepare.bind(disks)
  const turns: (() => void)[] = []
  const next = (): void => turns[0]?.()
  disks.prepare = (vm, sources, done) => {
    const turn = (): void =>
      void world.after(disks.has(vm) ? 10 : ms, () =>
        prepare(vm, sources, (outcome) => {
          turns.shift()
          done(outcome)
          next()
        }),
      )
    turns.push(turn)
    if (turns.length === 1) next()
  }
}

test('the mesh keeps no hand-over of a VM that was deleted, and its home as a tombstone', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'aa-2')
  mesh.movesTo('aa-2', 'web', 'bb')
  mesh.until('its home has it', () => mesh.vm('bb-1', id) !== undefined)
  t.is(mesh.handOver('aa-1', id)?.state, 'taken')
  mesh.value('bb-1', 'vm.delete', { name: 'web' })
  for (const name of ['aa-1', 'aa-2', 'bb-1', 'bb-2'])
    mesh.until(`${name} has forgotten the move`, () => mesh.handOver(name, id) === undefined)
  mesh.run(5_000)
  t.is(mesh.vm('bb-1', id), undefined)
  t.deepEqual(mesh.whereRuns(id), [])
  const { homes } = mesh.context('aa-1').agreement.mesh.state
  t.is(homes[id]?.site, mesh.host('bb-1').identity?.site)
})

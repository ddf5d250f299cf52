/** Commands that were acknowledged and then forgotten, or never came to an end. */
import test from 'ava'
import type { StatusView } from '../../node/views.ts'
import type { Failure } from '../../protocols/errors.ts'
import { Mesh } from './support.ts'

test('a VM whose host was killed between its last step and its last word is deleted, and its name is free', (t) => {
  const mesh = new Mesh()
  mesh.create('web')
  mesh.create('db')
  mesh.run(4_000)
  const vm = mesh.guests().find(({ host }) => host === 'aa-2')?.vm ?? ''
  const name = mesh.vm('aa-1', vm)?.name ?? ''
  t.not(name, '')
  mesh.ask('aa-1', 'vm.delete', { name })
  mesh.until('its host gave it up', () => mesh.context('aa-2').vms.promiseOf(vm) !== undefined)
  mesh.host('aa-2').kill()
  t.is(mesh.vm('aa-1', vm)?.deleting, true)
  mesh.run(1_000)
  mesh.host('aa-2').start()
  mesh.until('it is gone from the catalog', () => mesh.vm('aa-1', vm) === undefined)
  t.true(mesh.create(name).ok)
})

test('a VM that is deleted as soon as it has come is gone for good', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'bb-2')
  mesh.move('bb-2', 'web', 'aa-1')
  mesh.until('its new site knows of it', () => mesh.vm('aa-1', id) !== undefined)
  mesh.value('aa-1', 'vm.delete', { name: 'web' })
  mesh.until('it is gone', () => mesh.vm('aa-1', id) === undefined)
  mesh.run(30_000)
  mesh.host('aa-1').kill()
  mesh.run(1_000)
  mesh.host('aa-1').start()
  mesh.run(60_000)
  t.deepEqual(mesh.whereRuns(id), [])
  t.is(mesh.vm('aa-1', id), undefined)
  t.is(mesh.vm('bb-1', id), undefined)
})

test('its host refuses a stop while a move is in hand, and does not forget it instead', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'bb-2')
  mesh.cluster.network.cutSite('aa')
  const job = mesh.move('bb-2', 'web', 'aa')
  t.is(mesh.job('bb-2', job)?.phase, 'reserving')
  const stopped = mesh.answer('bb-2', 'vm.stop', { name: 'web', kill: true })
  mesh.cluster.network.heal()
  t.like(stopped, { ok: false, failure: { code: 'BUSY' } })
  mesh.until('the move has ended', () => mesh.job('bb-2', job)?.state !== 'running')
  mesh.run(2_000)
  t.is(mesh.whereRuns(id).length, 1)
})

// The only voter of a site of two was removed by force, and nobody said that its group would agree on nothing from then on.
test('who removes the only voter of a group by force is told which group that is, from its own site and from another', (t) => {
  const mesh = new Mesh()
  mesh.running('web', 'aa-1')
  const params = { name: 'aa-1', force: true, dryRun: true }
  for (const at of ['aa-2', 'bb-1']) {
    const told = mesh.value<{ orphans: string[]; leaderless: string[] }>(at, 'peer.remove', params)
    t.true(told.leaderless.includes('site/aa'), at)
    t.deepEqual(told.orphans, ['web'])
  }
  t.deepEqual(
    mesh.value<{ leaderless: string[] }>('aa-2', 'peer.remove', { ...params, name: 'aa-2' }).leaderless,
    [],
  )
})

// Its host was cut off with the VM marked as moving: the cancel waits for the mesh's log, and until then nobody could stop the guest.
test('a guest whose move is being cancelled, cut off, is stopped by its own host, and stays so', (t) => {
  const mesh = new Mesh()
  const id = mesh.running('web', 'bb-2')
  const job = mesh.move('bb-2', 'web', 'aa')
  mesh.until('it is marked', () => mesh.vm('bb-2', id)?.move !== undefined)
  mesh.cluster.network.cutSite('aa')
  t.is(mesh.vm('bb-2', id)?.move?.m, job)
  mesh.ask('bb-2', 'job.cancel', { name: job })
  mesh.until('it waits for the log', () => mesh.job('bb-2', job)?.phase === 'cancelling')
  mesh.run(5_000)
  t.deepEqual(mesh.whereRuns(id), ['bb-2'])
  t.like(mesh.answer('bb-2', 'vm.stop', { name: 'web', kill: true }), { ok: true })
  t.deepEqual(mesh.whereRuns(id), [])
  mesh.cluster.network.heal()
  mesh.until('the move has ended', () => mesh.job('bb-2', job)?.state !== 'running')
  mesh.run(10_000)
  t.deepEqual(mesh.whereRuns(id), [])
  t.like(mesh.vm('bb-2', id), { wanted: 'stopped', move: undefined })
})

// Peers of the site that do not see the VM's host take a stop too, and know of no move before its mark.
test('a stop acknowledged elsewhere before the mark is carried out: the move is refused as stale', (t) => {
  const mesh = new Mesh([
    { name: 'aa', peers: 1 },
    { name: 'bb', peers: 3 },
  ])
  const { network } = mesh.cluster
  const id = mesh.running('web', 'bb-2')
  network.cut(mesh.host('bb-3').terms.id, mesh.host('bb-2').terms.id)
  mesh.until(
    'bb-3 does not see bb-2',
    () => {
      const { transport } = mesh.context('bb-3').ports
      return !transport.connected().includes(mesh.host('bb-2').terms.id)
    },
    60_000,
  )
  const job = mesh.move('bb-2', 'web', 'aa')
  const stopped = mesh.answer('bb-3', 'vm.stop', { name: 'web', kill: true })
  t.true(stopped.ok)
  t.is(mesh.vm('bb-2', id)?.move, undefined)
  network.heal()
  mesh.until('the move has ended', () => mesh.job('bb-2', job)?.state !== 'running')
  t.like(mesh.job('bb-2', job), { state: 'failed', code: 'STALE' })
  mesh.run(20_000)
  t.is(mesh.vm('bb-1', id)?.wanted, 'stopped')
  t.not(mesh.handOver('aa-1', id)?.state, 'intended')
  t.deepEqual(mesh.whereRuns(id), [])
})

test('a token whose door cannot open is revoked: its port was busy, and it stood open for hours', (t) => {
  const mesh = new Mesh()
  const { door } = mesh.host('aa-1').plug()
  const busy: Failure = { code: 'ADDRESS_IN_USE', address: '/ip4/0.0.0.0/tcp/4711' }
  door.open = (_handler, done) => done({ ok: false, failure: busy })
  const made = mesh.answer('aa-1', 'token.create', { site: 'aa', expiryMs: 600_000 })
  t.deepEqual(made, { ok: false, failure: busy })
  const tokens = mesh.value<{ state: string; site: string }[]>('aa-1', 'token.list', {})
  t.deepEqual([...new Set(tokens.map(({ state }) => state))].toSorted(), ['revoked', 'used'])
})

test('a VM and a peer are found on a peer whose copies of the logs have not come as far yet', (t) => {
  const mesh = new Mesh()
  const created = mesh.create('web')
  t.is(mesh.vm('aa-2', created.ok ? created.value.id : ''), undefined, 'its copy is behind')
  t.like(mesh.answer('aa-2', 'vm.show', { name: 'web' }), { ok: true, value: { vm: { name: 'web' } } })
  t.like(mesh.answer('aa-2', 'vm.show', { name: 'wren' }), { ok: false, failure: { code: 'NOT_FOUND' } })
  mesh.create('wren')
  const host = mesh.guests()[0]?.host ?? 'aa-1'
  const removed = mesh.answer('aa-2', 'peer.remove', { name: host, force: false, dryRun: true })
  t.like(removed, { ok: false, failure: { code: 'PEER_IN_USE' } })
})

// Its gate was refused before the entry came: it went on as ready, with the peers that it had, for ever.
test('a removed peer is told so: at once when it is in sight, and when it comes back', (t) => {
  const mesh = new Mesh()
  const statusOf = (host: string): StatusView => mesh.value(host, 'status', {})
  mesh.host('bb-2').kill()
  mesh.value('aa-1', 'peer.remove', { name: 'bb-2', force: true, dryRun: false })
  mesh.value('aa-1', 'peer.remove', { name: 'aa-2', force: false, dryRun: false })
  mesh.until('who is in sight knows', () => !statusOf('aa-2').ready, 10_000)
  mesh.host('bb-2').start()
  mesh.until('who comes back is told', () => statusOf('bb-2').removed !== '', 40_000)
  for (const host of ['aa-2', 'bb-2']) {
    t.regex(statusOf(host).removed, /^this peer was removed from the mesh by aa-1 at 20\d\d-/, host)
    const made = mesh.answer(host, 'token.create', { site: 'aa', expiryMs: 60_000 })
    t.like(made, { ok: false, failure: { code: 'REMOVED', by: 'aa-1', site: host.slice(0, 2) } })
  }
  t.true(statusOf('aa-1').ready)
})

test('a token is revoked by the peer that made it, though its copy of the log has not come as far yet', (t) => {
  const mesh = new Mesh()
  const { id } = mesh.value<{ id: string }>('bb-2', 'token.create', { site: 'bb', expiryMs: 600_000 })
  const { mesh: copy } = mesh.context('bb-2').agreement
  t.is(copy.state.tokens[id], undefined, 'it follows the log, and is behind')
  const revoked = mesh.answer('bb-2', 'token.revoke', { name: id })
  t.like(revoked, { ok: true, value: { id, state: 'revoked' } })
  t.is(mesh.context('aa-1').agreement.mesh.state.tokens[id]?.state, 'revoked')
  t.like(mesh.answer('bb-2', 'token.revoke', { name: 'nothing' }), {
    ok: false,
    failure: { code: 'NOT_FOUND' },
  })
})

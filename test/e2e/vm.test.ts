/** One real guest through the life of its peer: killed, restarted, told to stop; and through its own, to its last file. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { VmView } from '../../node/views.ts'
import { counted, createGuest, guestsOn, importGuest, newest, printed, vmNamed } from './guests.ts'
import { itemOf, Mesh, must, names, type Peer, until } from './support.ts'

/** systemd waits 90 s; people do not. */
const DRAIN_MS = 5_000

const mesh = new Mesh()
let crane: Peer
let vm: VmView

test.before('a guest counts', async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg' })
  await mesh.form(crane)
  await importGuest(mesh, crane, 'guest')
  vm = await createGuest(mesh, crane, 'counter', 'guest')
})
test.after.always(() => mesh.close())

test.serial('kill -9 of the peer leaves its guest alone; the next life finds it', async (t) => {
  const [pid] = await guestsOn(crane)
  await mesh.kill(crane)
  const atKill = newest(crane, vm.id)
  await counted(crane, vm.id, atKill + 3)
  await mesh.up(crane)
  t.is((await vmNamed(mesh, crane, 'counter'))?.state, 'running')
  await counted(crane, vm.id, newest(crane, vm.id) + 3)
  t.deepEqual(await guestsOn(crane), [pid])
  t.is(printed(crane, vm.id).filter(({ kind }) => kind === 'boot').length, 1)
})

test.serial('an adopted guest stops by ACPI, and starts again from its disk', async (t) => {
  const stopped = itemOf<VmView>(must(await mesh.godwit(crane, ['vm', 'stop', 'counter', '-o', 'json'])))
  t.like(stopped, { state: 'stopped', wanted: 'stopped' })
  const off = printed(crane, vm.id).at(-1)
  t.is(off?.kind, 'off')
  t.deepEqual(await guestsOn(crane), [])

  const started = itemOf<VmView>(must(await mesh.godwit(crane, ['vm', 'start', 'counter', '-o', 'json'])))
  t.is(started.state, 'running')
  const count = off?.count ?? 0
  await counted(crane, vm.id, count + 1)
  t.deepEqual(
    printed(crane, vm.id)
      .filter(({ kind }) => kind === 'boot')
      .map((each) => each.count),
    [0, count],
  )
})

test.serial('SIGTERM drains in time and leaves the guest running', async (t) => {
  const [pid] = await guestsOn(crane)
  const begun = performance.now()
  const child = crane.process
  await mesh.end(crane, 'SIGTERM')
  t.true(performance.now() - begun < DRAIN_MS)
  t.is(child?.exitCode, 0)
  t.deepEqual(await guestsOn(crane), [pid])
  await counted(crane, vm.id, newest(crane, vm.id) + 2)
  await mesh.up(crane)
  t.is((await vmNamed(mesh, crane, 'counter'))?.state, 'running')
})

test.serial('a deleted VM leaves no process and no file', async (t) => {
  const asked = await mesh.godwit(crane, ['vm', 'delete', 'counter'])
  t.is(asked.code, 2)
  t.regex(asked.err, /--yes/)
  t.is((await guestsOn(crane)).length, 1)

  must(await mesh.godwit(crane, ['vm', 'delete', 'counter', '--yes']))
  await until('the VM to be gone', async () => (await vmNamed(mesh, crane, 'counter')) === undefined)
  t.deepEqual(await guestsOn(crane), [])
  t.deepEqual(names(join(crane.folder, 'disks', 'vms')), [])
  t.deepEqual(names(join(crane.folder, 'disks', 'bases')), [])
  t.false(existsSync(join(crane.folder, 'machines', vm.id)))
  t.is((await mesh.godwit(crane, ['vm', 'show', 'counter'])).code, 8)
})

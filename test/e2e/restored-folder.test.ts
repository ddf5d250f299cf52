/**
 * A data folder that is not as its peer last had it: a copy that was made while the peer went on, put back or started
 * elsewhere. It votes nowhere and starts nothing, says why and what to do, and `peer replace` takes it up again.
 */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { StatusView, VmView } from '../../node/views.ts'
import { createGuest, guestsOn, importGuest } from './guests.ts'
import { Mesh, must, type Peer, until } from './support.ts'

const mesh = new Mesh()
let crane: Peer
let heron: Peer

test.before(async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg' })
  heron = await mesh.peer('heron', 'harbour', { driver: 'tcg' })
  await mesh.form(crane, heron)
  await importGuest(mesh, crane, 'guest')
})
test.after.always(() => mesh.close())

const statusOf = (peer: Peer): Promise<StatusView> => mesh.ask<StatusView>(peer, 'status')
const vmsOf = (peer: Peer): Promise<VmView[]> => mesh.ask<VmView[]>(peer, 'vm.list')

/** Of a peer that is down, so that every file of it is whole. */
function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  cpSync(from, to, { recursive: true, preserveTimestamps: true, filter: (path) => !path.endsWith('.sock') })
}

test.serial('restarts in order, and by kill -9, raise no alarm', async (t) => {
  for (const end of ['SIGKILL', 'SIGTERM'] as const) {
    await mesh.end(heron, end)
    await mesh.up(heron)
  }
  t.deepEqual((await statusOf(heron)).folder, { state: 'bound', why: '' })
})

test.serial('a copy of the folder takes no part, while its peer goes on', async (t) => {
  const copied = await mesh.peer('copied', 'harbour', { folder: join(mesh.folder, 'elsewhere') })
  await mesh.end(heron, 'SIGTERM')
  copy(heron.folder, copied.folder)
  await mesh.up(heron)
  await mesh.open(copied)
  const { folder, ready, groups, peersAlive, peer } = await statusOf(copied)
  t.is(folder.state, 'mismatch')
  t.regex(folder.why, /^it was bound to the folder with inode /)
  t.deepEqual([ready, peersAlive, peer], [false, 1, 'heron'])
  t.false(groups.some(({ role }) => role === 'leader' || role === 'candidate'))
  t.deepEqual((await statusOf(heron)).folder, { state: 'bound', why: '' })
  await mesh.end(copied, 'SIGTERM')
})

test.serial('a store that is put back: refused, replaced, and what moved away stays away', async (t) => {
  for (const name of ['kept', 'gone']) {
    const { host } = await createGuest(mesh, crane, name, 'guest')
    if (host !== 'crane') must(await mesh.godwit(crane, ['vm', 'move', name, '--to', 'crane']))
  }
  const store = join(crane.folder, 'store')
  await mesh.end(crane, 'SIGTERM')
  copy(store, `${store}.backup`)
  await mesh.up(crane)
  must(await mesh.godwit(crane, ['vm', 'move', 'gone', '--to', 'heron']))
  const pids = await guestsOn(crane)
  t.is(pids.length, 1)
  await mesh.end(crane, 'SIGTERM')
  copy(`${store}.backup`, store)

  await mesh.open(crane)
  const { folder, ready, groups } = await statusOf(crane)
  t.is(folder.state, 'mismatch')
  t.regex(folder.why, /^it is older than its mark: it was bound \d+ times, and its mark says \d+$/)
  t.false(ready)
  t.deepEqual(
    groups.map(({ role }) => role),
    ['follower', 'follower'],
  )
  t.deepEqual(await guestsOn(crane), pids, 'its guest is left alone')
  const shown = must(await mesh.godwit(crane, ['status']))
  t.regex(shown.out, /mismatch: it is older than its mark/)
  t.is(must(await mesh.godwit(crane, ['vm', 'list', '-o', 'name'])).out, 'harbour/gone\nharbour/kept\n')
  const refused = await mesh.godwit(crane, ['vm', 'start', 'gone', '-o', 'json'])
  t.is(refused.code, 4, refused.err)
  t.like(refused.error, {
    code: 'DATA_MISMATCH',
    next: 'godwit peer replace --dry-run, with the peer stopped',
  })
  await mesh.end(crane, 'SIGTERM')
  const early = await mesh.godwit(crane, ['raft', 'recover', '--yes', '-o', 'json'])
  t.is(early.error?.code, 'DATA_MISMATCH')

  t.is((await mesh.godwit(crane, ['peer', 'replace'])).code, 2, 'it asks')
  const replaced = must(await mesh.godwit(crane, ['peer', 'replace', '--yes']))
  t.regex(
    replaced.err,
    /site\/harbour: this peer had its only vote.*godwit raft recover --group site\/harbour/,
  )
  // Heron has what crane's groups agreed on after the backup.
  await mesh.end(heron, 'SIGTERM')
  for (const group of ['mesh', 'site/harbour'])
    must(await mesh.godwit(heron, ['raft', 'recover', '--group', group, '--yes']))
  await mesh.up(crane)
  t.is((await statusOf(crane)).folder.state, 'replaced')
  t.deepEqual(await guestsOn(crane), pids)
  await mesh.up(heron)
  await until('crane to have heard its groups', async () => (await statusOf(crane)).folder.state === 'bound')
  await until('both VMs to run where they belong', async () => {
    const vms = await vmsOf(crane)
    return (
      vms.map(({ name, host, state }) => `${name} ${host} ${state}`).join() ===
      'gone heron running,kept crane running'
    )
  })
  t.deepEqual(await guestsOn(crane), pids, 'the same process, and no other')
  must(await mesh.godwit(crane, ['vm', 'stop', 'kept']))
  must(await mesh.godwit(crane, ['vm', 'start', 'kept']))
  must(await mesh.godwit(crane, ['token', 'create']))
})

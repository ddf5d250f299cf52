/**
 * Groups with real peers: what is read and refused when most voters are gone, what is saved, recovered and restored, and who
 * is let in again after it was removed.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { GroupView, PeerView, SnapshotView, StatusView } from '../../node/views.ts'
import { Mesh, must, type Peer } from './support.ts'

const mesh = new Mesh()
test.after.always(() => mesh.close())

const groupOf = async (peer: Peer, group: string): Promise<GroupView | undefined> =>
  (await mesh.ask<GroupView[]>(peer, 'raft.list')).find((each) => each.group === group)

test.serial('a snapshot is saved, refused to another mesh, and restored on a stopped peer', async (t) => {
  const crane = await mesh.peer('crane', 'harbour')
  const stray = await mesh.peer('stray', 'harbour')
  await mesh.form(crane)
  const file = join(mesh.folder, 'mesh.snap')
  const saved = await mesh.godwit(crane, ['raft', 'snapshot', 'save', file, '-o', 'json'])
  t.is(saved.code, 0, saved.err)
  const { item } = JSON.parse(saved.out) as { item: SnapshotView }
  t.like(item, { group: 'mesh', generation: 0, voters: ['crane'], path: file })
  t.is(statSync(file).mode & 0o777, 0o600)

  const running = await mesh.godwit(crane, ['raft', 'snapshot', 'restore', file, '--yes', '-o', 'json'])
  t.like(running.error, { code: 'DATA_LOCKED' })

  must(await mesh.godwit(stray, ['init', '--site', 'harbour']))
  const foreign = await mesh.godwit(stray, ['raft', 'snapshot', 'restore', file, '--yes', '-o', 'json'])
  t.like(foreign.error, { code: 'DATA_FOREIGN', exit: 2 })
  const torn = join(mesh.folder, 'torn.snap')
  const bytes = readFileSync(file)
  bytes[bytes.length - 3] = (bytes.at(-3) ?? 0) ^ 1
  writeFileSync(torn, bytes)
  await mesh.end(crane, 'SIGTERM')
  const damaged = await mesh.godwit(crane, ['raft', 'snapshot', 'restore', torn, '--yes', '-o', 'json'])
  t.like(damaged.error, { code: 'DATA_CORRUPT' })

  const unasked = await mesh.godwit(crane, ['raft', 'snapshot', 'restore', file])
  t.is(unasked.code, 2)
  t.regex(unasked.err, /needs --yes/)
  const dry = await mesh.godwit(crane, ['raft', 'snapshot', 'restore', file, '--dry-run'])
  t.is(dry.code, 0, dry.err)
  t.regex(dry.err, /would begin with crane as its only voter/)
  must(await mesh.godwit(crane, ['raft', 'snapshot', 'restore', file, '--yes']))
  await mesh.up(crane)
  const group = await groupOf(crane, 'mesh')
  t.true((group?.generation ?? 0) > 0)
  t.like(group, { role: 'leader', voters: ['crane'] })
  t.deepEqual(
    (await mesh.ask<PeerView[]>(crane, 'peer.list')).map(({ name }) => name),
    ['crane'],
  )
  t.is((await mesh.ask<StatusView>(crane, 'status')).site, 'harbour')
})

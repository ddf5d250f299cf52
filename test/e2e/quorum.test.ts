/**
 * Groups with real peers: what is read and refused when most voters are gone, what is saved, recovered and restored, and who
 * is let in again after it was removed.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { GroupView, HealthView, PeerView, SnapshotView, StatusView } from '../../node/views.ts'
import { Mesh, must, type Peer, until } from './support.ts'

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

test.serial(
  'two of three voters are gone: reads say their age, writes are refused at once, and there is a way back',
  async (t) => {
    const [dune, ebb, fen] = [
      await mesh.peer('dune', 'shore'),
      await mesh.peer('ebb', 'shore'),
      await mesh.peer('fen', 'shore'),
    ]
    await mesh.form(dune, ebb, fen)
    const votes = (at: Peer, count: number): Promise<boolean> =>
      mesh
        .ask<GroupView[]>(at, 'raft.list')
        .then((groups) => groups.every(({ voters }) => voters.length === count))
    await until('three voters', () => votes(dune, 3), 90_000)

    const healthy = await mesh.godwit(dune, ['raft', 'health', '-o', 'json'])
    t.is(healthy.code, 0, healthy.err)
    const { items } = JSON.parse(healthy.out) as { items: HealthView[] }
    t.is(items.filter(({ kind, verdict }) => kind === 'voter' && verdict === 'well').length, 3)

    const heir = items.find(({ role }) => role !== 'leader')?.peer ?? ''
    const moved = await mesh.godwit(dune, ['raft', 'transfer', '--to', heir, '-o', 'json'])
    t.is(moved.code, 0, moved.err)
    await until('it leads', async () => (await groupOf(dune, 'mesh'))?.leader === heir)

    // One dies, one hangs: neither says goodbye.
    await mesh.kill(ebb)
    fen.process?.kill('SIGSTOP')
    await until('dune to notice', async () => (await groupOf(dune, 'mesh'))?.leader === '')
    const begunMs = performance.now()
    const refused = await mesh.try(dune, 'token.create', {})
    t.true(performance.now() - begunMs < 2_100, `refused after ${performance.now() - begunMs} ms`)
    t.like(refused, { ok: false, failure: { code: 'NO_QUORUM', group: 'mesh', missing: ['ebb', 'fen'] } })
    const typed = await mesh.godwit(dune, ['token', 'create'])
    t.is(typed.code, 4)
    t.regex(typed.err, /group mesh has no quorum.*ebb, fen\n {2}try: .*raft recover --group mesh --dry-run/)
    const read = await mesh.godwit(dune, ['peer', 'list', '-o', 'json'])
    t.is(read.code, 0)
    const { staleMs, warnings } = JSON.parse(read.out) as { staleMs: number; warnings: string[] }
    t.true(staleMs > 0)
    t.regex(warnings[0] ?? '', /3 of 3 may be wrong by now/)
    t.is((await mesh.godwit(dune, ['raft', 'health'])).code, 4)

    await mesh.end(dune, 'SIGTERM')
    for (const group of ['mesh', 'site/shore']) {
      const dry = await mesh.godwit(dune, ['raft', 'recover', '--group', group, '--dry-run'])
      t.is(dry.code, 0, dry.err)
      t.regex(dry.err, /Lost: what only .*(ebb, fen|fen, ebb) had/)
      must(await mesh.godwit(dune, ['raft', 'recover', '--group', group, '--yes']))
    }
    await mesh.up(dune)
    await mesh.ask(dune, 'token.create', {})
    const generations = async (at: Peer): Promise<number[]> =>
      (await mesh.ask<GroupView[]>(at, 'raft.list')).map(({ generation }) => generation)
    const wanted = await generations(dune)
    t.true(wanted.every((each) => each > 0))

    // They come back with logs of the older generation.
    fen.process?.kill('SIGCONT')
    await mesh.up(ebb)
    for (const each of [ebb, fen]) {
      await until(
        `${each.name} to be of the new generation`,
        async () => String(await generations(each)) === String(wanted),
        60_000,
      )
    }

    // Out by force, without a word to it; and in again.
    await mesh.kill(ebb)
    const removing = performance.now()
    const removed = await mesh.godwit(dune, ['peer', 'remove', 'ebb', '--force', '--yes', '-o', 'json'])
    t.is(removed.code, 0, removed.err)
    t.true(performance.now() - removing < 3_000)
    t.false((await mesh.ask<PeerView[]>(dune, 'peer.list')).some(({ name }) => name === 'ebb'))
    t.is(await joined(dune, ebb), 0)
    await mesh.up(ebb)
    await until('ebb to be back', async () =>
      (await mesh.ask<PeerView[]>(ebb, 'peer.list')).some(
        ({ name, state }) => name === 'dune' && state === 'alive',
      ),
    )

    // Out by itself: votes first; then its folder is no peer's until it has joined again.
    const left = await mesh.godwit(fen, ['leave', '--yes'])
    t.is(left.code, 0, left.err)
    await until('fen to end', () => fen.process?.exitCode !== null)
    const up = await mesh.godwit(fen, ['up', '-o', 'json'])
    t.like(up.error, { code: 'DATA_LEFT', exit: 2 })
    t.is(await joined(dune, fen), 0)
    await mesh.up(fen)
  },
)

async function joined(issuer: Peer, peer: Peer): Promise<number> {
  const { token } = await mesh.ask<{ token: string }>(issuer, 'token.create', { expiryMs: 60_000 })
  return (await mesh.godwit(peer, ['join', '--site', peer.site], { input: token })).code
}

/** A record of a group's log is damaged on disk: the peer comes back all the same, says what happened, and no guest runs twice. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { openFolder } from '../../node/data-folder.ts'
import type { GroupView, StatusView, VmView } from '../../node/views.ts'
import { counted, createGuest, guestsOn, importGuest, newest, printed } from './guests.ts'
import { Mesh, must, type Peer, until } from './support.ts'

const mesh = new Mesh()
let crane: Peer

test.before(async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg' })
  await mesh.form(crane)
  await importGuest(mesh, crane, 'guest')
})
test.after.always(() => mesh.close())

type Pair = readonly [key: string, value: Uint8Array]

/** Opens the store of a peer that is down; writes what `meddle` says, if it says anything. */
async function inStore(
  peer: Peer,
  meddle: (all: (prefix: string) => readonly Pair[]) => Pair[],
): Promise<void> {
  const opened = await openFolder(peer.folder)
  if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
  const { store } = opened.value
  const ops = meddle((prefix) => store.recovered(prefix)).map(
    ([key, value]) => ({ kind: 'put', key, value }) as const,
  )
  await new Promise((resolve) => store.write(ops, true, resolve))
  await store.close()
}

/** The copies of states that a peer which has stopped in order has just made. */
async function copiesOf(peer: Peer): Promise<Pair[]> {
  let copies: Pair[] = []
  await inStore(peer, (all) => {
    copies = all('raft/copy/').map(([key, value]) => [key, Uint8Array.from(value)])
    return []
  })
  return copies
}

/** Turns a bit in the newest record under `prefix` that holds `text`; with `copies` of before, as if none had come since. */
async function damage(peer: Peer, prefix: string, text = '', copies: readonly Pair[] = []): Promise<void> {
  await inStore(peer, (all) => {
    const found = all(prefix).findLast(([, bytes]) => Buffer.from(bytes).includes(text))
    if (found === undefined) throw new Error(`${prefix} has no record with ${text}`)
    const [key, bytes] = found
    const value = Uint8Array.from(bytes)
    const last = value.length - 1
    value[last] = (value[last] ?? 0) ^ 4
    return [[key, value], ...copies]
  })
}

const groupOf = async (peer: Peer, name: string): Promise<GroupView> => {
  const { groups } = await mesh.ask<StatusView>(peer, 'status')
  const group = groups.find((each) => each.group === name)
  if (group === undefined) throw new Error(`${peer.name} has no group ${name}`)
  return group
}

const logOf = (peer: Peer): string => readFileSync(peer.config.replace(/yaml$/, 'log'), 'utf8')

test.serial('the log of a group of one is rebuilt, and its guest is the same process', async (t) => {
  const vm = await createGuest(mesh, crane, 'early', 'guest')
  const pids = await guestsOn(crane)
  await mesh.end(crane, 'SIGTERM')
  await damage(crane, 'raft/state/site/harbour')
  await mesh.up(crane)
  const { damaged, role } = await groupOf(crane, 'site/harbour')
  t.is(role, 'leader')
  t.regex(
    damaged,
    /^rebuilt at this start: the checksum of raft\/state\/site\/harbour does not match; nothing is lost$/,
  )
  t.regex(logOf(crane), /the log of group site\/harbour is rebuilt/)
  t.deepEqual(await guestsOn(crane), pids)
  await counted(crane, vm.id, newest(crane, vm.id) + 2)
  t.is((await mesh.ask<VmView[]>(crane, 'vm.list')).find(({ id }) => id === vm.id)?.state, 'running')
  const shown = must(await mesh.godwit(crane, ['status']))
  t.regex(shown.out, /site\/harbour: rebuilt at this start/)
})

test.serial('what the log has lost of a VM its grant says, and no guest runs twice', async (t) => {
  await mesh.end(crane, 'SIGTERM')
  const copies = await copiesOf(crane)
  await mesh.up(crane)
  const vm = await createGuest(mesh, crane, 'late', 'guest')
  const pids = await guestsOn(crane)
  await mesh.kill(crane)
  await damage(crane, 'raft/entry/site/harbour/', 'late', copies)
  await mesh.up(crane)
  t.regex(
    (await groupOf(crane, 'site/harbour')).damaged,
    /^rebuilt at this start: .*grants say was put in their place$/,
  )
  const all = await mesh.ask<VmView[]>(crane, 'vm.list')
  t.deepEqual(all.map(({ name, state }) => `${name} ${state}`).toSorted(), ['early running', 'late running'])
  t.deepEqual(await guestsOn(crane), pids)
  await counted(crane, vm.id, newest(crane, vm.id) + 2)
  const counts = printed(crane, vm.id).map(({ count }) => count)
  t.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
    'it was started anew',
  )
  must(await mesh.godwit(crane, ['vm', 'stop', 'late']))
  await until('late to be stopped', async () => (await guestsOn(crane)).length === pids.length - 1)
  // The next life finds a sound log, and says what happened before.
  await mesh.end(crane, 'SIGTERM')
  await mesh.up(crane)
  t.regex((await groupOf(crane, 'site/harbour')).damaged, /^put aside at 2/)
  t.is((await mesh.ask<VmView[]>(crane, 'vm.list')).find(({ name }) => name === 'late')?.state, 'stopped')
})

test.serial('the log of a group with others comes back empty, and is filled by them', async (t) => {
  const heron = await mesh.peer('heron', 'hill')
  const { token } = await mesh.ask<{ token: string }>(crane, 'token.create', { expiryMs: 600_000 })
  must(await mesh.godwit(heron, ['join', '--site', 'hill'], { input: token }))
  await mesh.up(heron)
  const follows = async (): Promise<boolean> =>
    (await groupOf(heron, 'mesh')).applied >= (await groupOf(crane, 'mesh')).commit
  await until('heron to have the mesh log', follows)
  await mesh.end(heron, 'SIGTERM')
  await damage(heron, 'raft/entry/mesh/')
  await mesh.up(heron)
  const { damaged, role } = await groupOf(heron, 'mesh')
  t.regex(damaged, /^quarantined at this start: .*it comes back empty, and is filled by the others;/)
  t.not(role, 'leader')
  await until('heron to have the mesh log again', follows)
  must(await mesh.godwit(heron, ['token', 'create']))
})

test.serial(
  'a group that one peer decided, with entries lost that others know of, waits for an operator',
  async (t) => {
    const heron = mesh.peers.find(({ name }) => name === 'heron') as Peer
    await until('heron to be a learner', async () => (await groupOf(crane, 'mesh')).learners.length === 1)
    const made = await mesh.ask<{ id: string }>(crane, 'token.create')
    await mesh.kill(crane)
    await damage(crane, 'raft/entry/mesh/', made.id)
    await mesh.up(crane)
    t.regex((await groupOf(crane, 'mesh')).damaged, /decided alone.*: godwit raft recover --group mesh$/)
    const refused = await mesh.godwit(crane, ['token', 'create', '-o', 'json'])
    t.is(refused.code, 4, refused.err)
    t.is(refused.error?.code, 'NO_LEADER')
    // Its VMs are not the mesh's concern.
    t.is((await mesh.ask<VmView[]>(crane, 'vm.list')).find(({ name }) => name === 'early')?.state, 'running')

    await mesh.end(crane, 'SIGTERM')
    must(await mesh.godwit(crane, ['raft', 'recover', '--group', 'mesh', '--yes']))
    await mesh.up(crane)
    await until('the mesh to be led', async () => (await groupOf(crane, 'mesh')).role === 'leader')
    const { peers } = await mesh.ask<StatusView>(crane, 'status')
    t.is(peers, 2, 'what was agreed before is lost')
    const after = await mesh.ask<{ id: string }>(crane, 'token.create')
    t.truthy(after.id)
    await until('heron to follow the new generation', async () => {
      const { damaged, applied } = await groupOf(heron, 'mesh')
      return /began generation/.test(damaged) && applied >= (await groupOf(crane, 'mesh')).commit
    })
  },
)

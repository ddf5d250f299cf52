/** What the commands on groups and on peers that go ask of the peer, and when they ask the person first. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Failure } from '../../../protocols/errors.ts'
import { runCli } from '../../../node/cli/program.ts'
import { fakeIo, health, refusing, type Replies, served, stoppedVm } from './support.ts'

async function type(t: ExecutionContext, argv: string[], replies: Replies = {}, io = fakeIo()) {
  const { end, peer, socket } = await served(replies)
  t.teardown(end)
  const exit = await runCli([...argv, '--socket', socket], io)
  return { exit, out: io.stdout, err: io.stderr, asked: peer.asked }
}

const silent = [health[0], { ...health[1], verdict: 'silent' as const }]

test('raft health without a quorum shows what it can, says who is missing, and ends with 4', async (t) => {
  const said = await type(t, ['raft', 'health'], { 'raft.health': silent })
  t.is(said.exit, 4)
  t.regex(said.out, /^PEER .*\ncrane .*\nheron .* silent /)
  t.regex(
    said.err,
    /group mesh has no quorum; of its 2 voters out of sight: heron\n {2}try: .*raft recover --group mesh --dry-run/,
  )
})

test('for programs that is one line on stderr', async (t) => {
  const said = await type(t, ['raft', 'health', '--group', 'mesh', '-o', 'json'], { 'raft.health': silent })
  t.is(said.exit, 4)
  t.is(said.out, '')
  t.like(JSON.parse(said.err), { kind: 'error', code: 'NO_QUORUM', exit: 4, details: { missing: ['heron'] } })
})

test('a joint configuration needs both majorities, and learners none', async (t) => {
  const [well, other] = health
  const gone = { ...other, verdict: 'unreachable' as const }
  const rows: [members: unknown[], exit: number][] = [
    [[well, { ...gone, kind: 'learner' }], 0],
    [[well, { ...gone, kind: 'outgoing' }], 4],
    [[well, well, gone], 0],
    [[well, gone, gone], 4],
  ]
  for (const [members, exit] of rows) {
    t.is((await type(t, ['raft', 'health'], { 'raft.health': members })).exit, exit)
  }
})

const asks: [argv: string[], method: string, params: object][] = [
  [['raft', 'health'], 'raft.health', { group: 'mesh' }],
  [['raft', 'health', '--group', 'site/hill'], 'raft.health', { group: 'site/hill' }],
  [
    ['raft', 'transfer', '--group', 'site', '--to', 'heron', '--dry-run'],
    'raft.transfer',
    { group: 'site', to: 'heron', dryRun: true },
  ],
  [
    ['raft', 'snapshot', 'save', 'a.snap'],
    'raft.snapshot.save',
    { group: 'mesh', path: join(tmpdir(), 'a.snap') },
  ],
  [['peer', 'drain', 'heron'], 'peer.drain', { name: 'heron', undo: false, dryRun: false }],
  [['peer', 'drain', 'self', '--undo'], 'peer.drain', { name: 'self', undo: true, dryRun: false }],
  [['peer', 'remove', 'heron', '--dry-run'], 'peer.remove', { name: 'heron', force: false, dryRun: true }],
  [['peer', 'rm', 'heron', '--force', '-y'], 'peer.remove', { name: 'heron', force: true, dryRun: false }],
  [['leave', '--yes'], 'peer.remove', { name: 'self', force: false, dryRun: false }],
]
for (const [argv, method, params] of asks) {
  test(`godwit ${argv.join(' ')} asks ${method}`, async (t) => {
    const { asked, exit, err } = await type(t, argv)
    t.is(exit, 0, err)
    t.deepEqual(asked, [{ method, params } as never])
  })
}

for (const argv of [['peer', 'remove', 'heron'], ['leave']]) {
  test(`godwit ${argv.join(' ')} needs --yes where nobody can be asked`, async (t) => {
    const said = await type(t, argv)
    t.is(said.exit, 2)
    t.regex(said.err, /needs --yes where nobody can be asked/)
    t.deepEqual(said.asked, [])
  })

  test(`godwit ${argv.join(' ')} asks on a terminal, and takes no for an answer`, async (t) => {
    const said = await type(t, argv, {}, fakeIo({ stdinTty: true, stderrTty: true, stdin: 'n' }))
    t.is(said.exit, 1)
    t.deepEqual(said.asked, [])
  })
}

test('a peer that has VMs is told with the way to move them, and the way to leave them', async (t) => {
  const failure: Failure = { code: 'PEER_IN_USE', peer: 'heron', vms: ['db', 'web'] }
  const said = await type(t, ['peer', 'remove', 'heron', '--yes'], { 'peer.remove': refusing(failure) })
  t.is(said.exit, 4)
  t.regex(
    said.err,
    /heron still has VMs: db, web\n {2}try: godwit vm move VM --to PEER, or godwit peer remove heron --force/,
  )
})

test('orphans are named, and the way back', async (t) => {
  const said = await type(t, ['peer', 'remove', 'heron', '--force', '--yes'])
  t.regex(said.err, /warning: these VMs stay on heron, and nowhere else: web, db/)
  t.regex(said.err, /godwit token create, then godwit join on heron/)
})

test('draining says that VMs stay', async (t) => {
  t.regex(
    (await type(t, ['peer', 'drain', 'crane'])).err,
    /crane still has 1 VM; moving them is not part of draining yet/,
  )
})

test('raft transfer wants to know to whom', async (t) => {
  const said = await type(t, ['raft', 'transfer'])
  t.is(said.exit, 2)
  t.regex(said.err, /--to is missing/)
})

test('a group without a leader is marked, with its age, and warned of', async (t) => {
  const lost = { ...stoppedVm, ageMs: 12_400, stale: true, name: 'lost' }
  const said = await type(t, ['vm', 'list', '-o', 'json'], { 'vm.list': [lost] })
  t.is(said.exit, 0)
  t.like(JSON.parse(said.out), { staleMs: 12_400, warnings: ['1 of 1 may be wrong by now: as of 13 s ago'] })
  t.is(said.err, 'warning: 1 of 1 may be wrong by now: as of 13 s ago\n')
})

test('offline commands refuse a folder that is of no mesh, and do nothing to it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-offline-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const io = fakeIo()
  t.is(await runCli(['raft', 'recover', '--data-dir', folder, '--yes', '-o', 'json'], io), 2)
  t.like(JSON.parse(io.stderr), { code: 'DATA_MISSING' })
})

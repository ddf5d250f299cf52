import test from 'ava'
import { runCli } from '../../../node/cli/program.ts'
import { errorEnvelope } from '../../../node/control/envelope.ts'
import { failureOfJob } from '../../../node/cli/failures.ts'
import { exitOf, type Failure, RULES } from '../../../protocols/errors.ts'
import { fakeIo, jobView, refusing, served, type } from './support.ts'

const peer = await served()
test.after.always(() => peer.end())

test('exit statuses are those of the failures', async (t) => {
  const failures: [failure: Failure, exit: number][] = [
    [{ code: 'HYPERVISOR', vm: 'web', why: 'no room' }, 1],
    [{ code: 'USAGE', why: 'no' }, 2],
    [{ code: 'TOKEN_REFUSED', why: 'used' }, 3],
    [{ code: 'NO_LEADER', group: 'mesh', afterMs: 2_000 }, 4],
    [{ code: 'TIMEOUT', what: 'it', afterMs: 1 }, 5],
    [{ code: 'NOT_FOUND', what: 'vm', name: 'web' }, 8],
  ]
  for (const [failure, exit] of failures) {
    const failing = await served({ 'vm.start': refusing(failure) })
    const said = await type(failing, ['vm', 'start', 'web'])
    t.is(said.exit, exit)
    t.is(exitOf(failure), exit)
    t.regex(said.stderr, /^godwit: crane: /)
    t.is(said.stdout, '')
    await failing.end()
  }
})

test('a failure that this version has not heard of is told by its code', async (t) => {
  const failing = await served({ 'vm.start': refusing({ code: 'FROM_THE_FUTURE' } as unknown as Failure) })
  const said = await type(failing, ['vm', 'start', 'web'])
  t.is(said.exit, 1)
  t.regex(said.stderr, /FROM_THE_FUTURE/)
  await failing.end()
})

test('nobody on the socket is 6, with what to do', async (t) => {
  const io = fakeIo()
  t.is(await runCli(['status', '--socket', '/nonexistent/s'], io), 6)
  t.is(io.stderr, 'godwit: no peer answers on /nonexistent/s\n  try: godwit up\n')
})

// What is said, and what to type next, of failures that an operator of groups meets.
const told: [failure: Failure, said: string][] = [
  [{ code: 'NOT_FOUND', what: 'group', name: 'x' }, 'no group named x; godwit raft list'],
  [
    { code: 'NOT_VOTER', group: 'mesh', peer: 'heron', choices: ['crane', 'stork'] },
    'heron has no vote in group mesh: its voters are crane, stork; godwit raft transfer --group mesh --to crane',
  ],
  [
    { code: 'VOTES_HELD', peer: 'heron', groups: ['mesh'], why: 'heron is out of sight' },
    'heron still votes in mesh: heron is out of sight; godwit raft health; if it never comes back: godwit peer remove heron --force',
  ],
  [{ code: 'TIMEOUT', what: 'the request', afterMs: 898.801_8 }, 'the request did not end in 899 ms; '],
  [
    { code: 'RATE_LIMITED', what: 'join tokens', retryAfterMs: 86_400_000 },
    'too many join tokens; again in 24 h; godwit token revoke, for those that nobody needs',
  ],
  [
    { code: 'NO_LEADER', group: 'mesh', afterMs: 12_345 },
    'group mesh has no leader in sight for 12.3 s; godwit raft list',
  ],
]

test('failures are told in words, with a next step that exists', (t) => {
  for (const [failure, said] of told) {
    const { message, next } = errorEnvelope(failure, '')
    t.is(`${message}; ${next}`, said)
  }
})

test('no answer in time is 5', async (t) => {
  const silent = await served({ status: () => undefined })
  const said = await type(silent, ['status', '--timeout', '20ms'])
  t.is(said.exit, 5)
  t.regex(said.stderr, /status did not end in 20 ms/)
  await silent.end()
})

// One row per slip: what was typed, and what is said of it; always exit status 2 and nothing on stdout.
const slips: [argv: string[], said: RegExp][] = [
  [['vm', 'lst'], /no command lst; did you mean list\? \(list, show, create, /],
  [['vm', 'mvoe', 'web'], /did you mean move\?/],
  [['vm', 'remove'], /godwit vm has no command remove \(list, show/],
  [['vms'], /did you mean vm\?/],
  [['frobnicate'], /godwit has no command frobnicate \(init, join, up, /],
  [[], /which of init, join, up/],
  [['vm'], /which of list, show, create/],
  [['vm', 'list', '--fliter', 'a=b'], /unknown option --fliter; did you mean --filter\? \(--columns, /],
  [['vm', 'show'], /missing required argument 'vm'/],
  [['vm', 'show', 'a', 'b'], /too many arguments/],
  [['vm', 'move', 'web'], /--to is missing/],
  [['vm', 'move', 'web', '--to', 'hill', '--mode', 'fast'], /Allowed choices are auto, cold/],
  [['vm', 'delete', 'web'], /needs --yes where nobody can be asked/],
  [['vm', 'logs', 'web', '-n', 'all'], /--lines all: write a number/],
  [['vm', 'create'], /a VM needs a name, or -f FILE/],
  [['vm', 'create', 'web'], /--image is missing/],
  [['vm', 'create', 'web', '--image', 'x', '--nic', 'tap'], /--nic tap: write user or bridge=NAME/],
  [
    ['vm', 'create', 'web', '--image', 'x', '--memory', '2 lots'],
    /spec\.memoryMiB: a size is a number of MiB/,
  ],
  [['completion', 'tcsh'], /no completion for tcsh; there is bash, zsh, fish/],
  [['init'], /--site is missing/],
  [['init', '--site', 'Not A Label'], /a name is up to 63 of a-z/],
  [['token', 'create', '--expiry', 'never'], /--expiry never: write a duration/],
  [['config', 'validate', '/nonexistent.yaml'], /nonexistent\.yaml: no such file/],
  [['status', '--config', '/nonexistent.yaml', '--driver', 'x'], /unknown option --driver/],
]
for (const [argv, said] of slips) {
  test(`godwit ${argv.join(' ') || '(nothing)'}`, async (t) => {
    const io = await type(peer, argv)
    t.is(io.exit, 2)
    t.regex(io.stderr, said)
    t.is(io.stdout, '')
  })
}

test('a token on the command line is refused, and not repeated', async (t) => {
  for (const argv of [
    ['join', '--site', 'hill', '--token=gdw1-SECRET'],
    ['join', '--site', 'hill', '--token', 'gdw1-SECRET'],
    ['join', '--site', 'hill', 'gdw1-SECRET'],
    ['join', '--site', 'hill', '--tokn=gdw1-SECRET'],
  ]) {
    const io = fakeIo()
    t.is(await runCli(argv, io), 2)
    t.notRegex(io.stderr + io.stdout, /SECRET/)
  }
})

test('join without a token says where it may stand', async (t) => {
  const io = fakeIo({ stdin: '\n' })
  t.is(await runCli(['join', '--site', 'hill', '--data-dir', '/nonexistent/x'], io), 2)
  t.regex(io.stderr, /on standard input, in --token-file or in GODWIT_TOKEN/)
})

test('deleting asks on a terminal', async (t) => {
  const terminal = { stdinTty: true, stdoutTty: true, stderrTty: true }
  const no = await type(peer, ['vm', 'delete', 'web'], fakeIo({ ...terminal, stdin: 'n' }))
  t.is(no.exit, 1)
  t.regex(no.stderr, /Delete VM web and its disks\? \[y\/N\] nothing is deleted/)
  t.false(peer.peer.asked.some(({ method }) => method === 'vm.delete'))
  const yes = await type(peer, ['vm', 'delete', 'web'], fakeIo({ ...terminal, stdin: 'y' }))
  t.is(yes.exit, 0)
  t.deepEqual(peer.peer.asked.at(-1), { method: 'vm.delete', params: { name: 'web' } })
  t.is((await type(peer, ['vm', 'rm', 'web', '--dry-run'])).exit, 0)
  t.is(peer.peer.asked.at(-1)?.method, 'vm.show')
})

test('another version of the peer is warned of, once', async (t) => {
  const { serveControl } = await import('../../../node/control/server.ts')
  const { silentLog } = await import('../../../node/log.ts')
  const socket = `${peer.dir}/old.sock`
  const old = await serveControl({ socket, peer: peer.peer, name: 'crane', version: '0.0.9', log: silentLog })
  const io = fakeIo()
  t.is(await runCli(['status', '--socket', socket], io), 0)
  t.regex(io.stderr, /^warning: the peer runs godwit 0\.0\.9, this is \d/)
  await old.close()
})

// Of a job that failed only the code and the text come; a text that was made again of a field that is not there was a crash.
test('a job that failed is told of, whatever its code', (t) => {
  for (const [code, { exit }] of Object.entries(RULES)) {
    const { envelope } = failureOfJob({ ...jobView, state: 'failed', code, error: 'what it was' })
    t.like(envelope, { code, exit, message: 'what it was' })
  }
  const { envelope } = failureOfJob({
    ...jobView,
    state: 'failed',
    code: 'OF_TOMORROW',
    error: 'what it was',
  })
  t.is(envelope.exit, 1)
})

import test from 'ava'
import { COMMANDS } from '../../../node/cli/commands.ts'
import { KINDS } from '../../../node/control/envelope.ts'
import { OPERATIONS } from '../../../node/operations.ts'
import { fakeIo, groupView, refusing, served, statusView, type, vmView } from './support.ts'

// eslint-disable-next-line no-control-regex
const ANSI = /\u001b/
const peer = await served()
test.after.always(() => peer.end())

test('tables look like this', async (t) => {
  const rows: [argv: string[], stdout: string][] = [
    [
      ['vm', 'list'],
      'NAME   SITE      HOST    STATE            WANTED    CPUS    MEMORY   AGE       WHY\n' +
        'web    harbour   crane   running          running      2     2 GiB   now\n' +
        'db     harbour   crane   failed (stale)   running      2   512 MiB   61s ago   QEMU ended: no room\n',
    ],
    [
      ['peer', 'ls', '-c', 'name,state,rtt,age'],
      'NAME     STATE             RTT   AGE\ncrane*   alive          0.0 ms   now\nheron    unreachable   41.3 ms   1m ago\n',
    ],
    [['site', 'list', '-o', 'table,noheader'], 'harbour*   2 of 2   1 of 2   2 GiB   46.9 GiB   now\n'],
    [
      ['raft', 'list'],
      'GROUP   ROLE     TERM   LEADER   VOTERS   LEARNERS   COMMIT   APPLIED   LAG   AGE\n' +
        'mesh    leader      3   crane    crane    heron          42        42     0   now\n',
    ],
    [
      ['raft', 'health'],
      'PEER    KIND    ROLE       VERDICT   MATCH   LAG   CONTACT       RTT   AGE\n' +
        'crane   voter   leader     well         42     0       now    0.0 ms   now\n' +
        'heron   voter   follower   behind       30    12    3s ago   41.3 ms   now\n',
    ],
    [['raft', 'health', '-o', 'name'], 'crane\nheron\n'],
    [['raft', 'transfer', '--to', 'heron'], 'group:  mesh\nfrom:   crane\nto:     heron\nterm:   4\n'],
    [['raft', 'snapshot', 'save', '/tmp/x.snap', '-o', 'name'], '/tmp/x.snap\n'],
    [
      ['peer', 'remove', 'heron', '--yes'],
      'peer:        heron\norphans:     web,db\nleaderless:  -\nid:          12D3KooWHill1\n',
    ],
    [['leave', '--dry-run', '-o', 'name'], 'heron\n'],
    [['peer', 'drain', 'self', '-o', 'name'], 'harbour/crane\n'],
    [
      ['raft', 'list', '-o', 'csv', '-c', 'group,generation,missing'],
      'group,generation,missing\r\nmesh,0,\r\n',
    ],
    [
      ['job', 'list'],
      'ID                           KIND   SUBJECT   PEER    STATE     PHASE     DONE     WIRE   STARTED   ERROR\n' +
        '01JD000000000000000000JOB1   move   web       crane   running   pulling     0%   31 MiB   now\n',
    ],
    [
      ['token', 'list'],
      'ID                           SITE   STATE   EXPIRES   USED BY   AGE\n01JD0000000000000000TOKEN1   hill   open    in 3h               now\n',
    ],
    [
      ['image', 'show', 'debian-12'],
      'name:       debian-12\nid:         abababababab\nsize:       4 GiB\ndata:       900 MiB\nhere:       all\nheld:       300 MiB\npinned:     yes\nused by:    web,db\nage:        now\nchunks:     3600\nmissing:    0\nsite:       harbour\nkept for:   vm web,pin\npublished:  -\n',
    ],
    [['vm', 'plan'], 'VM   OPERATION   WHY\ndb   start       wanted running, is stopped\n'],
    [['vm', 'logs', 'web'], 'boot\ntick 1\n'],
    [['vm', 'list', '-o', 'name'], 'harbour/web\nharbour/db\n'],
    [
      ['vm', 'list', '-o', 'csv', '-c', 'name,memory,why'],
      'name,memory,why\r\nweb,2147483648,\r\ndb,536870912,QEMU ended: no room\r\n',
    ],
    [['vm', 'list', '-o', 'csv,noheader', '-c', 'cpus'], '2\r\n2\r\n'],
  ]
  for (const [argv, stdout] of rows) {
    const said = await type(peer, argv)
    t.is(said.exit, 0, said.stderr)
    t.is(said.stdout, stdout)
  }
})

test('JSON is one envelope, whatever is asked', async (t) => {
  const reads = COMMANDS.filter((command) => 'method' in command)
  t.true(reads.length >= 12)
  for (const command of reads) {
    if (!('method' in command)) continue
    const argv = [...command.name.split(' '), ...(command.arguments ?? []).map(() => 'web'), '-o', 'json']
    const said = await type(peer, argv)
    t.is(said.exit, 0, said.stderr)
    const { asOf, item, items, kind, schema, staleMs, warnings } = JSON.parse(said.stdout)
    t.is(schema, 1)
    t.is(kind, KINDS[command.method])
    t.regex(asOf, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    t.true(staleMs >= 0 && Array.isArray(warnings))
    t.notThrows(() => OPERATIONS[command.method].answer.parse(items ?? item), command.name)
  }
})

test('--json is -o json, and names its schema', async (t) => {
  for (const flag of ['--json', '--json=1', '--output=json']) {
    t.is((JSON.parse((await type(peer, ['vm', 'list', flag])).stdout) as { kind: string }).kind, 'vm')
  }
  const said = await type(peer, ['vm', 'list', '--json=2'])
  t.is(said.exit, 2)
  t.like(JSON.parse(said.stderr), { code: 'USAGE', message: 'no JSON schema 2; there is 1' })
})

test('jsonl is a line for each, yaml the envelope', async (t) => {
  const lines = (await type(peer, ['vm', 'list', '-o', 'jsonl'])).stdout.trimEnd().split('\n')
  t.deepEqual(JSON.parse(lines[0] ?? ''), vmView)
  t.is(lines.length, 2)
  const yaml = (await type(peer, ['vm', 'show', 'web', '-o', 'yaml'])).stdout
  t.regex(yaml, /^schema: 1\nkind: vm-detail\nitem:\n  vm:\n    id: /)
})

test('lists are filtered, sorted and cut into pages', async (t) => {
  const names = async (...argv: string[]): Promise<string> =>
    (await type(peer, ['vm', 'list', '-o', 'csv,noheader', '-c', 'name', ...argv])).stdout
      .replaceAll('\r\n', ' ')
      .trim()
  const rows: [argv: string[], names: string][] = [
    [['--filter', 'state=running'], 'web'],
    [['--filter', 'state!=running'], 'db'],
    [['--filter', 'state=running,failed', '--filter', 'cpus=2'], 'web db'],
    [['--filter', 'hostId=12D3KooWHarbour1'], 'web db'],
    [['--sort-by', 'memory'], 'db web'],
    [['--sort-by', '-memory'], 'web db'],
    [['--sort-by', 'name'], 'db web'],
    [['--sort-by', 'cpu-seconds'], 'web db'],
    [['--sort-by', '-cpu-seconds'], 'web db'],
    [['--limit', '1'], 'web'],
  ]
  for (const [argv, wanted] of rows) t.is(await names(...argv), wanted, argv.join(' '))

  const first = await type(peer, ['vm', 'list', '--limit', '1', '-o', 'json'])
  const { nextPageToken } = JSON.parse(first.stdout) as { nextPageToken: string }
  t.is(await names('--page-token', nextPageToken), 'db')
  t.regex(first.stderr, /there is more/)
})

test('labels choose, and images carry none to choose by', async (t) => {
  t.regex((await type(peer, ['vm', 'list', '-l', 'disk=ssd'])).stdout, /^(?!.*web)/s)
  const said = await type(peer, ['image', 'list', '-l', 'disk=ssd'])
  t.is(said.exit, 2)
  t.regex(said.stderr, /choosing these by label is not provided yet/)
})

test('what cannot be chosen by is refused with the choices', async (t) => {
  const rows: [argv: string[], said: RegExp][] = [
    [['--filter', 'colour=red'], /no column or field colour; there are name, site, host/],
    [['--filter', 'state'], /--filter state: write key=value/],
    [['--sort-by', 'colour'], /no column or field colour/],
    [['-c', 'name,colour'], /no column colour; there are name/],
    [['--limit', '0'], /--limit 0: write a number from 1 on/],
    [['--page-token', 'x'], /--page-token: what it stood for is gone/],
    [['-o', 'xml'], /-o xml: there are table, wide, json, jsonl, yaml, csv, name/],
    [['--timeout', 'soon'], /--timeout soon: write a duration/],
    [['--label', 'ssd'], /--label ssd: write label=value/],
  ]
  for (const [argv, wanted] of rows) {
    const said = await type(peer, ['vm', 'list', ...argv])
    t.is(said.exit, 2)
    t.regex(said.stderr, wanted)
    t.is(said.stdout, '')
  }
})

test('off a terminal nothing is ANSI; on one, NO_COLOR and --no-color keep it so', async (t) => {
  for (const { name, arguments: words = [] } of COMMANDS) {
    if (
      ['up', 'join', 'init', 'completion', 'vm move', 'job watch'].includes(name) ||
      name.startsWith('image')
    )
      continue
    const said = await type(peer, [...name.split(' '), ...words.map(() => 'web')])
    t.notRegex(said.stdout + said.stderr, ANSI, name)
  }
  const terminal = { stdoutTty: true, stderrTty: true }
  t.regex((await type(peer, ['vm', 'list'], fakeIo(terminal))).stdout, ANSI)
  t.notRegex((await type(peer, ['vm', 'list', '--no-color'], fakeIo(terminal))).stdout, ANSI)
  const env = { HOME: '/', NO_COLOR: '1' }
  t.notRegex((await type(peer, ['vm', 'list'], fakeIo({ ...terminal, env }))).stdout, ANSI)
})

test('what a guest or another peer writes does not reach the terminal as it is', async (t) => {
  const io = fakeIo({ stdoutTty: true })
  t.notRegex((await type(peer, ['vm', 'logs', 'web'], io)).stdout, ANSI)
  t.notRegex((await type(peer, ['vm', 'list', '-o', 'csv'], fakeIo({ stdoutTty: true }))).stdout, ANSI)
  t.is(
    (
      JSON.parse((await type(peer, ['vm', 'logs', 'web', '-o', 'json'])).stdout) as {
        item: { lines: string[] }
      }
    ).item.lines[0],
    '\u001b[2Jboot',
  )
})

test('stale values are marked and warned of, unless --quiet', async (t) => {
  const said = await type(peer, ['vm', 'list'])
  t.regex(said.stdout, /failed \(stale\)/)
  t.is(said.stderr, 'warning: 1 of 2 may be wrong by now: as of 61 s ago\n')
  t.is((await type(peer, ['vm', 'list', '-q'])).stderr, '')
})

test('status says who is missed, and whose disk does not take the log', async (t) => {
  const group = { ...groupView, leader: '', missing: ['heron', 'stork'], ageMs: 44_000 }
  const unwritable = 'no room left on the disk of /srv'
  const troubled = await served({
    status: { ...statusView, groups: [group, { ...groupView, group: 'site/hill', unwritable }] },
  })
  t.regex(
    (await type(troubled, ['status'])).stdout,
    /mesh \S+, led by nobody for 44s, out of sight: heron stork; site\/hill \S+, led by \S+, CANNOT WRITE: no room left on the disk of \/srv\n/,
  )
  await troubled.end()
})

test('a token is alone on stdout', async (t) => {
  const said = await type(peer, ['token', 'create', '--site', 'hill', '--expiry', '10m'])
  t.is(said.stdout, 'gdw1-SECRET\n')
  t.notRegex(said.stderr, /SECRET/)
  t.deepEqual(peer.peer.asked.at(-1), { method: 'token.create', params: { site: 'hill', expiryMs: 600_000 } })
})

test('a failure with -o json is one line on stderr and nothing on stdout', async (t) => {
  const failing = await served({ 'vm.start': refusing({ code: 'NOT_FOUND', what: 'vm', name: 'web' }) })
  const said = await type(failing, ['vm', 'start', 'web', '-o', 'json'])
  t.is(said.exit, 8)
  t.is(said.stdout, '')
  t.deepEqual(JSON.parse(said.stderr), {
    schema: 1,
    kind: 'error',
    code: 'NOT_FOUND',
    exit: 8,
    message: 'no vm named web',
    peer: 'crane',
    next: 'godwit vm list',
    details: { what: 'vm', name: 'web' },
  })
  t.is(said.stderr.trimEnd().split('\n').length, 1)
  await failing.end()
})

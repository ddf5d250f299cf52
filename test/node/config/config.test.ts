import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { labelOf, type Machine, readConfig } from '../../../node/config.ts'
import type { Flags } from '../../../node/config-keys.ts'
import { describeFailure, exitOf } from '../../../protocols/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'godwit-config-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

const machine: Machine = {
  root: true,
  hostname: 'Crane-7.harbour.example',
  cpus: 4,
  memoryMiB: 8_000,
  cwd: '/srv',
  diskGiB: () => 100,
}
let files = 0
const file = (text: string): string => {
  const path = join(folder, `${++files}.yaml`)
  writeFileSync(path, text)
  return path
}

const read = (flags: Flags, env: Record<string, string> = {}, on: Partial<Machine> = {}) =>
  readConfig(flags, { HOME: '/home/ana', ...env }, { ...machine, ...on })

test('defaults work', async (t) => {
  // An empty file of our own keeps a real /etc/godwit/config.yaml out of the test.
  const outcome = await read({ config: file('') })
  t.true(outcome.ok)
  if (!outcome.ok) return
  t.deepEqual(outcome.value.config, {
    dataDir: '/var/lib/godwit',
    markDir: '/var/lib/godwit-marks',
    socket: '/var/lib/godwit/control.sock',
    name: 'crane-7',
    listen: ['/ip4/0.0.0.0/tcp/4710'],
    announce: [],
    joinListen: ['/ip4/0.0.0.0/tcp/4711'],
    bulkListen: ['/ip4/0.0.0.0/tcp/4712'],
    mdns: true,
    raft: { vote: true, uplink: '' },
    torrent: { listen: 'off' },
    transfer: { limits: [], timeZone: '' },
    http: { listen: '127.0.0.1:4780' },
    capacity: { cpus: 4, memoryMiB: 8_000, diskGiB: 100 },
    store: { quota: '80%', keyFiles: [], level: 3 },
    labels: {},
    driver: 'auto',
    log: { level: 'info' },
  })
  t.true(Object.values(outcome.value.origins).every((origin) => origin === 'default'))
})

test('without root, folders are the user’s', async (t) => {
  const outcome = await read({ config: file('') }, {}, { root: false })
  t.is(outcome.ok && outcome.value.config.dataDir, '/home/ana/.local/share/godwit')
  t.is(outcome.ok && outcome.value.config.markDir, '/home/ana/.local/state/godwit/marks')
  const xdg = await read({ config: file('') }, { XDG_DATA_HOME: '/data' }, { root: false })
  t.is(xdg.ok && xdg.value.config.dataDir, '/data/godwit')
})

test('a flag wins over a variable, a variable over the file, the file over the default', async (t) => {
  const config = file(
    'name: from-file\ndriver: tcg\nlabels: {disk: ssd}\nhttp: {listen: 127.0.0.1:1}\nmdns: false\n',
  )
  const outcome = await read(
    { config, name: 'from-flag', listen: ['/ip4/10.0.0.1/tcp/5000'] },
    { GODWIT_NAME: 'from-env', GODWIT_DRIVER: 'none', GODWIT_CAPACITY_CPUS: '3' },
  )
  t.true(outcome.ok)
  if (!outcome.ok) return
  const { config: got, origins } = outcome.value
  t.is(got.name, 'from-flag')
  t.is(origins.name, 'flag --name')
  t.is(got.driver, 'none')
  t.is(origins.driver, 'env GODWIT_DRIVER')
  t.deepEqual(got.labels, { disk: 'ssd' })
  t.is(origins.labels, `file ${config}`)
  t.is(origins['http.listen'], `file ${config}`)
  t.is(got.mdns, false)
  t.is(got.capacity.cpus, 3)
  t.deepEqual(got.joinListen, ['/ip4/10.0.0.1/tcp/5001'])
  t.deepEqual(got.bulkListen, ['/ip4/10.0.0.1/tcp/5002'])
})

// What is typed, in the file or as a flag, and what comes of it.
const bulk: [listen: string, bulkListen: string, flag: string | undefined, got: string[]][] = [
  ['/ip4/0.0.0.0/tcp/0', '', undefined, ['/ip4/0.0.0.0/tcp/0']],
  ['/ip4/0.0.0.0/tcp/65534', '', undefined, ['/ip4/0.0.0.0/tcp/0']],
  ['/ip4/0.0.0.0/tcp/4710', 'bulkListen: [off]', undefined, ['off']],
  ['/ip4/0.0.0.0/tcp/4710', 'bulkListen: [/ip4/10.0.0.1/tcp/7]', undefined, ['/ip4/10.0.0.1/tcp/7']],
  ['/ip4/0.0.0.0/tcp/4710', '', 'off', ['off']],
]
for (const [listen, text, flag, got] of bulk) {
  test(`sockets for bulk: ${listen} ${text} ${flag ?? ''}`, async (t) => {
    const flags = flag === undefined ? {} : { 'bulk-listen': flag }
    const outcome = await read({ config: file(`listen: [${listen}]\n${text}\n`), ...flags })
    t.true(outcome.ok)
    if (outcome.ok) t.deepEqual(outcome.value.config.bulkListen, got)
  })
}

test('paths are relative to where they were written', async (t) => {
  const inFile = await read({ config: file('dataDir: peer') })
  t.is(inFile.ok && inFile.value.config.dataDir, join(folder, 'peer'))
  const typed = await read({ config: file(''), 'data-dir': 'peer' })
  t.is(typed.ok && typed.value.config.dataDir, '/srv/peer')
})

// One row per fault: what is written, and what is said of it, exit status 2 always.
const faults: [what: string, flags: Flags, env: Record<string, string>, text: string, said: RegExp][] = [
  ['an unknown key', {}, {}, 'name: a\nlistn: []\n', /\.yaml:2:1: listn: unknown key; did you mean listen\?/],
  ['an unknown key inside', {}, {}, 'log:\n  levle: info\n', /\.yaml:2:3: log\.levle: unknown key/],
  ['a wrong type', {}, {}, 'mdns: maybe\n', /\.yaml:1:\d+: mdns: must be true or false/],
  ['a wrong number', {}, {}, 'capacity:\n  cpus: -1\n', /:2:\d+: capacity\.cpus: must be at least 0/],
  ['a wrong word', {}, {}, 'driver: xen\n', /driver: must be auto or kvm or tcg or none/],
  ['a wrong address', {}, {}, 'listen: [10.0.0.1:4710]\n', /listen\[0\]: must be a multiaddr/],
  [
    'an address out of range',
    {},
    {},
    'listen: [/ip4/10.0.0.300/tcp/4710]\n',
    /listen\[0\]: must be a multiaddr/,
  ],
  ['off beside an address', {}, {}, 'bulkListen: [off, /ip4/10.0.0.3/tcp/4712]\n', /bulkListen/],
  ['a wrong endpoint', {}, {}, 'http: {listen: "4780"}\n', /http\.listen: must be address:port, or off/],
  ['broken YAML', {}, {}, 'name: [a\n', /\.yaml:\d+:\d+: yaml/],
  ['a list for a map', {}, {}, '- a\n', /\.yaml:1:1: document: must be a map/],
  ['a flag', { driver: 'xen' }, {}, '', /^--driver: /],
  ['a label without a value', { label: ['disk'] }, {}, '', /^--label: must be key=value/],
  ['a variable', {}, { GODWIT_LISTEN: '/ip4/x/tcp/1' }, '', /^GODWIT_LISTEN: must be a multiaddr/],
  ['a socket that is too long', { socket: `/${'a'.repeat(107)}` }, {}, '', /is 108 bytes long/],
]
for (const [what, flags, env, text, said] of faults) {
  test(`refuses ${what}`, async (t) => {
    const outcome = await read({ config: file(text), ...flags }, env)
    t.false(outcome.ok)
    if (outcome.ok) return
    t.regex(describeFailure(outcome.failure), said)
    t.is(exitOf(outcome.failure), 2)
  })
}

test('a file that was named must be there', async (t) => {
  const outcome = await read({ config: join(folder, 'none.yaml') })
  t.false(outcome.ok)
  t.regex(outcome.ok ? '' : describeFailure(outcome.failure), /none\.yaml: no such file/)
})

const hosts: [host: string, label: string][] = [
  ['crane', 'crane'],
  ['Crane.example.org', 'crane'],
  ['my_host', 'my-host'],
  ['-x-', 'x'],
  ['...', 'peer'],
  ['a'.repeat(80), 'a'.repeat(63)],
]
for (const [host, label] of hosts)
  test(`host ${host.slice(0, 20)} is called ${label.slice(0, 20)}`, (t) => t.is(labelOf(host), label))

test('limits are written as an operator says them, or as one rate', async (t) => {
  const config = file(`transfer:
  timeZone: Europe/Berlin
  limits:
    - { rate: 20Mbit, from: '08:00', until: '18:00', days: mon-fri }
    - { to: hill/heron, up: 1MB }
`)
  const outcome = await read({ config })
  t.true(outcome.ok)
  if (!outcome.ok) return
  t.is(outcome.value.config.transfer.timeZone, 'Europe/Berlin')
  t.like(outcome.value.config.transfer.limits, {
    length: 2,
    0: { to: 'other-sites', up: 2.5e6, down: 2.5e6, from: 480, until: 1_080, days: [1, 2, 3, 4, 5] },
    1: { to: 'hill/heron', up: 1e6, down: undefined },
  })
  const flag = await read({ config, bwlimit: ['40Mbit'] })
  t.like(flag.ok && flag.value.config.transfer.limits[0], { to: 'other-sites', up: 5e6, down: 5e6 })
})

const bad: [what: string, limit: string, why: RegExp][] = [
  ['no rate', '{ to: hill }', /rate is missing/],
  ['a rate without a unit', "{ rate: '40' }", /rate of at least/],
  ['half a window', "{ rate: 1Mbit, from: '08:00' }", /go together/],
  ['a day that is none', '{ rate: 1Mbit, days: monday }', /must be days/],
  ['a key that is none', '{ rate: 1Mbit, site: hill }', /site/],
]
for (const [what, limit, why] of bad)
  test(`a limit with ${what} is refused`, async (t) => {
    const outcome = await read({ config: file(`transfer: { limits: [${limit}] }`) })
    t.false(outcome.ok)
    t.regex(outcome.ok ? '' : JSON.stringify(outcome.failure), why)
  })

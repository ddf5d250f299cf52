import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { runCli } from '../../../node/cli/program.ts'
import { ok } from '../../../protocols/outcome.ts'
import { fakeIo, served, spec, type, vmView } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'godwit-create-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

test('flags make a spec', async (t) => {
  const peer = await served()
  const userData = join(folder, 'user-data')
  writeFileSync(userData, '#cloud-config\n')
  const disks = 'vm create web --image debian-12 --disk-size 10GiB --image data --memory 2GiB --cpus 4'
  const nics = '--nic user --nic bridge=br0,mac=52:54:00:00:00:01 --label disk=ssd --firmware uefi'
  const rest = `--user-data ${userData} --no-autostart --no-start`
  const said = await type(peer, `${disks} ${nics} ${rest}`.split(' '))
  t.is(said.exit, 0, said.stderr)
  t.is(said.stdout, `name:   web\nhost:   crane\nepoch:  1.1\nid:     ${vmView.id}\n`)
  t.deepEqual(peer.peer.asked, [
    {
      method: 'vm.create',
      params: {
        start: false,
        dryRun: false,
        spec: {
          version: 1,
          name: 'web',
          cpus: 4,
          cpuModel: 'qemu64',
          memoryMiB: 2_048,
          firmware: 'uefi',
          disks: [{ image: 'debian-12', sizeMiB: 10_240 }, { image: 'data' }],
          nics: [{ kind: 'user' }, { kind: 'bridge', bridge: 'br0', mac: '52:54:00:00:00:01' }],
          cloudInit: { userData: '#cloud-config\n' },
          autostart: false,
          dependsOn: [],
          labels: { disk: 'ssd' },
          policy: 'autonomous',
          failover: 'manual',
        },
      },
    },
  ])
  await peer.end()
})

test('a file makes a spec; its faults have a place', async (t) => {
  const peer = await served()
  const file = join(folder, 'web.yaml')
  writeFileSync(file, 'name: web\nmemory: 1GiB\ndisks:\n  - image: debian-12\n')
  const said = await type(peer, ['vm', 'create', '-f', file, '--dry-run'])
  t.is(said.exit, 0)
  t.like(peer.peer.asked[0], { params: { dryRun: true, spec: { name: 'web', memoryMiB: 1_024 } } })
  t.is(said.stderr, 'web would be placed on crane\n')
  const piped = fakeIo({ stdin: 'name: web\ndisks: [{image: debian-12}]\n' })
  t.is((await type(peer, ['vm', 'create', '-f', '-', '--detach'], piped)).exit, 0)

  const bad = join(folder, 'bad.yaml')
  writeFileSync(bad, 'name: web\ncpus: none\ndisks: []\n')
  const rows: [argv: string[], said: RegExp][] = [
    [['-f', bad], /bad\.yaml:2:1: cpus: must be a number/],
    [['-f', file, '--memory', '1GiB'], /-f says the whole spec: put memory into/],
    [['db', '-f', file], /web\.yaml is the spec of web, not of db/],
  ]
  for (const [argv, wanted] of rows) {
    const refused = await type(peer, ['vm', 'create', ...argv])
    t.is(refused.exit, 2)
    t.regex(refused.stderr, wanted)
  }
  t.is((await type(peer, ['vm', 'create', '-f', join(folder, 'none.yaml')])).exit, 1)
  await peer.end()
})

test('it waits until the VM runs, says what it waits for, and fails as the VM fails', async (t) => {
  const argv = ['vm', 'create', 'web', '--image', 'debian-12']
  const states = ['fetching', 'fetching', 'starting', 'running']
  const peer = await served({
    'vm.show': (_: unknown, call: number) =>
      ok({ vm: { ...vmView, state: states[call - 1] ?? 'running', why: '' }, spec }),
  })
  const said = await type(peer, argv)
  t.is(said.exit, 0)
  t.is(said.stderr, 'web: fetching\nweb: starting\n')
  await peer.end()

  const failing = await served({ 'vm.show': { vm: { ...vmView, state: 'failed', why: 'no room' }, spec } })
  const failed = await type(failing, argv)
  t.is(failed.exit, 1)
  t.is(failed.stderr, 'godwit: crane: web: no room\n  try: godwit vm logs web\n')
  await failing.end()

  const slow = await served({ 'vm.show': { vm: { ...vmView, state: 'fetching' }, spec } })
  const late = await type(slow, [...argv, '--timeout', '2s'])
  t.is(late.exit, 5)
  t.regex(late.stderr, /web is created and goes on/)
  await slow.end()
})

test('config show says where each value came from', async (t) => {
  const config = join(folder, 'config.yaml')
  writeFileSync(config, 'driver: tcg\n')
  const io = fakeIo({ env: { HOME: folder, GODWIT_NAME: 'crane' } })
  const argv = ['config', 'show', '--origin', '--config', config, '--http', 'off', '-o', 'json']
  t.is(await runCli(argv, io), 0)
  const { items } = JSON.parse(io.stdout) as { items: { key: string; value: unknown; origin: string }[] }
  const said = new Map(items.map(({ key, ...rest }) => [key, rest]))
  t.deepEqual(said.get('driver'), { value: 'tcg', origin: `file ${config}` })
  t.deepEqual(said.get('name'), { value: 'crane', origin: 'env GODWIT_NAME' })
  t.deepEqual(said.get('http.listen'), { value: 'off', origin: 'flag --http' })
  t.deepEqual(said.get('mdns'), { value: true, origin: 'default' })
  const off = fakeIo()
  t.is(await runCli(['config', 'show', '--config', config, '--no-mdns', '-o', 'csv,noheader'], off), 0)
  t.regex(off.stdout, /^mdns,false,/m)
  const good = fakeIo()
  t.is(await runCli(['config', 'validate', config], good), 0)
  t.is(good.stderr, `${config}: ok\n`)
})

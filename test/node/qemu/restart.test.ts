import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Machine, MachineEvent } from '../../../node/hypervisor.ts'
import { startKeeper } from '../../../node/qemu/keeper.ts'
import { machineFolder, readExit, readProcesses, writeRecord } from '../../../node/qemu/machine-folder.ts'
import { openHypervisor, type QemuHypervisor } from '../../../node/qemu/machine.ts'
import { isAlive } from '../../../node/qemu/process.ts'
import { firstEpoch } from '../../../protocols/epoch.ts'
import { asked } from '../../../storage/images/asked.ts'
import { realUntil } from '../../contracts/until.ts'
import { buildGuestImage } from '../../guest/guest.ts'
import { folderOf } from '../../storage/folder.ts'
import { countedTo } from './counted.ts'
import { freshVms, machineConfig } from './machines.ts'

const MIB = 1024 * 1024
const ids = freshVms()
let places = 0

type Place = { folder: string; machines: string; disk: string; vm: string }

async function place(t: ExecutionContext): Promise<Place> {
  const folder = await folderOf(t)
  const disk = join(folder, 'disk.raw')
  await buildGuestImage(disk, { bytes: 4 * MIB, randomBytes: 0, seed: 1 })
  return { folder, machines: join(folder, 'machines'), disk, vm: ids(++places) }
}

/** A life of the peer in this process. It ends with the test, and so does the guest. */
async function life(t: ExecutionContext, machines: string, vm: string): Promise<QemuHypervisor> {
  const hypervisor = await openHypervisor({ folder: machines, driver: 'tcg' })
  t.teardown(async () => {
    await new Promise((resolve) => hypervisor.inspect(resolve))
    await new Promise((resolve) => hypervisor.kill(vm, resolve))
    await hypervisor.close()
  })
  return hypervisor
}

const inspect = (hypervisor: QemuHypervisor): Promise<Machine[]> =>
  asked<Machine[]>((done) => hypervisor.inspect(done))

async function startInAnotherProcess(
  t: ExecutionContext,
  { machines, disk, vm }: Place,
): Promise<ChildProcess> {
  const program = join(import.meta.dirname, 'peer.ts')
  const peer = spawn(process.execPath, [program, machines, disk, vm], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => peer.kill('SIGKILL'))
  const [said] = (await once(peer.stdout, 'data')) as [Buffer]
  t.like(JSON.parse(said.toString()), { ok: true, value: { vm, state: 'running' } })
  return peer
}

test('a peer that is killed leaves its guest alone, and the next one finds it', async (t) => {
  const where = await place(t)
  const { vm } = where
  const peer = await startInAnotherProcess(t, where)
  peer.kill('SIGKILL')
  await once(peer, 'exit')

  const hypervisor = await life(t, where.machines, vm)
  const events: MachineEvent[] = []
  hypervisor.onEvent((event) => events.push(event))
  t.like(await inspect(hypervisor), [{ vm, epoch: firstEpoch(0), state: 'running' }])
  const count = (await countedTo(hypervisor, vm, 1)).at(-1)?.count ?? 0
  const said = await countedTo(hypervisor, vm, count + 2)
  t.is(said.filter(({ kind }) => kind === 'boot').length, 1, 'one boot, the first')
  await asked<void>((done) => hypervisor.powerOff(vm, 10_000, done))
  t.deepEqual(events, [{ kind: 'exited', vm, epoch: firstEpoch(0), why: 'shutdown' }])
})

test('a guest dies with its keeper', async (t) => {
  const { machines, disk, vm } = await place(t)
  const hypervisor = await life(t, machines, vm)
  const events: MachineEvent[] = []
  hypervisor.onEvent((event) => events.push(event))
  await asked<Machine>((done) =>
    hypervisor.start(machineConfig({ vm, disks: [{ path: disk, format: 'raw' }] }), done),
  )
  const processes = await readProcesses(machineFolder(machines, vm))
  t.truthy(processes)
  if (processes === undefined) return
  process.kill(processes.keeper.pid, 'SIGKILL')
  await realUntil(() => events.length > 0, 5_000)
  t.deepEqual(events, [{ kind: 'exited', vm, epoch: firstEpoch(0), why: 'killed' }])
  t.false(await isAlive(processes.guest))
})

const record = (machines: string, vm: string) => ({
  version: 1 as const,
  vm,
  name: 'web',
  epoch: firstEpoch(0),
  qmp: machineFolder(machines, vm).qmp,
  cgroup: '',
  startedAt: new Date().toISOString(),
})

test('a start whose peer died before its keeper began never happens', async (t) => {
  const { machines, vm } = await place(t)
  const folder = machineFolder(machines, vm)
  const before = await life(t, machines, vm)
  await asked<Machine>((done) => before.start(machineConfig({ vm, disks: [] }), done))
  await asked<void>((done) => before.kill(vm, done))
  await before.close()
  await writeRecord(folder, record(machines, vm), 'token')

  const hypervisor = await life(t, machines, vm)
  const events: MachineEvent[] = []
  hypervisor.onEvent((event) => events.push(event))
  t.deepEqual(await inspect(hypervisor), [])
  t.like(events, [{ why: 'killed' }])
  const late = { folder, name: 'web', token: 'token', cgroup: '', program: 'sleep', args: ['60'] }
  await t.throwsAsync(startKeeper(late), { message: /keeper ended with 77|permit/ })
  t.is(await readProcesses(folder), undefined)
})

test('a keeper notes how its guest ended, and lets no second one start', async (t) => {
  const { machines, vm } = await place(t)
  const folder = machineFolder(machines, vm)
  const hypervisor = await life(t, machines, vm)
  await new Promise((resolve) => hypervisor.start(machineConfig({ vm, disks: [] }), resolve))
  await asked<void>((done) => hypervisor.kill(vm, done))
  const keep = (token: string, script: string): ReturnType<typeof startKeeper> =>
    startKeeper({ folder, name: 'web', token, cgroup: '', program: 'sh', args: ['-c', script] })

  await writeRecord(folder, record(machines, vm), 'one')
  const first = await keep('one', `until [ -e ${folder.path}/go ]; do sleep 0.01; done; exit 3`)
  t.true(await isAlive(first.processes.guest))
  await writeFile(folder.file('permit'), 'two\n')
  await t.throwsAsync(keep('two', 'exit 0'), undefined, 'the first still runs')
  await writeFile(folder.file('go'), '')
  await first.ended
  t.is(await readExit(folder), 3)
  t.false(await isAlive(first.processes.guest))
  await rm(folder.file('go'))
})

test('a QEMU that does not start is told in its own words, and leaves nothing behind', async (t) => {
  const { machines, folder, vm } = await place(t)
  const hypervisor = await life(t, machines, vm)
  const missing = join(folder, 'no-such-disk')
  const outcome = await new Promise<unknown>((resolve) =>
    hypervisor.start(machineConfig({ vm, disks: [{ path: missing, format: 'raw' }] }), resolve),
  )
  t.like(outcome, { ok: false, failure: { code: 'HYPERVISOR', vm: 'web' } })
  t.regex(JSON.stringify(outcome), /no-such-disk/)
  t.deepEqual(await inspect(hypervisor), [])
  await t.throwsAsync(readFile(machineFolder(machines, vm).file('machine.json')), { code: 'ENOENT' })
})

test('a folder whose path is too long for a socket still runs its guest', async (t) => {
  const { folder, disk, vm } = await place(t)
  const machines = join(folder, 'm'.repeat(90))
  const hypervisor = await life(t, machines, vm)
  await asked<Machine>((done) =>
    hypervisor.start(machineConfig({ vm, disks: [{ path: disk, format: 'raw' }] }), done),
  )
  t.true(machineFolder(machines, vm).qmp.length <= 107)
  t.like(await inspect(hypervisor), [{ vm, state: 'running' }])
  await countedTo(hypervisor, vm, 1)
  await asked<void>((done) => hypervisor.powerOff(vm, 10_000, done))
})

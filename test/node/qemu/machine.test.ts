import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Machine } from '../../../node/hypervisor.ts'
import { openHypervisor, type QemuHypervisor } from '../../../node/qemu/machine.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { contract, type Opened } from '../../contracts/hypervisor.ts'
import { realUntil } from '../../contracts/until.ts'
import { buildGuestImage } from '../../guest/guest.ts'
import { folderOf } from '../../storage/folder.ts'
import { freshVms, machineConfig } from './machines.ts'

const MIB = 1024 * 1024

/** Guests under TCG: their time is the host's, and no probe is needed to know that it works. */
async function lives(
  t: ExecutionContext,
  folder: string,
  vms: { next: number; readonly id: (number: number) => string },
): Promise<Opened> {
  const machines = join(folder, 'machines')
  const hypervisor = await openHypervisor({ folder: machines, driver: 'tcg' })
  t.teardown(() => endAll(hypervisor))
  return {
    hypervisor,
    until: realUntil,
    machine: async () => {
      const number = vms.next++
      const path = join(folder, `disk${number}.raw`)
      await buildGuestImage(path, { bytes: 4 * MIB, randomBytes: 0, seed: 1 })
      return machineConfig({ vm: vms.id(number), disks: [{ path, format: 'raw' }] })
    },
    crashGuest: async (vm) => {
      const [, , guest] = (await readFile(join(machines, vm, 'process'), 'utf8')).split(' ')
      process.kill(Number(guest), 'SIGABRT')
    },
    end: () => hypervisor.close(),
    reopen: () => lives(t, folder, vms),
  }
}

/** A test that failed may leave guests. */
async function endAll(hypervisor: QemuHypervisor): Promise<void> {
  const found = await new Promise<string[]>((resolve) => {
    hypervisor.inspect((outcome) => resolve(outcome.ok ? outcome.value.map(({ vm }) => vm) : []))
  })
  await Promise.all(found.map((vm) => new Promise((resolve) => hypervisor.kill(vm, resolve))))
  await hypervisor.close()
}

test('a guest that another folder has started is not started a second time', async (t) => {
  const vms = { next: 1, id: freshVms() }
  const first = await lives(t, await folderOf(t), vms)
  const second = await lives(t, await folderOf(t), vms)
  const machine = await first.machine()
  const start = ({ hypervisor }: Opened): Promise<Outcome<Machine>> =>
    new Promise((resolve) => hypervisor.start(machine, resolve))
  const started = await start(first)
  t.true(started.ok)
  const refused = await start(second)
  t.like(refused, { ok: false, failure: { code: 'HYPERVISOR' } })
  const pid = started.ok ? started.value.pid : 0
  t.regex(JSON.stringify(refused), new RegExp(`process ${pid} of this host is a guest of it`))
  await new Promise((resolve) => first.hypervisor.kill(machine.vm, resolve))
  t.true((await start(second)).ok)
})

contract('the hypervisor on QEMU', async (t) => lives(t, await folderOf(t), { next: 1, id: freshVms() }))

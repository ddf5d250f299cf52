import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { openHypervisor, type QemuHypervisor } from '../../../node/qemu/machine.ts'
import { contract, type Opened } from '../../contracts/hypervisor.ts'
import { realUntil } from '../../contracts/until.ts'
import { buildGuestImage } from '../../guest/guest.ts'
import { folderOf } from '../../storage/folder.ts'
import { machineConfig, vmNumber } from './machines.ts'

const MIB = 1024 * 1024

/** Guests under TCG: their time is the host's, and no probe is needed to know that it works. */
async function lives(t: ExecutionContext, folder: string, numbers: { next: number }): Promise<Opened> {
  const machines = join(folder, 'machines')
  const hypervisor = await openHypervisor({ folder: machines, driver: 'tcg' })
  t.teardown(() => endAll(hypervisor))
  return {
    hypervisor,
    until: realUntil,
    machine: async () => {
      const number = numbers.next++
      const path = join(folder, `disk${number}.raw`)
      await buildGuestImage(path, { bytes: 4 * MIB, randomBytes: 0, seed: 1 })
      return machineConfig({ vm: vmNumber(number), disks: [{ path, format: 'raw' }] })
    },
    crashGuest: async (vm) => {
      const [, , guest] = (await readFile(join(machines, vm, 'process'), 'utf8')).split(' ')
      process.kill(Number(guest), 'SIGABRT')
    },
    end: () => hypervisor.close(),
    reopen: () => lives(t, folder, numbers),
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

contract('the hypervisor on QEMU', async (t) => lives(t, await folderOf(t), { next: 1 }))

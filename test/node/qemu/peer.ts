/**
 * A peer reduced to its hypervisor, as a process of its own, for restart.test.ts: starts one guest, says so on its
 * standard output, and stays until it is killed.
 *
 *   node peer.ts MACHINES DISK VM
 */
import { openHypervisor } from '../../../node/qemu/machine.ts'
import { machineConfig } from './machines.ts'

const [folder = '', disk = '', vm = ''] = process.argv.slice(2)
const hypervisor = await openHypervisor({ folder, driver: 'tcg' })
hypervisor.start(machineConfig({ vm, disks: [{ path: disk, format: 'raw' }] }), (outcome) => {
  process.stdout.write(`${JSON.stringify(outcome)}\n`)
})

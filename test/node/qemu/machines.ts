/** VM ids and configurations for tests. */
import { randomBytes } from 'node:crypto'
import type { DiskHandle, MachineConfig } from '../../../node/hypervisor.ts'
import { firstEpoch, type Epoch } from '../../../protocols/epoch.ts'
import { vmSpec } from '../../../node/vm/spec.ts'

/** A VM of site `harbour1`, the number in its last characters. */
export const vmNumber = (number: number): string =>
  `harbour1-01ARZ3NDEKTSV4RRFFQ6${String(number).padStart(6, '0')}`

/**
 * Ids for guests that do run, in order of their numbers: a host starts no second guest of one VM, whichever folder the
 * first one is of, and tests run side by side.
 */
export function freshVms(): (number: number) => string {
  const run = randomBytes(8).toString('hex').toUpperCase().slice(0, 15)
  return (number) => `harbour1-01ARZ${run}${String(number).padStart(6, '0')}`
}

type Config = { vm?: string; disks?: DiskHandle[]; epoch?: Epoch; spec?: Record<string, unknown> }

export function machineConfig({ vm = vmNumber(1), disks, epoch, spec }: Config = {}): MachineConfig {
  const parsed = vmSpec.parse({ name: 'web', memoryMiB: 16, disks: [{ image: 'guest' }], ...spec })
  return {
    vm,
    name: parsed.name,
    epoch: epoch ?? firstEpoch(0),
    spec: parsed,
    disks: disks ?? [{ path: '/vms/disk0.qcow2', format: 'qcow2' }],
  }
}

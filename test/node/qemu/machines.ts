/** VM ids and configurations for tests. */
import type { DiskHandle, MachineConfig } from '../../../node/hypervisor.ts'
import { firstEpoch, type Epoch } from '../../../protocols/epoch.ts'
import { vmSpec } from '../../../node/vm/spec.ts'

/** A VM of site `harbour1`, the number in its last characters. */
export const vmNumber = (number: number): string =>
  `harbour1-01ARZ3NDEKTSV4RRFFQ6${String(number).padStart(6, '0')}`

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

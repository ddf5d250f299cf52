/** The files beside its disks that a guest's QEMU opens: cloud-init's seed and UEFI firmware, as its spec asks. */
import { access, copyFile, writeFile } from 'node:fs/promises'
import { GodwitError } from '../../protocols/errors.ts'
import type { MachineConfig } from '../hypervisor.ts'
import { cloudInitSeed } from './cloud-init.ts'
import type { MachinePaths } from './command-line.ts'
import type { MachineFolder } from './machine-folder.ts'

/** UEFI firmware and its variables as Debian and Ubuntu install them, newest layout first. */
const FIRMWARE = [
  { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
  { code: '/usr/share/OVMF/OVMF_CODE.fd', variables: '/usr/share/OVMF/OVMF_VARS.fd' },
]

/** Makes them in the machine's folder; TOOL_MISSING when the host has no firmware of the kind. */
export async function machineFiles(
  folder: MachineFolder,
  { vm, spec }: MachineConfig,
): Promise<MachinePaths> {
  const seed = cloudInitSeed(vm, spec)
  if (seed !== undefined) await writeFile(folder.file('cidata.iso'), seed)
  return {
    qmp: folder.qmp,
    serialLog: folder.serialLog,
    pidFile: folder.file('pid'),
    ...(seed === undefined ? {} : { cloudInit: folder.file('cidata.iso') }),
    ...(spec.firmware === 'uefi' ? { firmware: await firmwareFor(folder) } : {}),
  }
}

/** The firmware's variables are the guest's own, copied once. */
async function firmwareFor(folder: MachineFolder): Promise<{ code: string; variables: string }> {
  const variables = folder.file('uefi-variables.fd')
  for (const firmware of FIRMWARE) {
    try {
      await access(firmware.code)
      await access(firmware.variables)
    } catch {
      continue
    }
    await access(variables).catch(() => copyFile(firmware.variables, variables))
    return { code: firmware.code, variables }
  }
  throw new GodwitError({ code: 'TOOL_MISSING', tool: 'OVMF, the UEFI firmware', package: 'ovmf' })
}

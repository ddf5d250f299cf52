/**
 * The QEMU command line of a VM: a pure function of its spec, so that two hosts give a guest the same machine. What a
 * move compares stands here: versioned machine type, named CPU model, node names, device ids and their order. Changing
 * any of it for VMs that exist breaks their moves; the golden test makes that visible.
 */
import { createHash } from 'node:crypto'
import type { VmId } from '../../protocols/ids.ts'
import type { MachineConfig } from '../hypervisor.ts'

/** Every QEMU from 7.2 on has it, for years. */
export const MACHINE_TYPE = 'pc-q35-7.2'

export type Accelerator = 'kvm' | 'tcg'

/** Files of this host that a guest's QEMU opens. */
export type MachinePaths = {
  /** QMP's unix socket, made by QEMU. */
  readonly qmp: string
  readonly serialLog: string
  readonly pidFile: string
  /** NoCloud seed, when the spec asks for one. */
  readonly cloudInit?: string
  /** UEFI code, and this guest's own variables, when the spec asks for uefi. */
  readonly firmware?: { readonly code: string; readonly variables: string }
}

/** @returns Arguments for qemu-system-x86_64, without its own name. */
export function commandLine(machine: MachineConfig, paths: MachinePaths, driver: Accelerator): string[] {
  const { spec, vm } = machine
  const options: string[][] = [
    ['-name', `guest=${escaped(spec.name)}`],
    ['-uuid', uuidOf(vm)],
    ['-machine', [`type=${MACHINE_TYPE}`, `accel=${driver}`, ...firmwareOf(paths)].join(',')],
    ['-cpu', spec.cpuModel],
    ['-smp', `cpus=${spec.cpus}`],
    ['-m', `size=${spec.memoryMiB}M`],
    ['-nodefaults', '-no-user-config'],
    ['-display', 'none'],
    ['-rtc', 'base=utc'],
    ['-sandbox', sandbox(machine)],
    ['-pidfile', paths.pidFile],
    ['-chardev', `socket,id=qmp0,path=${escaped(paths.qmp)},server=on,wait=off`],
    ['-mon', 'chardev=qmp0,mode=control'],
    // Appending lets the keeper cut the log while QEMU writes.
    ['-chardev', `file,id=serial0,path=${escaped(paths.serialLog)},append=on`],
    ['-serial', 'chardev:serial0'],
    firmwareDrives(paths),
    ...machine.disks.map((disk, index) => diskArguments(disk, index)),
    cloudInitDrive(paths),
    ...spec.nics.map((nic, index) => nicArguments(vm, nic, index)),
  ]
  return options.flat()
}

/** Nothing that a guest does may start a program; a bridge is joined by a helper of QEMU's, which is one. */
const sandbox = ({ spec }: MachineConfig): string =>
  spec.nics.some(({ kind }) => kind === 'bridge')
    ? 'on,obsolete=deny,resourcecontrol=deny'
    : 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

const firmwareOf = ({ firmware }: MachinePaths): string[] =>
  firmware === undefined ? [] : ['pflash0=firmware0', 'pflash1=firmware1']

function firmwareDrives({ firmware }: MachinePaths): string[] {
  if (firmware === undefined) return []
  const code = { driver: 'file', 'node-name': 'firmware0', filename: firmware.code, 'read-only': true }
  const variables = { driver: 'file', 'node-name': 'firmware1', filename: firmware.variables }
  return ['-blockdev', JSON.stringify(code), '-blockdev', JSON.stringify(variables)]
}

/** TRIM and zeros punch holes, so that a disk costs what it holds. */
function diskArguments({ path, format }: MachineConfig['disks'][number], index: number): string[] {
  const name = `disk${index}`
  const discards = { discard: 'unmap', 'detect-zeroes': 'unmap' }
  const node = {
    driver: format,
    'node-name': name,
    ...discards,
    file: { driver: 'file', 'node-name': `${name}-file`, filename: path, discard: 'unmap' },
  }
  const device = `virtio-blk-pci,id=virtio-${name},drive=${name}${index === 0 ? ',bootindex=0' : ''}`
  return ['-blockdev', JSON.stringify(node), '-device', device]
}

function cloudInitDrive({ cloudInit }: MachinePaths): string[] {
  if (cloudInit === undefined) return []
  const file = { driver: 'file', 'node-name': 'cidata-file', filename: cloudInit, 'read-only': true }
  const node = { driver: 'raw', 'node-name': 'cidata', 'read-only': true, file }
  return ['-blockdev', JSON.stringify(node), '-device', 'virtio-blk-pci,id=virtio-cidata,drive=cidata']
}

type Nic = MachineConfig['spec']['nics'][number]

function nicArguments(vm: VmId, { kind, bridge, mac }: Nic, index: number): string[] {
  // A spec names the bridge of such a card: vmSpec sees to it.
  const backend = kind === 'user' ? 'user' : `bridge,br=${escaped(bridge ?? '')}`
  // Without its boot ROM: guests boot from their disk, and the ROM's size would have to be the same everywhere.
  const device = `virtio-net-pci,id=nic${index},netdev=net${index},mac=${mac ?? macOf(vm, index)},romfile=`
  return ['-netdev', `${backend},id=net${index}`, '-device', device]
}

/** A comma ends a value of QEMU's; two stand for one. */
const escaped = (value: string): string => value.replaceAll(',', ',,')

/** The same on every host: 52:54 (locally administered, as QEMU's own) and 32 bits of the VM's id. */
export function macOf(vm: VmId, index: number): string {
  const digest = createHash('sha256').update(`mac ${vm} ${index}`).digest()
  return [
    '52',
    '54',
    ...Array.from(digest.subarray(0, 4), (byte) => byte.toString(16).padStart(2, '0')),
  ].join(':')
}

/** What the guest reads as its SMBIOS UUID: version 8 (RFC 9562), made from the VM's id, so it survives moves. */
export function uuidOf(vm: VmId): string {
  const bytes = createHash('sha256').update(`uuid ${vm}`).digest().subarray(0, 16)
  bytes[6] = (bytes.readUInt8(6) & 0x0f) | 0x80
  bytes[8] = (bytes.readUInt8(8) & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { commandLine, macOf, uuidOf, type MachinePaths } from '../../../node/qemu/command-line.ts'
import type { MachineConfig } from '../../../node/hypervisor.ts'
import { machineConfig, vmNumber } from './machines.ts'

const paths: MachinePaths = { qmp: '/run/qmp.sock', serialLog: '/vms/serial.log', pidFile: '/vms/pid' }

const everything = machineConfig({
  disks: [
    { path: '/vms/disk0.qcow2', format: 'qcow2' },
    { path: '/vms/a,b.raw', format: 'raw' },
  ],
  spec: {
    cpus: 4,
    cpuModel: 'Westmere',
    memoryMiB: 2048,
    firmware: 'uefi',
    disks: [{ image: 'debian' }, { image: 'data' }],
    nics: [{ kind: 'user' }, { kind: 'bridge', bridge: 'br7', mac: '52:54:00:12:34:56' }],
    cloudInit: { userData: '#cloud-config\n' },
  },
})
const all: MachinePaths = {
  qmp: '/run/a,b/qmp.sock',
  serialLog: '/vms/serial,log',
  pidFile: '/vms/pid',
  cloudInit: '/vms/cidata.iso',
  firmware: { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/vms/uefi-variables.fd' },
}

// A change here breaks the moves of VMs that exist: both ends of a move must have the same machine.
const golden: [name: string, machine: MachineConfig, paths: MachinePaths, driver: 'kvm' | 'tcg'][] = [
  ['least', machineConfig(), paths, 'tcg'],
  ['everything', everything, all, 'kvm'],
]

for (const [name, machine, its, driver] of golden) {
  test(`the command line of ${name} is the one on record`, (t) => {
    const file = join(import.meta.dirname, `../../fixtures/qemu/${name}.args`)
    t.is(commandLine(machine, its, driver).join('\n') + '\n', readFileSync(file, 'utf8'))
  })
}

test('a bridge alone may start a program: its helper', (t) => {
  const nic = (kind: string): string[] =>
    commandLine(
      machineConfig({ spec: { nics: [{ kind, bridge: kind === 'bridge' ? 'br7' : undefined }] } }),
      paths,
      'tcg',
    )
  t.true(nic('user').some((argument) => argument.includes('spawn=deny')))
  t.false(nic('bridge').some((argument) => argument.includes('spawn=deny')))
})

test('MAC addresses and UUIDs come from the VM id and differ', (t) => {
  const macs = [1, 2].flatMap((n) => [0, 1].map((index) => macOf(vmNumber(n), index)))
  for (const mac of macs) t.regex(mac, /^52:54(:[0-9a-f]{2}){4}$/)
  t.is(new Set(macs).size, 4)
  t.is(macs[0], macOf(vmNumber(1), 0))
  t.regex(uuidOf(vmNumber(1)), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.not(uuidOf(vmNumber(1)), uuidOf(vmNumber(2)))
})

/** What this Linux host measures of itself: /proc and statfs. A file that is missing costs its values, never the sample. */
import { readdirSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { HostSample } from '../../protocols/telemetry/messages.ts'
import type { Capacity, HostFacts } from './host-facts.ts'
import {
  type CpuTimes,
  loadBetween,
  parseLoad,
  parseMemory,
  parseNetwork,
  parsePressure,
  parseStat,
} from './proc-text.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
/** Memory kept from VMs: for the kernel, this peer (150 MiB) and QEMU's own (some 50 MiB a guest). */
const RESERVED_MEMORY_MIB = 512
const RESERVED_MEMORY_SHARE = 1 / 8
const SUPPLIES = '/sys/class/power_supply'
/** Disk kept from VMs: a file system that is full stops everybody. */
const RESERVED_DISK_SHARE = 1 / 10

type Places = { readonly folder: string; readonly proc?: string; readonly supplies?: string }

/** `folder`: the data folder, whose file system is the one measured. `proc`, `supplies`: other places, for tests. */
export function procFacts({ folder, proc = '/proc', supplies = SUPPLIES }: Places): HostFacts {
  let before: CpuTimes | undefined
  const read = (file: string): string => {
    try {
      return readFileSync(join(proc, file), 'latin1')
    } catch {
      return ''
    }
  }
  const disk = (): { totalBytes: number; freeBytes: number } => {
    try {
      const { bsize, blocks, bavail } = statfsSync(folder)
      return { totalBytes: bsize * blocks, freeBytes: bsize * bavail }
    } catch {
      return { totalBytes: 0, freeBytes: 0 }
    }
  }

  return {
    sample(): HostSample {
      const times = parseStat(read('stat'))
      const memory = parseMemory(read('meminfo'))
      const { totalBytes, freeBytes } = disk()
      const cpuLoad = loadBetween(before, times)
      before = times
      const [cpu, memoryStall, io] = ['cpu', 'memory', 'io'].map((of) =>
        parsePressure(read(`pressure/${of}`)),
      )
      return {
        cpus: times.cpus,
        cpuLoad,
        loadAverage: parseLoad(read('loadavg')),
        memoryTotalBytes: memory.totalBytes,
        memoryUsedBytes: memory.usedBytes,
        diskTotalBytes: totalBytes,
        diskFreeBytes: freeBytes,
        ...parseNetwork(read('net/dev')),
        ...(cpu && { cpuPressure: cpu }),
        ...(memoryStall && { memoryPressure: memoryStall }),
        ...(io && { ioPressure: io }),
        bootMs: times.bootMs,
      }
    },

    disk,

    power: () => (isDischarging(supplies) ? 'battery' : 'mains'),

    capacity(): Capacity {
      const totalMiB = parseMemory(read('meminfo')).totalBytes / MIB
      const reservedMiB = Math.max(RESERVED_MEMORY_MIB, totalMiB * RESERVED_MEMORY_SHARE)
      // Of the whole file system, not of what is free now: the disks of VMs that are here already are part of it.
      const diskBytes = disk().totalBytes * (1 - RESERVED_DISK_SHARE)
      return {
        cpus: availableParallelism(),
        memoryMiB: Math.max(0, Math.floor(totalMiB - reservedMiB)),
        diskBytes: Math.floor(diskBytes / GIB) * GIB,
      }
    },
  }
}

/** A battery of the machine, not of a mouse, that gives what it has. */
function isDischarging(supplies: string): boolean {
  const said = (supply: string, what: string): string => {
    try {
      return readFileSync(join(supplies, supply, what), 'latin1').trim()
    } catch {
      return ''
    }
  }
  try {
    return readdirSync(supplies).some(
      (supply) =>
        said(supply, 'type') === 'Battery' &&
        said(supply, 'scope') !== 'Device' &&
        said(supply, 'status') === 'Discharging',
    )
  } catch {
    return false
  }
}

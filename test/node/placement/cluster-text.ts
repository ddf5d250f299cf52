/** Clusters as texts that people can read: hosts with what is promised in brackets, and what becomes of each request. */
import type { Host, PlaceRequest } from '../../../node/placement/place.ts'

export type Cluster = { hosts: Host[]; cases: { request: PlaceRequest; expected: string[] }[] }

const HOST = /^host (\S+) +(\d+) \((\d+)\) +(\d+) \((\d+)\) +(\d+) \((\d+)\) +(\S+) +(\S+)(?: +(\S+))?$/
const PLACE = /^place (\S+) +(\d+) vcpu (\d+) MiB (\d+) GiB(?: by (\S+))?(?: (\S+=\S+))?$/
const GIB = 1024 ** 3

export function parseCluster(text: string): Cluster {
  const cluster: Cluster = { hosts: [], cases: [] }
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const host = HOST.exec(line)
    const place = PLACE.exec(line)
    if (host !== null) cluster.hosts.push(hostOf(host, cluster.hosts.length))
    else if (place !== null) cluster.cases.push({ request: requestOf(place), expected: [] })
    else if (line.startsWith('  ')) cluster.cases.at(-1)?.expected.push(line.trim())
    else throw new Error(`no host, request or expectation: ${line}`)
  }
  return cluster
}

function hostOf([, name = '', ...rest]: RegExpExecArray, index: number): Host {
  const [cpus, cpusUsed, memory, memoryUsed, disk, diskUsed, driver, labels, standing] = rest
  return {
    // Ids in the order of the text, so that ties go from top to bottom.
    id: String(index).padStart(4, '0'),
    name,
    capacity: {
      cpus: Number(cpus),
      memoryMiB: Number(memory),
      diskBytes: Number(disk) * GIB,
      driver: driver ?? '',
      labels: labelsOf(labels),
    },
    committed: { cpus: Number(cpusUsed), memoryMiB: Number(memoryUsed), diskBytes: Number(diskUsed) * GIB },
    available: standing === undefined,
    why: standing === undefined ? '' : `is ${standing}`,
  }
}

function requestOf([, vm = '', cpus, memory, disk, driver, labels]: RegExpExecArray): PlaceRequest {
  const size = { cpus: Number(cpus), memoryMiB: Number(memory), diskBytes: Number(disk) * GIB }
  return { vm, ...size, labels: labelsOf(labels), ...(driver !== undefined && { driver }) }
}

const labelsOf = (text: string | undefined): Record<string, string> =>
  Object.fromEntries(
    (text ?? '-')
      .split(',')
      .filter((each) => each.includes('='))
      .map((each) => each.split('=', 2) as [string, string]),
  )

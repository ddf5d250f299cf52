/**
 * The hard conditions of placement: one row each, in the order they are asked. A row lets a host pass, or says why not.
 * Everything is in the units of the spec; what is counted is what was promised to VMs, not what they use right now.
 */
import { PROBING } from '../hypervisor.ts'
import type { Host, PlaceRequest } from './place.ts'

/**
 * Virtual CPUs that may be promised per CPU of the host. Edge guests idle most of the time, and a late vCPU is slow where
 * memory that is not there is fatal: so CPUs are promised four times over, memory and disk never.
 */
export const CPU_OVERCOMMIT = 4

type Filter = {
  readonly name: string
  /** Why `host` cannot take the VM; undefined when this condition lets it. */
  readonly refuse: (host: Host, request: PlaceRequest) => string | undefined
}

export const FILTERS: readonly Filter[] = [
  {
    name: 'availability',
    refuse: ({ available, why }) => (available ? undefined : why || 'is not in sight'),
  },
  {
    name: 'driver',
    refuse: ({ capacity: { driver } }, request) => {
      if (driver === 'none') return 'cannot run guests: it has no hypervisor'
      if (request.driver === undefined || request.driver === driver) return undefined
      if (driver === PROBING) return 'has yet to find out by what it runs guests'
      return `runs guests by ${driver}, not by ${request.driver}`
    },
  },
  {
    name: 'memory',
    refuse: ({ capacity, committed }, request) =>
      lacks('MiB of memory', request.memoryMiB, capacity.memoryMiB - committed.memoryMiB, capacity.memoryMiB),
  },
  {
    name: 'cpu',
    refuse: ({ capacity, committed }, request) => {
      const cpus = capacity.cpus * CPU_OVERCOMMIT
      return lacks('virtual CPUs', request.cpus, cpus - committed.cpus, cpus)
    },
  },
  {
    name: 'disk',
    refuse: ({ capacity, committed }, request) => {
      const free = capacity.diskBytes - committed.diskBytes
      if (request.diskBytes <= free) return undefined
      const [wanted, left] = [Math.ceil(request.diskBytes / MIB), Math.floor(Math.max(0, free) / MIB)]
      return `${wanted} MiB of disk wanted, ${left} of ${Math.floor(capacity.diskBytes / MIB)} free`
    },
  },
  {
    name: 'labels',
    refuse: ({ capacity }, request) => {
      const missing = Object.entries(request.labels).find(([key, value]) => labelOf(capacity, key) !== value)
      if (missing === undefined) return undefined
      const [key, value] = missing
      const own = labelOf(capacity, key)
      return own === undefined ? `has no label ${key}=${value}` : `has label ${key}=${own}, not ${value}`
    },
  },
]

const MIB = 1024 ** 2

const labelOf = ({ labels }: Host['capacity'], key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined

const lacks = (what: string, wanted: number, free: number, all: number): string | undefined =>
  wanted <= free ? undefined : `${wanted} ${what} wanted, ${Math.max(0, free)} of ${all} free`

/**
 * Which host of the site takes a VM: filter, then the least share of memory committed, ties by id. Pure: the same hosts
 * give the same answer on every peer. The answer always explains itself, host by host.
 *
 * Invariant (test/node/placement): a host that is chosen stays within its committed capacity.
 */
import type { PeerId } from '../../protocols/ids.ts'
import { FILTERS } from './filters.ts'

export type PlaceRequest = {
  /** Its name, for people. */
  readonly vm: string
  readonly cpus: number
  readonly memoryMiB: number
  readonly diskBytes: number
  /** The host must carry each of these. */
  readonly labels: Readonly<Record<string, string>>
  /** The driver that the guest needs; any that runs guests when absent. */
  readonly driver?: string
}

export type Host = {
  readonly id: PeerId
  readonly name: string
  readonly capacity: {
    readonly cpus: number
    readonly memoryMiB: number
    readonly diskBytes: number
    readonly driver: string
    readonly labels: Readonly<Record<string, string>>
  }
  /** Promised to VMs that are placed there, on their way there, or reserved for. */
  readonly committed: { cpus: number; memoryMiB: number; diskBytes: number }
  /** False: draining, or not in sight; `why` says which. */
  readonly available: boolean
  readonly why: string
}

type Reason = { readonly host: string; readonly why: string }

export type Placed =
  | { readonly ok: true; readonly host: PeerId; readonly considered: Reason[] }
  | { readonly ok: false; readonly reasons: Reason[] }

/** Every host appears once in `considered` or `reasons`, by name, in order of ids. */
export function place(request: PlaceRequest, hosts: readonly Host[]): Placed {
  const judged = hosts
    .toSorted((a, b) => compareIds(a.id, b.id))
    .map((host) => ({ host, refusal: refusalOf(request, host) }))
  const [best] = judged
    .filter(({ refusal }) => refusal === undefined)
    .map(({ host }) => host)
    .sort((a, b) => committedShare(a) - committedShare(b) || compareIds(a.id, b.id))
  const reasons = judged.map(({ host, refusal }) => ({
    host: host.name,
    why: refusal ?? standing(host, best),
  }))
  return best === undefined ? { ok: false, reasons } : { ok: true, host: best.id, considered: reasons }
}

/** The first condition that `host` fails, as people read it. */
function refusalOf(request: PlaceRequest, host: Host): string | undefined {
  for (const { refuse } of FILTERS) {
    const why = refuse(host, request)
    if (why !== undefined) return why
  }
  return undefined
}

function standing(host: Host, best: Host | undefined): string {
  const share = `${Math.round(committedShare(host) * 100)} % of its memory is committed`
  return host === best ? `chosen: ${share}` : share
}

const committedShare = ({ capacity, committed }: Host): number =>
  committed.memoryMiB / Math.max(1, capacity.memoryMiB)

const compareIds = (a: PeerId, b: PeerId): number => (a < b ? -1 : a > b ? 1 : 0)

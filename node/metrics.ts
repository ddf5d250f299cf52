/**
 * Every metric of a peer, one row each, and how their values become the text that Prometheus reads. docs/METRICS.md is
 * printed from METRICS. Names follow promtool's rules: base units, `_total` for what only grows. What gathers the values
 * is compose.ts; this file knows what they are called.
 */
import type { Registry } from 'prom-client'
import { type Done, failed, ok } from '../protocols/outcome.ts'

type Metric = {
  /** A counter only grows, and starts from zero with the process. */
  readonly type: 'gauge' | 'counter'
  readonly unit: 'bytes' | 'seconds' | 'ratio' | ''
  readonly help: string
  readonly labels: readonly string[]
}

const rows = {
  godwit_build_info: {
    type: 'gauge',
    unit: '',
    help: 'Always 1; the version that runs is its label.',
    labels: ['version'],
  },
  godwit_ready: { type: 'gauge', unit: '', help: '1 once this peer is ready to serve.', labels: [] },
  godwit_peer_up: {
    type: 'gauge',
    unit: '',
    help: '1 for each admitted peer that is in sight from here, 0 for one that is not.',
    labels: ['peer', 'site'],
  },
  godwit_peers: {
    type: 'gauge',
    unit: '',
    help: 'Admitted peers by state of membership.',
    labels: ['state'],
  },
  godwit_peer_rtt_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Smoothed round-trip time to each connected peer.',
    labels: ['peer'],
  },
  godwit_membership_health: {
    type: 'gauge',
    unit: '',
    help: 'How much this peer distrusts its own probes, 0 when it is well.',
    labels: [],
  },
  godwit_sites_cut_off: {
    type: 'gauge',
    unit: '',
    help: 'Sites of which no peer is in sight from here.',
    labels: [],
  },
  godwit_vms: { type: 'gauge', unit: '', help: 'VMs placed on this peer by state.', labels: ['state'] },
  godwit_host_memory_capacity_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory of this host that may be promised to VMs.',
    labels: [],
  },
  godwit_host_memory_committed_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory of this host that is promised to VMs.',
    labels: [],
  },
  godwit_jobs: {
    type: 'gauge',
    unit: '',
    help: 'Jobs that this peer coordinates or remembers, by state.',
    labels: ['state'],
  },
  godwit_raft_term: { type: 'gauge', unit: '', help: 'Current Raft term of each group.', labels: ['group'] },
  godwit_raft_commit_index: {
    type: 'gauge',
    unit: '',
    help: 'Last committed entry of each group.',
    labels: ['group'],
  },
  godwit_raft_applied_index: {
    type: 'gauge',
    unit: '',
    help: 'Last applied entry of each group.',
    labels: ['group'],
  },
  godwit_raft_last_index: {
    type: 'gauge',
    unit: '',
    help: 'Last entry in the log of each group.',
    labels: ['group'],
  },
  godwit_raft_role: {
    type: 'gauge',
    unit: '',
    help: '1 for the role that this peer has in each group.',
    labels: ['group', 'role'],
  },
  godwit_raft_has_leader: {
    type: 'gauge',
    unit: '',
    help: '1 while a leader of the group is known here.',
    labels: ['group'],
  },
  godwit_raft_log_damaged: {
    type: 'gauge',
    unit: '',
    help: '1 when a damaged log of the group was put aside on this peer and is still kept.',
    labels: ['group'],
  },
  godwit_raft_log_unwritable: {
    type: 'gauge',
    unit: '',
    help: '1 while the disk of this peer does not take the log of the group: it is full, or fails.',
    labels: ['group'],
  },
  godwit_raft_feature_level: {
    type: 'gauge',
    unit: '',
    help: 'Feature level that each group has agreed on.',
    labels: ['group'],
  },
  godwit_raft_halted: {
    type: 'gauge',
    unit: '',
    help: '1 while this version of godwit cannot apply what the group has agreed on: install a newer one.',
    labels: ['group'],
  },
  godwit_frames_bad_total: {
    type: 'counter',
    unit: '',
    help: 'Frames received that no decoder takes.',
    labels: ['protocol'],
  },
  godwit_images_used_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'What images and kept copies of moved VMs take of this peer.',
    labels: [],
  },
  godwit_images_kept_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'What kept copies of moved VMs take of that.',
    labels: [],
  },
  godwit_images_quota_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'What images and kept copies may take; +Inf without a quota.',
    labels: [],
  },
  godwit_images_pinned: { type: 'gauge', unit: '', help: 'Images that are pinned on this peer.', labels: [] },
  godwit_store_scrubbed_bytes_total: {
    type: 'counter',
    unit: 'bytes',
    help: 'Stored frames that were read again to see that the disk has not changed them.',
    labels: [],
  },
  godwit_store_damaged_chunks_total: {
    type: 'counter',
    unit: '',
    help: 'Chunks that were found changed by the disk, and forgotten so that they are fetched again.',
    labels: [],
  },
  godwit_store_collected_bytes_total: {
    type: 'counter',
    unit: 'bytes',
    help: 'Room that came back by dropping chunks that no image names.',
    labels: [],
  },
  godwit_gossip_messages_total: {
    type: 'counter',
    unit: '',
    help: 'Samples and digests received, by what was made of them: accept, ignore or reject.',
    labels: ['topic', 'verdict'],
  },
  godwit_event_loop_delay_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Delay of the event loop since it was last read: mean, p99 and max.',
    labels: ['stat'],
  },
  process_resident_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Resident memory of this process.',
    labels: [],
  },
  process_cpu_seconds_total: {
    type: 'counter',
    unit: 'seconds',
    help: 'CPU time that this process has used.',
    labels: [],
  },
  process_start_time_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'When this process started, since 1970.',
    labels: [],
  },
} as const satisfies Record<string, Metric>

export const METRICS: Readonly<Record<MetricName, Metric>> = rows

export type MetricName = keyof typeof rows
type LabelOf<N extends MetricName> = (typeof rows)[N]['labels'][number]

/**
 * A number for a metric without labels; else one reading per combination, `{ state: 'alive', value: 3 }`. No row may be left
 * out: what is documented is there.
 */
export type MetricValues = {
  readonly [N in MetricName]: [LabelOf<N>] extends [never]
    ? number
    : readonly ({ readonly [L in LabelOf<N>]: string } & { readonly value: number })[]
}

/** Series of one metric: what a scrape of a large mesh may cost. More are left out, the first by order stay. */
const SERIES_MAX = 1_024

export function render(values: Partial<MetricValues>, done: Done<string>): void {
  // Loaded by the first scrape: a peer that nobody scrapes does not pay for it.
  import('prom-client')
    .then(({ Counter, Gauge, Registry }) => {
      const registry: Registry = new Registry()
      for (const [name, { type, help, labels }] of Object.entries(METRICS)) {
        const given = values[name as MetricName]
        if (given === undefined) continue
        const terms = { name, help, labelNames: labels, registers: [registry] }
        const set = adder(type === 'counter' ? new Counter(terms) : new Gauge(terms))
        for (const { value, ...rest } of typeof given === 'number'
          ? [{ value: given }]
          : given.slice(0, SERIES_MAX)) {
          if (!Number.isNaN(value)) set(rest, value)
        }
      }
      return registry.metrics()
    })
    .then(
      (text) => done(ok(text)),
      (error: unknown) => done(failed({ code: 'INTERNAL', why: `metrics: ${String(error).slice(0, 200)}` })),
    )
}

type Labels = Readonly<Record<string, string>>

/** A counter made for one scrape is raised from zero to its value. */
function adder(
  metric: { inc(labels: Labels, value: number): void } & { set?(labels: Labels, value: number): void },
) {
  return (labels: Labels, value: number): void => {
    if (metric.set === undefined) metric.inc(labels, Math.max(0, value))
    else metric.set(labels, value)
  }
}

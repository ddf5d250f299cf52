/** What a peer counts, and the values of its metrics at one moment (their names and meaning: metrics.ts). */
import type { Verdict } from '../protocols/broadcast.ts'
import { hostsForPlacement } from './catalog/site.ts'
import type { Context } from './context.ts'
import { nameOfPeer } from './lookup.ts'
import type { MetricValues } from './metrics.ts'
import { showGroups, showPeers, showStatus } from './show.ts'

/** This process, as the operating system sees it. */
export type Vitals = {
  readonly residentBytes: number
  readonly cpuSeconds: number
  /** Since 1970. */
  readonly startSeconds: number
  readonly loopDelaySeconds: { readonly mean: number; readonly p99: number; readonly max: number }
}

type Grown = Record<
  | 'godwit_store_scrubbed_bytes_total'
  | 'godwit_store_damaged_chunks_total'
  | 'godwit_store_collected_bytes_total',
  number
>

/** Counters: they only grow, from zero with the process. */
export class Counts {
  readonly #badFrames = new Map<string, number>()
  readonly #gossip = new Map<string, { topic: string; verdict: string; value: number }>()

  readonly #grown: Grown = {
    godwit_store_scrubbed_bytes_total: 0,
    godwit_store_damaged_chunks_total: 0,
    godwit_store_collected_bytes_total: 0,
  }

  badFrame(protocol: string): void {
    this.#badFrames.set(protocol, (this.#badFrames.get(protocol) ?? 0) + 1)
  }

  gossip(topic: 'sample' | 'digest', verdict: Verdict): void {
    const key = `${topic} ${verdict}`
    const counted = this.#gossip.get(key) ?? { topic, verdict, value: 0 }
    counted.value++
    this.#gossip.set(key, counted)
  }

  grow(counter: keyof Grown, by: number): void {
    this.#grown[counter] += by
  }

  values(): Pick<MetricValues, 'godwit_frames_bad_total' | 'godwit_gossip_messages_total'> & Grown {
    return {
      ...this.#grown,
      godwit_frames_bad_total: [...this.#badFrames].map(([protocol, value]) => ({ protocol, value })),
      godwit_gossip_messages_total: [...this.#gossip.values()],
    }
  }
}

export function figures(context: Context, ready: boolean, vitals: Vitals): MetricValues {
  const { agreement, config, jobs, ports, vms } = context
  const status = showStatus(context, ready)
  const peers = showPeers(context)
  const groups = showGroups(context)
  const byGroup = (value: (group: (typeof groups)[number]) => number): { group: string; value: number }[] =>
    groups.map((group) => ({ group: group.group, value: value(group) }))
  const host = hostsForPlacement(agreement.site.state).find(({ id }) => id === config.identity.peer)
  const { mean, p99, max } = vitals.loopDelaySeconds
  return {
    ...context.counts.values(),
    godwit_build_info: [{ version: config.version, value: 1 }],
    godwit_ready: ready ? 1 : 0,
    godwit_peer_up: peers.map(({ name, site, state }) => ({
      peer: name,
      site,
      value: state === 'alive' ? 1 : 0,
    })),
    godwit_peers: tally(peers.map(({ state }) => state)),
    godwit_peer_rtt_seconds: ports.transport.connected().flatMap((peer) => {
      const rttMs = ports.transport.rttMs(peer)
      return rttMs === undefined ? [] : [{ peer: nameOfPeer(context, peer), value: rttMs / 1_000 }]
    }),
    godwit_membership_health: context.observation.health(),
    godwit_sites_cut_off: status.cutOffFrom.length,
    godwit_vms: tally(vms.grants().map(({ vm }) => vms.view(vm)?.state ?? 'unknown')),
    godwit_images_used_bytes: status.room.usedBytes,
    godwit_images_kept_bytes: status.room.keptBytes,
    godwit_images_quota_bytes: status.room.quotaBytes ?? Infinity,
    godwit_images_pinned: context.keeping.pins.list().length,
    godwit_host_memory_capacity_bytes: config.capacity.memoryMiB * 1024 ** 2,
    godwit_host_memory_committed_bytes: (host?.committed.memoryMiB ?? 0) * 1024 ** 2,
    godwit_jobs: tally(jobs.list().map(({ state }) => state)),
    godwit_raft_term: byGroup(({ term }) => term),
    godwit_raft_commit_index: byGroup(({ commit }) => commit),
    godwit_raft_applied_index: byGroup(({ applied }) => applied),
    godwit_raft_last_index: byGroup(({ lastIndex }) => lastIndex),
    godwit_raft_role: groups.map(({ group, role }) => ({ group, role, value: 1 })),
    godwit_raft_has_leader: byGroup(({ leader }) => (leader === '' ? 0 : 1)),
    godwit_raft_log_damaged: byGroup(({ damaged }) => (damaged === '' ? 0 : 1)),
    godwit_raft_log_unwritable: byGroup(({ unwritable }) => (unwritable === '' ? 0 : 1)),
    godwit_raft_feature_level: byGroup(({ level }) => level),
    godwit_raft_halted: byGroup(({ halted }) => (halted === '' ? 0 : 1)),
    godwit_event_loop_delay_seconds: [
      { stat: 'mean', value: mean },
      { stat: 'p99', value: p99 },
      { stat: 'max', value: max },
    ],
    process_resident_memory_bytes: vitals.residentBytes,
    process_cpu_seconds_total: vitals.cpuSeconds,
    process_start_time_seconds: vitals.startSeconds,
  }
}

function tally(states: readonly string[]): { state: string; value: number }[] {
  const counts = new Map<string, number>()
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...counts].map(([state, value]) => ({ state, value }))
}

/** What `npm run simulate -- swarm` says of one swarm of the real cores: how near to its bound it brought one image to all. */
import { SETTING, SHARED } from './setting.ts'
import { simulate } from './simulation.ts'

export type Options = {
  readonly peers?: number
  readonly chunks?: number
  readonly up?: number
  readonly down?: number
  readonly source?: number
  readonly rtt?: number
  readonly shared?: true
  readonly seed?: number
}

/** Figures by the names that benchmarks have for them. */
export function reportOf(options: Options): Record<string, number> {
  const { peers, chunks, up, down, source, rtt, shared, seed = 1 } = options
  const setting = {
    ...SETTING,
    ...(shared === true && SHARED),
    ...(source !== undefined && { source: { upMbit: source } }),
    ...(rtt !== undefined && { delayMs: rtt / 2 }),
    ...(peers !== undefined && { peers }),
    ...(chunks !== undefined && { chunks }),
    ...(up !== undefined && { upMbit: up }),
    ...(down !== undefined && { downMbit: down }),
  }
  const { boundMs, lastMs, medianMs, egress, duplicates, events } = simulate(setting, seed)
  return {
    seed,
    peers: setting.peers,
    bound_s: boundMs / 1_000,
    last_over_tstar: lastMs / boundMs,
    median_over_tstar: medianMs / boundMs,
    egress_over_w: egress,
    duplicates,
    events,
  }
}

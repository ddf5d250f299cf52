/** What `npm run simulate -- swarm` says of one swarm of the real cores: how near to its bound it brought one image to all. */
import { SETTING } from './setting.ts'
import { simulate } from './simulation.ts'

export type Options = {
  readonly peers?: number
  readonly chunks?: number
  readonly up?: number
  readonly down?: number
  readonly seed?: number
}

/** Figures by the names that benchmarks have for them. */
export function reportOf({ peers, chunks, up, down, seed = 1 }: Options): Record<string, number> {
  const setting = {
    ...SETTING,
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

/**
 * Makes a failing setup smaller while it fails in the same way: fewer faults (by halves, then one by one), no message
 * faults, fewer groups, clients and hosts, an earlier end. Bounded: each try costs a whole run.
 */
import { type RaftReport, runSetup } from './run.ts'
import type { Setup } from './setup.ts'

const TRIES_MAX = 150

export type Shrunk = { readonly setup: Setup; readonly why: string; readonly tries: number }

/** The rule that failed, without what was seen. */
const rule = (why: string): string => why.split(':')[0] ?? ''

/** @param attempt Runs a setup; says why it failed, empty if it held, and when it ended. */
export function shrink(
  setup: Setup,
  why: string,
  attempt: (setup: Setup) => Pick<RaftReport, 'why' | 'atUs'> = (each) => runSetup(each, () => 0).report,
): Shrunk {
  let best: Shrunk = { setup, why, tries: 0 }
  let tries = 0
  /** Whether it still fails so; then it is the new best. */
  const holds = (next: Setup): boolean => {
    if (tries >= TRIES_MAX) return false
    tries++
    const report = attempt(next)
    if (report.why === '' || rule(report.why) !== rule(why)) return false
    // Whatever comes after the failure does not matter; a failure of liveness needs all of the time before it.
    const safetyUs = rule(why).startsWith('I20') ? next.safetyUs : Math.min(next.safetyUs, report.atUs + 1)
    const faults = next.faults.filter(({ atUs }) => atUs <= safetyUs)
    best = { setup: { ...next, faults, safetyUs }, why: report.why, tries }
    return true
  }
  holds(setup)
  for (const simpler of SIMPLER) {
    const next = simpler(best.setup)
    if (next !== undefined) holds(next)
  }
  fewerFaults(() => best.setup, holds)
  for (let hosts = best.setup.hosts - 1; hosts > 0; hosts--) {
    const needed = Math.max(...best.setup.groups.flatMap(({ founders }) => founders)) + 1
    if (hosts < needed || !holds(withHosts(best.setup, hosts))) break
  }
  return { ...best, tries }
}

const withHosts = (setup: Setup, hosts: number): Setup => ({
  ...setup,
  hosts,
  groups: setup.groups.map((group) => ({ ...group, spares: group.spares.filter((n) => n < hosts) })),
})

const SIMPLER: readonly ((setup: Setup) => Setup | undefined)[] = [
  (setup) => (setup.groups.length > 1 ? { ...setup, groups: setup.groups.slice(0, 1) } : undefined),
  (setup) => ({ ...setup, network: { ...setup.network, loss: 0 } }),
  (setup) => ({ ...setup, network: { ...setup.network, duplicate: 0, replay: 0 } }),
  (setup) => ({ ...setup, network: { ...setup.network, ordered: true } }),
  (setup) => ({ ...setup, groups: setup.groups.map((group) => ({ ...group, clients: 1 })) }),
  (setup) => ({ ...setup, clients: { ...setup.clients, keys: 1 } }),
]

/** Zeller's ddmin over the list of faults. */
function fewerFaults(best: () => Setup, holds: (next: Setup) => boolean): void {
  for (let parts = 2; best().faults.length > 0;) {
    const { faults } = best()
    const size = Math.ceil(faults.length / parts)
    const left = Array.from({ length: parts }, (_, part) =>
      faults.filter((_, at) => Math.floor(at / size) !== part),
    ).find((some) => some.length < faults.length && holds({ ...best(), faults: some }))
    if (left !== undefined) parts = Math.max(2, parts - 1)
    else if (size === 1) return
    else parts = Math.min(best().faults.length, parts * 2)
  }
}

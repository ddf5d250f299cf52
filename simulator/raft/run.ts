/** One seed of tier A, from a setup to a report. */
import { Violation } from '../scenario.ts'
import { FAULTS } from './faults.ts'
import type { History } from './history.ts'
import { RaftTrace } from './raft-trace.ts'
import { Script } from './scenario.ts'
import { scenarioNamed } from './scenarios.ts'
import type { Setup } from './setup.ts'
import { Simulation } from './simulation.ts'

export type RaftReport = {
  readonly seed: number
  readonly ok: boolean
  /** The rule that was broken and how, in one line; empty when all held. */
  readonly why: string
  readonly atUs: number
  readonly events: number
  readonly hash: string
  readonly cpuMs: number
  /** By fault, how often it struck. */
  readonly faults: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
  /** What a scenario measured. */
  readonly figures: Readonly<Record<string, readonly number[]>>
}

/** @param cpuMs CPU time of this thread so far; a simulation has no clock of its own. */
export function runSetup(setup: Setup, cpuMs: () => number): { report: RaftReport; simulation: Simulation } {
  const before = cpuMs()
  const simulation = new Simulation(setup)
  const why = attempt(() => simulation.run(player(setup)))
  return { report: reportOf(simulation, why, cpuMs() - before), simulation }
}

/** As `runSetup`, and the mesh group's steps are written down. */
export function runTraced(setup: Setup): { simulation: Simulation; trace: RaftTrace; why: string } {
  const simulation = new Simulation(setup)
  const trace = new RaftTrace()
  const [mesh] = simulation.groups
  if (mesh !== undefined) mesh.trace = trace
  return { simulation, trace, why: attempt(() => simulation.run(player(setup))) }
}

/** What clients saw up to the end, also when something else was seen to break before. */
export function wholeHistory(setup: Setup): History {
  const simulation = new Simulation(setup, [])
  attempt(() => simulation.run(player(setup)))
  return simulation.history
}

/** What the setup's scenario does. */
function player({ scenario }: Setup): ((simulation: Simulation) => void) | undefined {
  const named = scenario === undefined ? undefined : scenarioNamed(scenario)
  return named && ((simulation) => named.play(new Script(simulation, named.name)))
}

function attempt(run: () => void): string {
  try {
    run()
    return ''
  } catch (error) {
    if (error instanceof Violation) return error.message
    return `exception: ${error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 6).join(' | ') : String(error)}`
  }
}

function reportOf(simulation: Simulation, why: string, cpuMs: number): RaftReport {
  const { setup, timeline, struck, network, clients, groups, recovery, unjudged } = simulation
  const sum = (name: 'ok' | 'fail' | 'info'): number =>
    clients.reduce((total, { ended }) => total + ended[name], 0)
  const members = groups.flatMap((group) => [...group.members.values()])
  return {
    seed: setup.seed,
    ok: why === '',
    why,
    atUs: timeline.nowUs,
    events: timeline.steps,
    hash: timeline.hash(),
    cpuMs: Math.round(cpuMs),
    faults: Object.fromEntries(
      FAULTS.flatMap(({ name }) => (struck[name] === undefined ? [] : [[name, struck[name]]])),
    ),
    counts: {
      ok: sum('ok'),
      fail: sum('fail'),
      info: sum('info'),
      committed: groups.reduce((total, { truth }) => total + truth.committedTo, 0),
      terms: Math.max(0, ...members.map(({ raft }) => raft.term)),
      overlaps: groups.reduce((total, { truth }) => total + truth.overlaps, 0),
      lost: members.filter(({ gone }) => gone).length,
      messages: network.sent,
      dropped: network.lost,
      leaderMs: Math.round((recovery?.leaderUs ?? 0) / 1_000),
      wellMs: Math.round((recovery?.wellUs ?? 0) / 1_000),
      unjudged,
      featured: groups.reduce((total, { features }) => total + features.used, 0),
      halted: groups.reduce((total, { features }) => total + features.halted, 0),
    },
    figures: { ...simulation.figures },
  }
}

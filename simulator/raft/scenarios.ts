/** The named scenarios of tier A, and the setup of one seed. */
import { type RaftScenario, setupFor } from './scenario.ts'
import { JEPSEN } from './scenarios/jepsen.ts'
import { PARTIAL } from './scenarios/partial.ts'
import { UPGRADE } from './scenarios/upgrade.ts'
import { WAN } from './scenarios/wan.ts'
import { drawn, type Setup } from './setup.ts'

export const SCENARIOS: readonly RaftScenario[] = [...JEPSEN, ...PARTIAL, ...UPGRADE, ...WAN]

/** Virtual minutes of a swarm seed unless told. */
const MINUTES = 2

export const scenarioNamed = (name: string): RaftScenario | undefined =>
  SCENARIOS.find((each) => each.name === name)

/** What one seed of a scenario is, or of the swarm when none is named. */
export function setupOf(scenario: string | undefined, seed: number, minutes: number | undefined): Setup {
  const named = scenario === undefined ? undefined : scenarioNamed(scenario)
  return named === undefined ? drawn(seed, minutes ?? MINUTES) : setupFor(named, seed)
}

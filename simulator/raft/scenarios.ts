/** The named scenarios of tier A, and the setup of one seed. */
import { drawn, type Setup } from './setup.ts'

export type RaftScenario = {
  readonly name: string
  readonly summary: string
  setup(seed: number, minutes: number | undefined): Setup
}

export const SCENARIOS: readonly RaftScenario[] = []

/** Virtual minutes of a swarm seed unless told. */
const MINUTES = 2

/** What one seed of a scenario is, or of the swarm when none is named. */
export function setupOf(scenario: string | undefined, seed: number, minutes: number | undefined): Setup {
  const named = SCENARIOS.find(({ name }) => name === scenario)
  return named === undefined ? drawn(seed, minutes ?? MINUTES) : named.setup(seed, minutes)
}

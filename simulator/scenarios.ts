/** All scenarios, in the order in which they are listed. */
import type { Scenario } from './scenario.ts'
import { links } from './scenarios/links.ts'

export const SCENARIOS: readonly Scenario[] = [links]

export const scenarioNamed = (name: string): Scenario | undefined =>
  SCENARIOS.find((each) => each.name === name)

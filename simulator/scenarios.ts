/** All scenarios, in the order in which they are listed. */
import type { Scenario } from './scenario.ts'
import { diskFull } from './scenarios/disk-full.ts'
import { follow } from './scenarios/follow.ts'
import { links } from './scenarios/links.ts'
import { mesh } from './scenarios/mesh.ts'
import { recover } from './scenarios/recover.ts'
import { restore } from './scenarios/restore.ts'
import { ROLES } from './scenarios/roles.ts'

export const SCENARIOS: readonly Scenario[] = [mesh, links, recover, follow, diskFull, restore, ...ROLES]

export const scenarioNamed = (name: string): Scenario | undefined =>
  SCENARIOS.find((each) => each.name === name)

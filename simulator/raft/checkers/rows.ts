/** All invariants of tier A, one row each, under the names of the check-list and of etcd's TLA+ specification. */
import type { Checker } from './checker.ts'
import { COMMIT } from './commit.ts'
import { CONFIGURATION } from './configuration.ts'
import { ELECTION } from './election.ts'
import { LIVENESS } from './liveness.ts'
import { LOG } from './log.ts'
import { SESSIONS } from './sessions.ts'

export const CHECKERS: readonly Checker[] = [
  ...ELECTION,
  ...LOG,
  ...COMMIT,
  ...CONFIGURATION,
  ...SESSIONS,
  ...LIVENESS,
]

/** `add-nodes`: nodes come up, with the settings that scripts were written for. */
import { NOBODY } from '../../../protocols/raft/configuration.ts'
import { create } from '../../../protocols/raft/raft.ts'
import type { Configuration, RaftConfig } from '../../../protocols/raft/types.ts'
import { idsOf, isTrue, valueOf } from './arguments.ts'
import type { Argument, Command } from './data-driven.ts'
import { type Environment, log } from './environment.ts'
import { memberOf, parseNumber, ScriptError } from './members.ts'
import { born } from './narrate.ts'

export const ELECTION_TICKS = 3
export const HEARTBEAT_TICKS = 1

/** Without the bounds of the product, and without PreVote and CheckQuorum. */
const DEFAULTS: Omit<RaftConfig, 'self'> = {
  cluster: 'script',
  group: 'script',
  generation: 0,
  electionTicks: ELECTION_TICKS,
  heartbeatTicks: HEARTBEAT_TICKS,
  // The longest timeout: nobody campaigns that the script did not tell to.
  dice: () => 0.999,
  entriesKept: Number.MAX_SAFE_INTEGER,
  // As many as a script has patience for.
  writesInFlight: Number.MAX_SAFE_INTEGER,
  repeatPromises: true,
  preVote: false,
  checkQuorum: false,
  stepDownOnRemoval: false,
  maxInflightMsgs: Number.MAX_SAFE_INTEGER,
  maxInflightBytes: Number.MAX_SAFE_INTEGER,
  maxSizePerMsg: Number.MAX_SAFE_INTEGER,
}

/** What each word of `add-nodes` changes about that. */
const SETTINGS: Readonly<Record<string, (value: string) => Partial<RaftConfig>>> = {
  inflight: (value) => ({ maxInflightMsgs: parseNumber(value) }),
  'max-inflight': (value) => ({ maxInflightMsgs: parseNumber(value) }),
  'max-size-per-msg': (value) => ({ maxSizePerMsg: parseNumber(value) }),
  'max-committed-size-per-ready': (value) => ({ maxCommittedSizePerReady: parseNumber(value) }),
  prevote: (value) => ({ preVote: isTrue(value) }),
  checkquorum: (value) => ({ checkQuorum: isTrue(value) }),
  'step-down-on-removal': (value) => ({ stepDownOnRemoval: isTrue(value) }),
  'disable-conf-change-validation': (value) => ({ disableConfChangeValidation: isTrue(value) }),
  'read-only': (value) => ({ readOnly: readOnly(value) }),
  read_only: (value) => ({ readOnly: readOnly(value) }),
}

function readOnly(value: string): 'safe' | 'lease-based' {
  if (value === 'safe' || value === 'lease-based') return value
  throw new ScriptError(`invalid read-only option "${value}"`)
}

/** `add-nodes 3 voters=(1,2,3) index=10`: new nodes, numbered on, that begin with a snapshot or, without one, empty. */
export function addNodes(environment: Environment, command: Command): void {
  const members = (key: string): string[] =>
    command.arguments
      .filter((each) => each.key === key)
      .flatMap(({ values }) => values.map((id) => memberOf(parseNumber(id))))
      .sort()
  const configuration: Configuration = { ...NOBODY, voters: members('voters'), learners: members('learners') }
  const index = parseNumber(valueOf(command, 'index') ?? '0')
  const data = new TextEncoder().encode(valueOf(command, 'content') ?? '')
  const isEmpty = index + data.length + configuration.voters.length + configuration.learners.length === 0
  if (!isEmpty && index <= 1) throw new ScriptError('index must be specified as > 1 due to bootstrap')
  const settings = command.arguments.map(settingOf)
  const snapshot = { index, term: isEmpty ? 0 : 1, configuration, data }
  for (let count = idsOf(command)[0] ?? 0; count > 0; count--) {
    const id = environment.nodes.length + 1
    const config: RaftConfig = Object.assign({ ...DEFAULTS, self: memberOf(id) }, ...settings)
    const hardState = { term: 0, vote: '', commit: isEmpty ? 0 : index }
    const raft = create(config, { hardState, snapshot, entries: [] })
    environment.nodes.push({
      id,
      raft,
      isAsync: isTrue(valueOf(command, 'async-storage-writes')),
      disk: { first: index + 1, entries: [] },
      history: [snapshot],
      told: { leader: '', role: 'follower', hardState },
      outbox: [],
      own: [],
      spoken: new Set(),
      appendWork: [],
      applyWork: [],
      givenTo: index,
      appendedTo: index,
    })
    log(environment, born(raft))
  }
}

function settingOf({ key, values }: Argument): Partial<RaftConfig> {
  const value = values[0]
  const set = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined
  return set === undefined || value === undefined ? {} : set(value)
}

/** Each rule about feature levels is broken once, and says so. */
import test from 'ava'
import { FEATURE_LEVEL } from '../../../protocols/features.ts'
import { NOBODY } from '../../../protocols/raft/configuration.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { FeatureChecks } from '../../../simulator/raft/checkers/features.ts'
import { VERSIONS } from '../../../simulator/raft/version.ts'

type Upgraded = Parameters<FeatureChecks['applied']>[0]

const [now, before] = VERSIONS
const member = (id: string, changes: Partial<Upgraded> = {}): Upgraded => ({
  id,
  raft: {
    term: 3,
    configuration: { ...NOBODY, voters: ['a', 'b'], learners: ['c'] },
  } as unknown as Upgraded['raft'],
  machineIndex: 16,
  version: now,
  halted: undefined,
  bytes: () => Uint8Array.of(1),
  ...changes,
})
const says = (from: string, term = 3): Message =>
  ({ kind: 'MsgHeartbeatResp', from, to: 'a', term, level: FEATURE_LEVEL }) as Message

const rules: readonly [what: string, breaks: (checks: FeatureChecks) => void, why: RegExp][] = [
  [
    'a learner has not said that it knows the level',
    (checks) => {
      checks.sent(says('b'))
      checks.proposes(member('a'), FEATURE_LEVEL)
    },
    /not said by c$/,
  ],
  [
    'a voter has said so in another term',
    (checks) => {
      checks.sent(says('b', 2))
      checks.sent(says('c'))
      checks.proposes(member('a'), FEATURE_LEVEL)
    },
    /not said by b$/,
  ],
  [
    'a command takes effect before its level',
    (checks) => checks.tookEffect(member('a'), { kind: 'set', key: 'k', value: 1 }),
    /carried out set at 16, before its level/,
  ],
  [
    'a field takes effect at the entry that raises the level, or before',
    (checks) => {
      checks.raised(member('b', { machineIndex: 17 }), FEATURE_LEVEL)
      checks.tookEffect(member('a'), { kind: 'put', key: 'k', value: 1, mark: 1 })
    },
    /carried out put at 16/,
  ],
  ['who knows the level is halted', (checks) => checks.halts(member('a'), FEATURE_LEVEL), /which it knows/],
  [
    'who is halted applies something',
    (checks) => checks.applied(member('a', { version: before, halted: FEATURE_LEVEL })),
    /is halted, and applied 16/,
  ],
  [
    'two states at one index',
    (checks) => {
      checks.applied(member('a'))
      checks.applied(member('b', { version: before, bytes: () => Uint8Array.of(2) }))
    },
    /other bytes at 16/,
  ],
]
for (const [what, breaks, why] of rules) {
  test(`found: ${what}`, (t) => {
    t.throws(() => breaks(new FeatureChecks()), { message: why })
  })
}

test('what is in order is let be', (t) => {
  const checks = new FeatureChecks()
  for (const from of ['b', 'c']) checks.sent(says(from))
  t.notThrows(() => {
    checks.proposes(member('a'), FEATURE_LEVEL)
    checks.raised(member('a', { machineIndex: 15 }), FEATURE_LEVEL)
    checks.tookEffect(member('a'), { kind: 'set', key: 'k', value: 1 })
    checks.halts(member('b', { version: before }), FEATURE_LEVEL)
    checks.applied(member('a'))
    checks.applied(member('c'))
  })
  t.is(checks.used, 1)
  t.is(checks.halted, 1)
})

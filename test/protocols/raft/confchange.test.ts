import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import {
  changed,
  describeConfiguration,
  enterJoint,
  faultOf,
  leaveJoint,
  type Outcome,
  simple,
} from '../../../protocols/raft/confchange.ts'
import { membersOf, NOBODY } from '../../../protocols/raft/configuration.ts'
import type { Configuration, ConfigurationChange, SingleChange } from '../../../protocols/raft/types.ts'

const KINDS = { v: 'add-node', l: 'add-learner-node', r: 'remove-node', u: 'update-node' } as const

/** `v1 l2`: adds voter 1, makes 2 a learner. */
const changes = (text: string): SingleChange[] =>
  text === ''
    ? []
    : text.split(' ').map((each) => ({ kind: KINDS[each[0] as keyof typeof KINDS], peer: each.slice(1) }))

const text = (outcome: Outcome): string =>
  'refused' in outcome ? outcome.refused : describeConfiguration(outcome.configuration, (member) => member)

const begun = (what: string): Configuration => {
  const outcome = changed(NOBODY, { transition: 'auto', changes: changes(what) })
  return 'refused' in outcome ? NOBODY : outcome.configuration
}

/** What an entry of the log makes of a group; the scripts in test/fixtures/raft-scripts say more of each half of it. */
const entries: [
  before: string,
  transition: ConfigurationChange['transition'],
  change: string,
  after: string,
][] = [
  // The first entry of a group, and what it may not be.
  ['', 'auto', 'v1 v2 v3', 'voters=(1 2 3)'],
  ['', 'implicit', 'v1 l2', 'voters=(1) learners=(2)'],
  ['', 'auto', 'l1', 'removed all voters'],
  ['', 'auto', '', "can't leave a non-joint config"],
  // One change is simple unless told, several are joint.
  ['v1 v2', 'auto', 'v3', 'voters=(1 2 3)'],
  ['v1 v2', 'auto', 'v3 v4', 'voters=(1 2 3 4)&&(1 2) autoleave'],
  ['v1 v2', 'auto', 'r2 v3', 'voters=(1 3)&&(1 2) autoleave'],
  ['v1 v2', 'implicit', 'v3', 'voters=(1 2 3)&&(1 2) autoleave'],
  ['v1 v2', 'explicit', 'l2 l3', 'voters=(1)&&(1 2) learners=(3) learners_next=(2)'],
  ['v1 v2', 'explicit', '', 'voters=(1 2)&&(1 2)'],
  ['v1', 'auto', 'r1', 'removed all voters'],
]
for (const [before, transition, change, after] of entries) {
  test(`(${before}) with ${transition} (${change}) is ${after}`, (t) => {
    t.is(text(changed(begun(before), { transition, changes: changes(change) })), after)
  })
}

test('while a configuration is joint, nothing but leaving it is taken', (t) => {
  const joint = enterJoint(begun('v1 v2 l3'), true, changes('l1 v3'))
  t.is(text(joint), 'voters=(2 3)&&(1 2) learners_next=(1) autoleave')
  const configuration = 'refused' in joint ? NOBODY : joint.configuration
  const attempts: ConfigurationChange[] = [
    { transition: 'auto', changes: changes('v4') },
    { transition: 'auto', changes: changes('v4 v5') },
    { transition: 'explicit', changes: [] },
  ]
  for (const attempt of attempts) t.true('refused' in changed(configuration, attempt))
  t.is(text(leaveJoint(configuration)), 'voters=(2 3) learners=(1)')
})

test('a configuration that breaks a rule is found out', (t) => {
  const cases: [Partial<Configuration>, string][] = [
    [{ learners: ['1'] }, '1 is in Learners and Voters[0]'],
    [{ votersOutgoing: ['2'], learners: ['2'] }, '2 is in Learners and Voters[1]'],
    [{ learnersNext: ['2'] }, '2 is in LearnersNext, but not Voters[1]'],
    [{ autoLeave: true }, 'AutoLeave must be false when not joint'],
  ]
  for (const [what, fault] of cases) t.is(faultOf({ ...NOBODY, voters: ['1'], ...what }), fault)
})

const someChanges = fc.array(
  fc.record({
    kind: fc.constantFrom(...Object.values(KINDS)),
    peer: fc.constantFrom('1', '2', '3', '4', '5'),
  }),
  { maxLength: 6 },
)
const configurations = fc.tuple(someChanges, someChanges).map(([first, second]) => {
  const voters = [{ kind: 'add-node' as const, peer: '1' }, ...first]
  const one = changed(NOBODY, { transition: 'auto', changes: voters })
  const configuration = 'refused' in one ? begun('v1') : one.configuration
  const joint = enterJoint(configuration, false, second)
  return 'refused' in joint
    ? { configuration, joint: undefined }
    : { configuration, joint: joint.configuration }
})

testProp('what comes out keeps the rules', [configurations], (t, { configuration, joint }) => {
  t.is(faultOf(configuration), undefined)
  if (joint === undefined) return
  t.is(faultOf(joint), undefined)
  t.deepEqual(joint.votersOutgoing, configuration.voters)
  const left = leaveJoint(joint)
  if ('refused' in left) return t.fail(left.refused)
  t.is(faultOf(left.configuration), undefined)
  t.deepEqual(left.configuration.voters, joint.voters)
  // Whoever is still in it loses nothing of what the leader knows of it.
  for (const member of membersOf(left.configuration)) t.true(membersOf(joint).includes(member))
})

testProp(
  'a simple change leaves no two majorities apart',
  [configurations, someChanges],
  (t, { configuration }, what) => {
    const outcome = simple(configuration, what)
    if ('refused' in outcome) return t.pass()
    const [before, after] = [configuration.voters, outcome.configuration.voters]
    const both = before.filter((member) => after.includes(member)).length
    // The worst case: all who are in one only are in its majority.
    const quorums = Math.floor(before.length / 2) + 1 + Math.floor(after.length / 2) + 1
    return t.true(quorums > before.length + after.length - both)
  },
)

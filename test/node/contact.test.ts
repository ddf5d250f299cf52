/** How old what is shown of a group is, and who is missing, by what was heard of whom. */
import test from 'ava'
import { Contact } from '../../node/contact.ts'
import type { Configuration } from '../../protocols/raft/types.ts'

const timing = { heartbeatTicks: 10, electionTicks: 100 }
const HEARTBEAT_MS = 100
const ELECTION_MS = 1_000

const configuration = (voters: string[], rest: Partial<Configuration> = {}): Configuration => ({
  voters: voters.map((peer) => `${peer}#1`),
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
  ...rest,
})
const three = configuration(['a', 'b', 'c'])
const sees = (): boolean => true

test('a leader is as fresh as its majority: one silent voter of three costs nothing', (t) => {
  const contact = new Contact('a', 0)
  const known = { role: 'leader', leader: 'a', timing, configuration: three }
  contact.heard('b', false, 10_000)
  t.deepEqual(contact.freshness(known, 10_000 + HEARTBEAT_MS / 2), { ageMs: 0, stale: false })
  t.deepEqual(contact.freshness(known, 15_000), { ageMs: 5_000, stale: false })
  t.deepEqual(contact.missing(known, sees, 10_000), [])
  t.false(contact.isSilent(known, 'b', 10_000 + 3 * HEARTBEAT_MS))
  t.true(contact.isSilent(known, 'b', 10_001 + 3 * HEARTBEAT_MS))
  t.deepEqual(contact.missing(known, sees, 15_000), ['b', 'c'])
})

test('both majorities of a joint configuration count', (t) => {
  const contact = new Contact('a', 0)
  const joint = configuration(['a'], { votersOutgoing: ['a#1', 'b#1', 'c#1'] })
  const known = { role: 'leader', leader: 'a', timing, configuration: joint }
  t.is(contact.freshness(known, 5_000).ageMs, 5_000)
  t.deepEqual(contact.missing(known, sees, 5_000), ['b', 'c'])
})

test('a follower is as fresh as the last word of its leader, and stale without one', (t) => {
  const contact = new Contact('b', 0)
  const known = { role: 'follower', leader: 'a', timing, configuration: three }
  contact.heard('a', true, 1_000)
  t.deepEqual(contact.freshness(known, 1_050), { ageMs: 0, stale: false })
  t.deepEqual(contact.freshness({ ...known, leader: '' }, 1_700), { ageMs: 700, stale: true })
  // A learner never gives its leader up: its silence says it.
  t.true(contact.freshness(known, 1_000 + 2 * ELECTION_MS + 1).stale)
})

test('a voter without a leader counts who answers its elections; others, whom membership sees', (t) => {
  const contact = new Contact('b', 0)
  const lost = { role: 'follower', leader: '', timing, configuration: three }
  contact.heard('c', false, 9_000)
  t.deepEqual(contact.missing(lost, sees, 9_000 + ELECTION_MS), [], 'c answers: there is a quorum')
  t.deepEqual(contact.missing(lost, sees, 9_000 + 2 * ELECTION_MS), ['a', 'c'])
  const rare = new Contact('b', 0)
  rare.heard('a', true, 1_000)
  for (const askedMs of [3_000, 5_000, 9_000]) {
    rare.asked(askedMs)
    rare.asked(askedMs)
    rare.heard('c', false, askedMs + 50)
  }
  t.deepEqual(rare.missing(lost, sees, 16_900), [], 'who answers is there, however rarely it is asked')
  rare.asked(17_000)
  t.deepEqual(rare.missing(lost, sees, 17_100), [], 'it may still answer')
  t.deepEqual(rare.missing(lost, sees, 21_100), ['a', 'c'], 'it did not')
  rare.heard('a', true, 22_000)
  t.deepEqual(rare.missing(lost, sees, 22_500), [], 'elections of before count no more')
  rare.asked(30_000)
  const overMs = 30_000 + 2 * ELECTION_MS
  t.deepEqual(rare.missing(lost, sees, overMs), ['a', 'c'], 'nor do they say how rarely it asks now')
  const led = new Contact('b', 0)
  led.asked(1_000)
  led.heard('c', true, 20_000)
  led.asked(21_000)
  t.deepEqual(
    led.missing(lost, sees, 20_000 + 2 * ELECTION_MS),
    ['a', 'c'],
    'who led counts from its last follower',
  )
  const outside = new Contact('z', 0)
  t.deepEqual(outside.missing(lost, sees, 9_000), [])
  t.deepEqual(
    outside.missing(lost, (peer) => peer === 'a', 9_000),
    ['b', 'c'],
  )
})

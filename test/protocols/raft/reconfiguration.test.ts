/** Who is in the group changes while it works (Raft section 6): what a leader proposes, refuses, and leaves by itself. */
import test from 'ava'
import { emptyLog } from '../../../protocols/raft/genesis.ts'
import { hasCommittedInTerm } from '../../../protocols/raft/reading.ts'
import type { ConfigurationChange, SingleChange } from '../../../protocols/raft/types.ts'
import {
  change,
  Cluster,
  configurationOf,
  ELECTION_TICKS,
  founded,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  recoveredWith,
  says,
} from './cluster.ts'

const LEAVE: ConfigurationChange = { transition: 'auto', changes: [] }
const one = (kind: SingleChange['kind'], n: number): SingleChange => ({ kind, peer: peer(n) })
/** Member 4 in the place of `n`. */
const replace = (n: number, transition: ConfigurationChange['transition'] = 'auto'): ConfigurationChange => ({
  transition,
  changes: [one('remove-node', n), one('add-node', 4)],
})

/** Three voters led by the first, and a fourth that has nothing yet. */
function group(options: Cluster['options'] = {}): { cluster: Cluster; leader: Member } {
  const cluster = new Cluster()
  cluster.options = options
  for (const n of [1, 2, 3]) cluster.add(n, founded([1, 2, 3]))
  cluster.add(4, emptyLog())
  return { cluster, leader: cluster.elect(1) }
}

const whyNot = (member: Member, change: ConfigurationChange): unknown =>
  member
    .change(change)
    .flatMap((effect) => (effect.kind === 'refused' ? [effect.detail ?? effect.why] : []))[0]

test('confchange_v2_replace_leader: under both majorities, then it steps down and another leads', (t) => {
  const { cluster, leader } = group()
  leader.change(replace(1))
  const seen: string[] = []
  cluster.check = ({ raft: { configuration } }) => {
    const text = `${configuration.voters.length}&&${configuration.votersOutgoing.length}`
    if (!seen.includes(text)) seen.push(text)
  }
  cluster.settle()
  t.true(seen.includes('3&&3'))
  t.is(leader.raft.role, 'follower')
  cluster.tick(4 * ELECTION_TICKS)
  t.deepEqual(cluster.leaders().length, 1)
  t.false(cluster.leaders().includes(leader))
  cluster.leaders()[0]?.propose('a')
  cluster.settle()
  for (const n of [2, 3, 4]) {
    t.deepEqual(cluster.member(n).raft.configuration, configurationOf([2, 3, 4]))
    t.deepEqual(cluster.member(n).texts(), ['a'])
  }
  t.deepEqual(leader.texts(), [], 'it hears no more')
})

test('without stepDownOnRemoval a removed leader takes no proposals, and leads until another does', (t) => {
  const { cluster, leader } = group({ stepDownOnRemoval: false })
  leader.change(change('remove-node', 1))
  cluster.settle()
  t.is(leader.raft.role, 'leader')
  t.like(leader.propose('a', 3)[0], { kind: 'refused', token: 3, why: 'not-leader' })
})

test('an explicit change stays joint until it is told to leave, and takes no other', (t) => {
  const { cluster, leader } = group()
  leader.change(replace(3, 'explicit'))
  cluster.settle()
  t.like(leader.raft.configuration, {
    voters: [1, 2, 4].map(peer),
    votersOutgoing: [1, 2, 3].map(peer),
    autoLeave: false,
  })
  t.is(whyNot(leader, change('add-learner-node', 5)), 'must transition out of joint config first')
  leader.change(LEAVE)
  cluster.settle()
  t.deepEqual(leader.raft.configuration, configurationOf([1, 2, 4]))
  t.is(whyNot(leader, LEAVE), 'not in joint state; refusing empty conf change')
})

test('a voter that becomes a learner is staged while the old majority still needs it', (t) => {
  const { cluster, leader } = group()
  leader.change({ transition: 'explicit', changes: [one('add-learner-node', 3), one('add-node', 4)] })
  cluster.settle()
  t.like(leader.raft.configuration, { learners: [], learnersNext: [peer(3)] })
  leader.change(LEAVE)
  cluster.settle()
  t.deepEqual(leader.raft.configuration, configurationOf([1, 2, 4], [3]))
})

const refusals: [what: string, change: ConfigurationChange, why: string][] = [
  [
    'the last voters',
    { transition: 'auto', changes: [1, 2, 3].map((n) => one('remove-node', n)) },
    'removed all voters',
  ],
  [
    'more voters than VOTERS_MAX',
    { transition: 'implicit', changes: [4, 5, 6, 7, 8].map((n) => one('add-node', n)) },
    'more than 7 voters',
  ],
]
for (const [what, wish, why] of refusals) {
  test(`a change is refused that takes ${what}`, (t) => {
    const { cluster, leader } = group()
    cluster.settle()
    t.is(whyNot(leader, wish), why)
  })
}

test('disableConfChangeValidation: what breaks a rule enters the log, and is ignored there by everybody', (t) => {
  const { cluster, leader } = group({ disableConfChangeValidation: true })
  leader.change(LEAVE)
  leader.change(change('remove-node', 3))
  cluster.settle()
  cluster.tick(HEARTBEAT_TICKS)
  for (const n of [1, 2]) t.deepEqual(cluster.member(n).raft.configuration, configurationOf([1, 2]))
})

test('CommitAfterRemoveNode: what waited for a majority of two is committed by the one who is left', (t) => {
  const cluster = Cluster.of([1, 2])
  const leader = cluster.elect(1)
  leader.change(change('remove-node', 2))
  cluster.network = []
  leader.propose('hello')
  t.is(leader.raft.log.commit, 1)
  leader.feed({ kind: 'message', message: says('MsgAppResp', 1, { index: 2 }) })
  t.is(leader.raft.log.applied, 3)
  t.deepEqual(leader.texts(), ['hello'])
})

for (const name of ['ConfChangeCheckBeforeCampaign', 'ConfChangeV2CheckBeforeCampaign']) {
  test(`${name}: with a committed change that is not in force nobody campaigns, whoever asks`, (t) => {
    const { cluster, leader } = group({ checkQuorum: false, preVote: false })
    const second = cluster.member(2)
    leader.change(
      name.includes('V2')
        ? { transition: 'implicit', changes: [one('add-learner-node', 4)] }
        : change('add-learner-node', 4),
    )
    second.autoSync = false
    cluster.settle()
    leader.tick(HEARTBEAT_TICKS)
    cluster.settle()
    const commit = leader.raft.log.commit
    second.feed({ kind: 'message', message: says('MsgHeartbeat', 2, { from: peer(1), to: peer(2), commit }) })
    t.true(second.raft.log.applying < second.raft.log.commit)
    second.tick(2 * ELECTION_TICKS)
    t.is(second.raft.role, 'follower')
    second.feed({ kind: 'message', message: says('MsgTimeoutNow', 2, { from: peer(1), to: peer(2) }) })
    t.is(second.raft.role, 'follower')
    second.autoSync = true
    second.sync()
    cluster.settle()
    leader.transfer(2)
    cluster.settle()
    t.is(second.raft.role, 'leader')
    t.is(leader.raft.role, 'follower')
  })
}

test('a joint configuration is left by the next leader, if the one who entered it is gone', (t) => {
  const { cluster, leader } = group()
  leader.change(replace(3, 'implicit'))
  // The leader's own leave gets nowhere.
  cluster.passes = (sent) => sent.kind !== 'MsgApp' || leader.raft.log.commit < 3 || sent.index < 3
  cluster.settle()
  leader.crash()
  cluster.heal()
  cluster.network = []
  cluster.tick(6 * ELECTION_TICKS)
  const [next] = cluster.leaders()
  t.true(next !== undefined && hasCommittedInTerm(next.raft))
  t.deepEqual(next?.raft.configuration, configurationOf([1, 2, 4]))
})

test('of a leader in transfer the next leader leaves the joint configuration', (t) => {
  const { cluster, leader } = group()
  leader.change(replace(3, 'implicit'))
  leader.transfer(2)
  cluster.settle()
  cluster.tick(HEARTBEAT_TICKS)
  t.is(cluster.member(2).raft.role, 'leader')
  t.deepEqual(cluster.member(2).raft.configuration, configurationOf([1, 2, 4]))
})

test('a transfer that comes to nothing keeps a group joint no longer than itself', (t) => {
  const { cluster, leader } = group()
  cluster.passes = ({ kind }) => kind !== 'MsgTimeoutNow'
  leader.change(replace(3, 'implicit'))
  leader.transfer(2)
  cluster.settle()
  t.is(leader.raft.configuration.votersOutgoing.length, 3)
  for (let i = 0; i < ELECTION_TICKS; i++) {
    leader.tick()
    cluster.settle()
  }
  t.deepEqual(leader.raft.configuration, configurationOf([1, 2, 4]))
})

test('a snapshot in the middle of a joint configuration carries both halves', (t) => {
  const { cluster, leader } = group({ entriesKept: 0 })
  leader.change(replace(3, 'explicit'))
  cluster.settle()
  leader.propose('a')
  cluster.settle()
  leader.compact()
  leader.change(LEAVE)
  cluster.settle()
  leader.change(change('add-learner-node', 5))
  const fifth = cluster.add(5, emptyLog())
  cluster.tick(2 * HEARTBEAT_TICKS)
  t.is(fifth.raft.snapshot.configuration.votersOutgoing.length, 3)
  t.deepEqual(fifth.raft.configuration, configurationOf([1, 2, 4], [5]))
})

test('a new voter counts as heard until the next look at the quorum', (t) => {
  const cluster = new Cluster()
  cluster.add(1, recoveredWith([1], []))
  const leader = cluster.elect(1)
  leader.change(change('add-node', 2))
  leader.tick(ELECTION_TICKS)
  t.is(leader.raft.role, 'leader')
  leader.tick(ELECTION_TICKS)
  t.is(leader.raft.role, 'follower', 'it never came')
})

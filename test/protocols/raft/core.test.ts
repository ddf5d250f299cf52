/** Rules of the core that are of no one conversation: for whom a message is, time, pages of entries, a learner in sight. */
import test from 'ava'
import { emptyLog, genesis as genesisOf } from '../../../protocols/raft/genesis.ts'
import { peerOf, memberOf, newIncarnation } from '../../../protocols/raft/member.ts'
import { create, dueInTicks, step } from '../../../protocols/raft/raft.ts'
import { random } from '../../../simulator/random.ts'
import {
  change,
  Cluster,
  ELECTION_TICKS,
  HEADER,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  recoveredWith,
  says,
} from './cluster.ts'

const strangers: [what: string, header: object, answered: boolean][] = [
  ['its own group', {}, true],
  ['another mesh', { cluster: '01JZ0000000000000000000009' }, false],
  ['another group', { group: 'site/harbour' }, false],
  ['an older generation', { generation: 3 }, false],
  ['a newer generation', { generation: 5 }, false],
  ['another log of this peer', { to: `${peer(1)}#again` }, false],
]
for (const [what, header, answered] of strangers) {
  test(`a message of ${what} is ${answered ? 'heard' : 'not heard'}`, (t) => {
    const config = { ...HEADER, generation: 4, self: peer(1), electionTicks: 10, heartbeatTicks: 2 }
    const raft = create({ ...config, dice: random(1, 'core') }, recoveredWith([1, 2], []))
    const message = { ...says('MsgHeartbeat', 7), generation: 4, ...header }
    const effects = step(raft, { kind: 'message', message })
    t.is(raft.term, answered ? 7 : 0)
    const expected = what === 'a newer generation' ? [{ kind: 'superseded', generation: 5 }] : []
    if (!answered) t.deepEqual(effects as object[], expected)
  })
}

test('a member is a peer and one log of it', (t) => {
  const dice = random(7, 'incarnations')
  const ids = Array.from({ length: 1_000 }, () => memberOf(peer(1), newIncarnation(dice)))
  t.is(new Set(ids).size, 1_000)
  t.true(ids.every((id) => /^(peer1){4}#[0-9a-z]{1,10}$/.test(id) && peerOf(id) === peer(1)))
  t.is(peerOf(''), '')
})

test('a founder begins with the entry that says who votes; who begins with nothing never campaigns', (t) => {
  const cluster = new Cluster()
  const founder = cluster.add(1, genesisOf([peer(1)]))
  const other = cluster.add(2, emptyLog())
  t.is(dueInTicks(founder.raft), 1)
  founder.tick()
  t.like(founder.raft, { role: 'leader', term: 2 })
  other.tick(10 * ELECTION_TICKS)
  t.like(other.raft, { role: 'follower', term: 0 })
  founder.change(change('add-node', 2))
  cluster.settle()
  t.deepEqual(other.raft.configuration, founder.raft.configuration)
})

function led(options: Cluster['options'] = {}, voters = [1], learners: number[] = [2]): [Cluster, Member] {
  const cluster = Cluster.of(voters, learners)
  cluster.options = options
  for (const member of cluster.members.values()) {
    member.crash()
    member.start()
  }
  return [cluster, cluster.elect(1)]
}

test('dueInTicks: how long each may sleep', (t) => {
  const [, alone] = led({}, [1], [])
  t.is(dueInTicks(alone.raft), Infinity)
  const [cluster, leader] = led({}, [1, 2], [3])
  t.is(dueInTicks(leader.raft), HEARTBEAT_TICKS)
  leader.tick()
  t.is(dueInTicks(leader.raft), HEARTBEAT_TICKS - 1)
  const { raft } = cluster.member(2)
  t.is(dueInTicks(raft), raft.electionTimeout)
  t.is(dueInTicks(cluster.member(3).raft), Infinity, 'a learner')
  cluster.member(3).feed({ kind: 'read', token: 1 })
  t.is(dueInTicks(cluster.member(3).raft), HEARTBEAT_TICKS, 'who waits for an answer')
})

test('ticks that are slept through and told at once do what they would have done one by one', (t) => {
  const [slept, one] = [led({}, [1, 2, 3], []), led({}, [1, 2, 3], [])]
  for (let rounds = 0; rounds < 200; rounds++) {
    const [member, twin] = [slept[0].member(1 + (rounds % 3)), one[0].member(1 + (rounds % 3))]
    const due = dueInTicks(member.raft)
    t.is(dueInTicks(twin.raft), due)
    member.feed({ kind: 'tick', count: due })
    twin.tick(due)
    if (rounds % 7 === 0) for (const [cluster] of [slept, one]) cluster.settle()
    t.deepEqual(slept[0].network, one[0].network)
    t.deepEqual({ ...member.raft, config: 0 }, { ...twin.raft, config: 0 })
  }
})

test('timing: agreed ticks are in force at once, and timeouts are drawn from them', (t) => {
  const [, leader] = led({}, [1, 2], [])
  leader.feed({ kind: 'timing', heartbeatTicks: 7, electionTicks: 100 })
  leader.feed({ kind: 'message', message: says('MsgAppResp', 2) })
  t.is(leader.raft.role, 'follower')
  t.true(leader.raft.electionTimeout >= 100 && leader.raft.electionTimeout < 200)
  leader.tick(99)
  t.is(leader.raft.role, 'follower')
  leader.tick(101)
  t.is(leader.raft.role, 'pre-candidate')
})

test('RawNodeCommitPaginationAfterRestart: pages of what is committed, none left out, whatever the bound', (t) => {
  for (const most of [0, 1, 2, 5, 100]) {
    const cluster = new Cluster()
    cluster.options = { maxCommittedSizePerReady: most }
    const pages: number[][] = []
    cluster.onApply = (_, entries) => pages.push(entries.map(({ index }) => index))
    const terms = Array.from({ length: 10 }, () => 1)
    const member = cluster.add(1, recoveredWith([1, 2, 3], terms, { commit: 10 }))
    for (let i = 0; i < 12; i++) member.tick(0)
    member.feed({ kind: 'unreachable', peer: peer(2) })
    t.deepEqual(
      pages.flat(),
      Array.from({ length: 10 }, (_, at) => at + 1),
    )
    // One byte each: as many as the bound says, and one at least.
    t.true(pages.every((page) => page.length <= Math.max(1, most)))
  }
})

test('held for a learner: what it does not hold is not committed while it is in sight', (t) => {
  const [cluster, leader] = led({ heldForLearner: true })
  cluster.tick(2 * HEARTBEAT_TICKS)
  const { commit } = leader.raft.log
  cluster.member(2).autoSync = false
  leader.propose('a')
  cluster.settle()
  t.is(leader.raft.log.commit, commit, 'it is not on the disk of the learner')
  cluster.member(2).sync()
  cluster.settle()
  t.is(leader.raft.log.commit, commit + 1)
  t.deepEqual(leader.texts(), ['a'])
})

test('held for a learner: out of sight it is not waited for, and back in sight only once it has everything', (t) => {
  const [cluster, leader] = led({ heldForLearner: true })
  cluster.tick(2 * HEARTBEAT_TICKS)
  cluster.cut(2)
  leader.propose('a')
  t.deepEqual(leader.texts(), [])
  leader.tick(2 * ELECTION_TICKS)
  t.deepEqual(leader.texts(), ['a'], 'silent for an election timeout')
  leader.propose('b')
  t.deepEqual(leader.texts(), ['a', 'b'])
  cluster.heal()
  cluster.network = []
  cluster.tick(3 * HEARTBEAT_TICKS)
  t.deepEqual(cluster.member(2).texts(), ['a', 'b'])
  cluster.cut(2)
  leader.propose('c')
  t.deepEqual(leader.texts(), ['a', 'b'])
  leader.feed({ kind: 'unreachable', peer: peer(2) })
  t.deepEqual(leader.texts(), ['a', 'b', 'c'], 'its connection is gone')
})

test('held for a learner: one that is heard, and whose disk is stuck, does not stop the group', (t) => {
  const [cluster, leader] = led({ heldForLearner: true })
  const learner = cluster.member(2)
  cluster.tick(2 * HEARTBEAT_TICKS)
  learner.autoSync = false
  leader.propose('a')
  for (let i = 0; i < ELECTION_TICKS; i++) cluster.tick()
  t.deepEqual(leader.texts(), [], 'not before it has had an election timeout')
  for (let i = 0; i < ELECTION_TICKS; i++) cluster.tick()
  t.deepEqual(leader.texts(), ['a'])
  leader.propose('b')
  cluster.settle()
  t.deepEqual(leader.texts(), ['a', 'b'])
  learner.sync()
  learner.autoSync = true
  cluster.tick(3 * HEARTBEAT_TICKS)
  t.deepEqual(learner.texts(), ['a', 'b'])
  learner.autoSync = false
  leader.propose('c')
  cluster.settle()
  t.deepEqual(leader.texts(), ['a', 'b'], 'with everything it is waited for again')
})

test('held for a learner: one that keeps pace with a busy group is in sight, though never quite level', (t) => {
  const [cluster, leader] = led({ heldForLearner: true })
  const { log } = leader.raft
  const hear = (index: number): void => {
    leader.feed({ kind: 'message', message: says('MsgAppResp', leader.raft.term, { index }) })
  }
  cluster.cut(2)
  leader.tick(2 * ELECTION_TICKS)
  // Each entry is on the learner's disk when the next one is on the leader's.
  for (let tick = 0; tick < 3 * ELECTION_TICKS; tick++) {
    leader.propose('a')
    leader.tick()
    hear(log.base.index + log.entries.length - 1)
  }
  const { commit } = log
  leader.propose('b')
  t.is(log.commit, commit, 'it is waited for')
  hear(commit + 1)
  t.is(log.commit, commit + 1)
})

test('MsgAppFlowControlFull, MoveForward: windows in messages and in bytes, of one page each', (t) => {
  for (const options of [{ maxInflightMsgs: 3 }, { maxInflightMsgs: 99, maxInflightBytes: 6 }]) {
    const [cluster, leader] = led({ ...options, maxSizePerMsg: 0 }, [1, 2], [])
    cluster.network = []
    for (let i = 0; i < 10; i++) leader.propose('ab')
    const sent = cluster.network.filter(({ kind }) => kind === 'MsgApp')
    t.is(sent.length, 3)
    t.true(sent.every((each) => each.kind === 'MsgApp' && each.entries.length === 1))
    const progress = leader.raft.progress.get(peer(2))
    t.true(progress?.paused)
    const acknowledged = (progress?.match ?? 0) + 1
    cluster.network = []
    leader.feed({ kind: 'message', message: says('MsgAppResp', 1, { index: acknowledged }) })
    t.is(progress?.inflight.length, 3, 'one more went')
    leader.feed({ kind: 'message', message: says('MsgAppResp', 1, { index: acknowledged - 1 }) })
    t.is(progress?.inflight.length, 3, 'an old one makes no room')
  }
})

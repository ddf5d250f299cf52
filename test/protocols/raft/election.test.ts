import test from 'ava'
import * as logs from '../../../protocols/raft/log.ts'
import type { Role } from '../../../protocols/raft/types.ts'
import {
  change,
  Cluster,
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  recoveredWith,
  says,
} from './cluster.ts'

test('a group of one elects itself at the first tick, and commits when its write is durable', (t) => {
  const member = Cluster.of([1]).member(1)
  member.tick()
  t.like(member.raft, { role: 'leader', term: 1, leader: peer(1) })
  member.autoSync = false
  const effects = member.propose('a', 7)
  t.deepEqual(
    effects.map(({ kind }) => kind),
    ['store', 'proposed'],
  )
  t.deepEqual(member.texts(), [])
  member.sync()
  t.deepEqual(member.texts(), ['a'])
})

test('a group of one leads again one tick after a restart, with all that was acknowledged', (t) => {
  const member = Cluster.of([1]).member(1)
  member.tick()
  member.propose('a')
  member.propose('b')
  member.crash()
  member.start()
  member.tick()
  t.like(member.raft, { role: 'leader', term: 2 })
  t.deepEqual(member.texts(), ['a', 'b'])
})

test('a group of one does not lead before its vote is on disk, whatever else gets there', (t) => {
  const member = Cluster.of([1]).member(1)
  member.autoSync = false
  // Its disk is busy with a vote that it gave to somebody else.
  member.feed({ kind: 'message', message: says('MsgVote', 1) })
  member.tick()
  member.sync(1)
  t.is(member.raft.role, 'candidate')
  t.like(member.recovered()?.hardState, { term: 1, vote: peer(2) })
  member.sync(1)
  t.is(member.raft.role, 'leader')
  t.like(member.recovered()?.hardState, { term: 2, vote: peer(1) })
})

for (const preVote of [false, true]) {
  test(preVote ? 'LeaderElectionOverwriteNewerLogsPreVote' : 'LeaderElectionOverwriteNewerLogs', (t) => {
    // 1 lost its leadership of term 1 to 3, who wrote in term 2 and reached nobody; 1 and 2 outvote it.
    const cluster = new Cluster()
    cluster.options = { preVote }
    cluster.add(1, recoveredWith([1, 2, 3, 4, 5], [1]))
    cluster.add(2, recoveredWith([1, 2, 3, 4, 5], [1]))
    cluster.add(3, recoveredWith([1, 2, 3, 4, 5], [2]))
    cluster.add(4, recoveredWith([1, 2, 3, 4, 5], [], { term: 2, vote: peer(3) }))
    cluster.add(5, recoveredWith([1, 2, 3, 4, 5], [], { term: 2, vote: peer(3) }))
    const leader = cluster.elect(1)
    for (let tries = 0; leader.raft.role !== 'leader' && tries < 5; tries++) {
      leader.tick(2 * ELECTION_TICKS)
      cluster.settle()
    }
    t.is(leader.raft.role, 'leader')
    cluster.tick(HEARTBEAT_TICKS)
    for (const { raft } of cluster.members.values()) {
      t.deepEqual(
        raft.log.entries.map(({ term }) => term),
        [1, leader.raft.term],
      )
    }
  })
}

const requests: [kind: 'MsgVote' | 'MsgPreVote', role: Role][] = (['MsgVote', 'MsgPreVote'] as const).flatMap(
  (kind) =>
    (['follower', 'pre-candidate', 'candidate', 'leader'] as const).map((role): [typeof kind, Role] => [
      kind,
      role,
    ]),
)
for (const [kind, role] of requests) {
  test(`${kind === 'MsgVote' ? 'Vote' : 'PreVote'}FromAnyState: ${role}`, (t) => {
    const cluster = new Cluster()
    cluster.options = { checkQuorum: false }
    const member = cluster.add(1, recoveredWith([1, 2, 3], [], { term: 1 }))
    if (role !== 'follower') member.campaign()
    if (role === 'candidate' || role === 'leader')
      member.feed({ kind: 'message', message: says('MsgPreVoteResp', 2) })
    if (role === 'leader') member.feed({ kind: 'message', message: says('MsgVoteResp', 2) })
    t.is(member.raft.role, role)
    cluster.network = []
    member.feed({ kind: 'message', message: says(kind, 5, { index: 9, logTerm: 4 }) })
    const answer = cluster.network.find((sent) => sent.kind === `${kind}Resp`)
    if (kind === 'MsgVote') {
      t.like(answer, { reject: false, term: 5 })
      t.like(member.raft, { role: 'follower', term: 5, vote: peer(2) })
    } else {
      t.like(answer, { reject: false, term: 5 })
      t.is(member.raft.role, role, 'a pre-vote changes nothing')
      t.true(member.raft.term < 5)
    }
  })
}

test('who leads under CheckQuorum is not unseated by a request: it does not even look at the term', (t) => {
  for (const kind of ['MsgVote', 'MsgPreVote'] as const) {
    const cluster = Cluster.of([1, 2, 3])
    const leader = cluster.elect(1)
    leader.feed({ kind: 'message', message: says(kind, 5, { index: 9, logTerm: 4 }) })
    t.deepEqual(cluster.network, [])
    t.like(leader.raft, { role: 'leader', term: 1 })
  }
})

test('DuelingPreCandidates: the one who is behind raises no term and wins nothing', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.cut(3)
  cluster.elect(1).propose('a')
  cluster.settle()
  cluster.member(3).tick(6 * ELECTION_TICKS)
  t.is(cluster.member(3).raft.term, 0, 'PreVote keeps the term of an isolated member flat')
  cluster.network = []
  cluster.heal()
  cluster.member(3).campaign()
  cluster.settle()
  t.is(cluster.member(1).raft.role, 'leader')
  t.is(cluster.member(1).raft.term, 1)
  cluster.tick(HEARTBEAT_TICKS)
  t.is(cluster.member(3).raft.leader, peer(1))
})

test('DuelingCandidates: a split vote ends, and one wins in the end', (t) => {
  const cluster = Cluster.of([1, 2, 3, 4])
  for (const n of [1, 2]) {
    cluster.member(n).campaign()
    for (const from of [3, 4]) {
      cluster
        .member(n)
        .feed({ kind: 'message', message: says('MsgPreVoteResp', 1, { from: peer(from), to: peer(n) }) })
    }
  }
  cluster.settle()
  cluster.tick(8 * ELECTION_TICKS)
  t.is(cluster.leaders().length, 1)
})

test('OldMessages: an append of an old term changes nothing', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1)
  const before = cluster.member(1).raft.log.entries.length
  cluster.member(2).feed({ kind: 'message', message: says('MsgApp', 0, { from: peer(3), to: peer(2) }) })
  t.is(cluster.member(2).raft.leader, peer(1))
  cluster.settle()
  t.is(cluster.member(1).raft.log.entries.length, before)
})

test('CandidateSelfVoteAfterLostElection: an own vote that becomes durable late counts for nothing', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(1)
  member.autoSync = false
  member.campaign()
  member.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  t.is(member.raft.role, 'candidate')
  t.is(member.raft.votes.size, 0, 'its own vote is not on disk yet')
  member.feed({ kind: 'message', message: says('MsgHeartbeat', 1) })
  member.sync()
  t.like(member.raft, { role: 'follower', leader: peer(2) })
})

test('a candidate asks for votes only when its own is on disk', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(1)
  member.autoSync = false
  member.sync()
  member.campaign()
  member.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  t.false(cluster.network.some(({ kind }) => kind === 'MsgVote'))
  member.sync()
  t.is(cluster.network.filter(({ kind }) => kind === 'MsgVote').length, 2)
  t.like(member.recovered()?.hardState, { term: 1, vote: peer(1) })
})

test('a late grant of an earlier pre-campaign counts for nothing', (t) => {
  const member = Cluster.of([1, 2, 3]).member(1)
  member.feed({ kind: 'message', message: says('MsgHeartbeat', 4) })
  member.campaign()
  t.is(member.raft.role, 'pre-candidate')
  member.feed({ kind: 'message', message: says('MsgPreVoteResp', 6) })
  t.is(member.raft.role, 'pre-candidate')
  member.feed({ kind: 'message', message: says('MsgPreVoteResp', 5) })
  t.like(member.raft, { role: 'candidate', term: 5 })
})

test('LeaderStepdownWhenQuorumActive', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  for (let i = 0; i < 4 * ELECTION_TICKS; i++) {
    leader.feed({ kind: 'message', message: says('MsgHeartbeatResp', 1) })
    leader.tick()
  }
  t.is(leader.raft.role, 'leader')
})

test('LeaderStepdownWhenQuorumLost', (t) => {
  const cluster = Cluster.of([1, 2, 3], [4])
  const leader = cluster.elect(1)
  for (let i = 0; i < 2 * ELECTION_TICKS; i++) {
    // Learners do not count.
    leader.feed({ kind: 'message', message: says('MsgHeartbeatResp', 1, { from: peer(4) }) })
    leader.tick()
  }
  t.like(leader.raft, { role: 'follower', term: 1, leader: '' })
  t.deepEqual(leader.propose('a', 5), [{ kind: 'refused', token: 5, why: 'not-leader', leader: '' }])
})

test('LeaderSupersedingWithCheckQuorum: who hears a leader votes for nobody else', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1)
  cluster.tick()
  const follower = cluster.member(2)
  cluster.network = []
  const request = says('MsgVote', 9, { from: peer(3), to: peer(2), index: 99, logTerm: 9 })
  follower.feed({ kind: 'message', message: request })
  t.deepEqual(cluster.network, [])
  t.is(follower.raft.term, 1)
  follower.tick(ELECTION_TICKS)
  cluster.network = []
  follower.feed({ kind: 'message', message: request })
  t.like(cluster.network[0], { kind: 'MsgVoteResp', reject: false, term: 9 })
})

test('FreeStuckCandidateWithCheckQuorum: a member of a higher term comes back into the group', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.tick()
  // 3 got into term 5 somehow; nobody heeds its requests while they hear 1.
  cluster.member(3).feed({ kind: 'message', message: says('MsgVote', 5, { from: peer(9), to: peer(3) }) })
  const stuck = cluster.add(3, recoveredWith([1, 2, 3], [1], { term: 5, vote: peer(3) }))
  cluster.tick(HEARTBEAT_TICKS)
  t.true(leader.raft.term >= 5, 'the leader has heard of the term')
  cluster.tick(6 * ELECTION_TICKS)
  t.is(cluster.leaders().length, 1)
  t.is(stuck.raft.leader, cluster.leaders()[0]?.id ?? '')
})

test('NonPromotableVoterWithCheckQuorum: who does not vote never campaigns', (t) => {
  const cluster = Cluster.of([1], [2], [3])
  cluster.tick(5 * ELECTION_TICKS)
  for (const n of [2, 3]) t.is(cluster.member(n).raft.role, 'follower')
})

test('campaign_learner_must_vote: a learner gives its vote when it is asked', (t) => {
  const cluster = Cluster.of([1], [2])
  const learner = cluster.member(2)
  learner.feed({ kind: 'message', message: says('MsgVote', 3, { from: peer(3), to: peer(2) }) })
  t.like(cluster.network.at(-1), { kind: 'MsgVoteResp', to: peer(3), reject: false, term: 3 })
})

test('the votes of learners do not count', (t) => {
  const cluster = Cluster.of([1, 2, 3], [4, 5])
  const member = cluster.member(1)
  member.campaign()
  for (const n of [4, 5])
    member.feed({ kind: 'message', message: says('MsgPreVoteResp', 1, { from: peer(n) }) })
  t.is(member.raft.role, 'pre-candidate')
  member.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  for (const n of [4, 5]) member.feed({ kind: 'message', message: says('MsgVoteResp', 1, { from: peer(n) }) })
  t.is(member.raft.role, 'candidate')
})

test('PreVoteWithSplitVote: after a split both draw new timeouts and one wins', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1)
  cluster.member(1).crash()
  for (const n of [2, 3]) cluster.member(n).tick(2 * ELECTION_TICKS)
  cluster.settle()
  cluster.tick(8 * ELECTION_TICKS)
  t.is(cluster.leaders().length, 1)
  t.true((cluster.leaders()[0] as Member).raft.term > 1)
})

test('DisruptiveFollowerPreVote: who was away and comes back unseats nobody', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.cut(3)
  cluster.tick(5 * ELECTION_TICKS)
  leader.propose('a')
  cluster.settle()
  cluster.heal()
  cluster.tick(3 * ELECTION_TICKS)
  t.like(leader.raft, { role: 'leader', term: 1 })
  t.deepEqual(cluster.member(3).texts(), ['a'])
})

test('partial/one-link-down: a leader that one of three cannot hear stays', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.passes = ({ from, to }) => ![from, to].every((id) => id === peer(1) || id === peer(3))
  cluster.tick(20 * ELECTION_TICKS)
  t.like(leader.raft, { role: 'leader', term: 1 })
})

test('a committed change that is not applied, or a snapshot not installed, keeps from campaigning', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(2)
  cluster.elect(1).feed({ kind: 'propose-change', token: 1, change: change('add-learner-node', 4) })
  // Member 2 knows that the change is committed, and its disk is too slow for it to be applied.
  member.autoSync = false
  cluster.settle()
  cluster.tick(HEARTBEAT_TICKS)
  t.true(member.raft.log.commit < 2 || member.raft.log.applying < 2)
  cluster.cut(2)
  member.feed({
    kind: 'message',
    message: says('MsgHeartbeat', 1, { from: peer(1), to: peer(2), commit: logs.lastIndex(member.raft.log) }),
  })
  t.true(member.raft.log.applying < member.raft.log.commit)
  member.tick(4 * ELECTION_TICKS)
  t.is(member.raft.role, 'follower')
  member.autoSync = true
  member.sync()
  member.tick(2 * ELECTION_TICKS)
  t.is(member.raft.role, 'pre-candidate')
})

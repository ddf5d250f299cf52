/** Handing leadership over (Raft thesis 3.10), under the names of etcd's tests. */
import test, { type ExecutionContext } from 'ava'
import { change, Cluster, ELECTION_TICKS, HEARTBEAT_TICKS, type Member, peer, says } from './cluster.ts'

function led(): { cluster: Cluster; leader: Member } {
  const cluster = Cluster.of([1, 2, 3])
  return { cluster, leader: cluster.elect(1) }
}

/** A leader whose transfer to member 3 is under way, as member 3 is cut off. */
function pending(t: ExecutionContext): { cluster: Cluster; leader: Member } {
  const { cluster, leader } = led()
  cluster.cut(3)
  leader.transfer(3)
  cluster.settle()
  t.like(leader.raft, { role: 'leader', transferee: peer(3) })
  return { cluster, leader }
}

function leads(t: ExecutionContext, { cluster }: { cluster: Cluster }, n: number): void {
  t.deepEqual(
    cluster.leaders().map(({ id }) => id),
    [peer(n)],
  )
  t.is(cluster.member(n).raft.transferee, '')
}

test('LeaderTransferToUpToDateNode: without a pre-vote, and in spite of a leader that all hear', (t) => {
  const { cluster, leader } = led()
  const kinds = new Set<string>()
  cluster.onPost = ({ kind }) => kinds.add(kind)
  leader.transfer(2)
  cluster.settle()
  leads(t, { cluster }, 2)
  t.true(kinds.has('MsgTimeoutNow') && kinds.has('MsgVote'))
  t.false(kinds.has('MsgPreVote'))
  cluster.member(2).propose('a')
  cluster.settle()
  cluster.member(2).transfer(1)
  cluster.settle()
  leads(t, { cluster }, 1)
})

test('LeaderTransferToUpToDateNodeFromFollower: a follower passes the wish on', (t) => {
  const { cluster } = led()
  cluster.member(2).transfer(2)
  cluster.settle()
  leads(t, { cluster }, 2)
})

test('LeaderTransferToSlowFollower: it is brought up to date first', (t) => {
  const { cluster, leader } = led()
  cluster.cut(3)
  leader.propose('a')
  cluster.settle()
  cluster.heal()
  t.is(leader.raft.progress.get(peer(3))?.match, 1)
  leader.transfer(3)
  // Its stream was lost, and is found out at the next heartbeat.
  for (let beat = 0; beat < 3; beat++) {
    leader.tick(HEARTBEAT_TICKS)
    cluster.settle()
  }
  leads(t, { cluster }, 3)
  t.deepEqual(cluster.member(3).texts(), ['a'])
})

test('LeaderTransferAfterSnapshot: it leads once the snapshot is on its disk', (t) => {
  const cluster = new Cluster()
  cluster.options = { entriesKept: 0 }
  for (const n of [1, 2, 3]) cluster.add(n, Cluster.of([1, 2, 3]).member(n).recovered() as never)
  const leader = cluster.elect(1)
  cluster.cut(3)
  leader.propose('a')
  cluster.settle()
  leader.compact()
  cluster.heal()
  const third = cluster.member(3)
  third.autoSync = false
  leader.transfer(3)
  for (let beat = 0; beat < 2; beat++) {
    leader.tick(HEARTBEAT_TICKS)
    cluster.settle()
  }
  t.is(leader.raft.role, 'leader')
  t.is(leader.raft.progress.get(peer(3))?.state, 'snapshot')
  third.autoSync = true
  third.sync()
  cluster.settle()
  leads(t, { cluster }, 3)
  t.deepEqual(third.texts(), ['a'])
})

test('LeaderTransferToSelf and ToNonExistingNode change nothing; who cannot lead is refused', (t) => {
  const { cluster, leader } = led()
  leader.transfer(1, 1)
  t.like(leader.transfer(4, 2).at(-1), { kind: 'refused', token: 2, why: 'not-voter' })
  leader.change(change('add-learner-node', 4))
  cluster.settle()
  t.like(leader.transfer(4, 3).at(-1), { kind: 'refused', token: 3, why: 'not-voter' })
  cluster.settle()
  leads(t, { cluster }, 1)
})

test('LeaderTransferTimeout: after an election timeout the leader goes on', (t) => {
  const { cluster, leader } = pending(t)
  const answered = (ticks: number): void => {
    for (let i = 0; i < ticks; i++) {
      leader.tick()
      cluster.settle()
    }
  }
  answered(HEARTBEAT_TICKS)
  t.is(leader.raft.transferee, peer(3))
  answered(ELECTION_TICKS - HEARTBEAT_TICKS)
  leads(t, { cluster }, 1)
  t.true(leader.propose('a').some(({ kind }) => kind === 'proposed'))
})

test('LeaderTransferIgnoreProposal: proposals and changes are refused meanwhile', (t) => {
  const { leader } = pending(t)
  t.like(leader.propose('a', 7)[0], { kind: 'refused', token: 7, why: 'transferring' })
  t.like(leader.change(change('remove-node', 2), 8)[0], { kind: 'refused', token: 8, why: 'transferring' })
  t.is(leader.raft.progress.get(peer(1))?.match, 1)
})

test('LeaderTransferReceiveHigherTermVote: whoever is elected leads', (t) => {
  const { cluster } = pending(t)
  const second = cluster.member(2)
  // It has not heard of the leader for an election timeout, and neither has the leader of a reason to refuse it.
  cluster.options = { checkQuorum: false, preVote: false }
  second.crash()
  second.start()
  second.hup()
  cluster.member(1).feed({ kind: 'message', message: says('MsgAppResp', 2) })
  cluster.settle()
  leads(t, { cluster }, 2)
})

test('LeaderTransferRemoveNode: who is removed does not lead', (t) => {
  const { cluster, leader } = led()
  leader.change(change('remove-node', 3))
  leader.transfer(3)
  cluster.passes = ({ kind }) => kind !== 'MsgTimeoutNow'
  t.is(leader.raft.transferee, peer(3))
  cluster.settle()
  leads(t, { cluster }, 1)
})

test('LeaderTransferDemoteNode: who becomes a learner does not lead', (t) => {
  const { cluster, leader } = led()
  const changes = [
    { kind: 'remove-node' as const, peer: peer(3) },
    { kind: 'add-learner-node' as const, peer: peer(3) },
  ]
  leader.change({ transition: 'auto', changes })
  leader.transfer(3)
  cluster.passes = ({ kind }) => kind !== 'MsgTimeoutNow'
  cluster.settle()
  leads(t, { cluster }, 1)
  leader.propose('a')
  cluster.settle()
  t.like(leader.raft.configuration, { learners: [peer(3)], votersOutgoing: [] })
})

test('LeaderTransferBack: to itself ends the transfer', (t) => {
  const { cluster, leader } = pending(t)
  leader.transfer(1)
  leads(t, { cluster }, 1)
})

test('LeaderTransferSecondTransferToAnotherNode: the newer wish holds', (t) => {
  const { cluster, leader } = pending(t)
  leader.transfer(2)
  cluster.settle()
  t.is(cluster.member(2).raft.role, 'leader')
})

test('LeaderTransferSecondTransferToSameNode: asking again does not put the end off', (t) => {
  const { cluster, leader } = pending(t)
  for (let i = 0; i < ELECTION_TICKS; i++) {
    if (i === ELECTION_TICKS / 2) leader.transfer(3)
    leader.tick()
    cluster.settle()
  }
  leads(t, { cluster }, 1)
})

test('LeaderTransferWithCheckQuorum: at any time after the election', (t) => {
  const { cluster, leader } = led()
  cluster.tick(3 * ELECTION_TICKS)
  leader.transfer(2)
  cluster.settle()
  leads(t, { cluster }, 2)
})

test('LearnerCampaign: a learner that is told to lead does not', (t) => {
  const cluster = Cluster.of([1], [2])
  const learner = cluster.member(2)
  learner.hup()
  t.is(learner.raft.role, 'follower')
  cluster.elect(1)
  learner.feed({ kind: 'message', message: says('MsgTimeoutNow', 1, { from: peer(1), to: peer(2) }) })
  t.is(learner.raft.role, 'follower')
})

test('forget-leader: who knows that the leader is gone votes at once', (t) => {
  const { cluster, leader } = led()
  leader.crash()
  const [second, third] = [cluster.member(2), cluster.member(3)]
  second.hup()
  cluster.settle()
  t.is(second.raft.role, 'pre-candidate', 'the third has heard the leader lately')
  third.feed({ kind: 'forget-leader' })
  second.hup()
  cluster.settle()
  t.is(second.raft.role, 'leader')
})

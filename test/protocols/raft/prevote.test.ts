/** PreVote and CheckQuorum against members that were away, or are of an older kind; under the names of etcd's tests. */
import test from 'ava'
import { Cluster, ELECTION_TICKS, type Member, peer, recoveredWith, says } from './cluster.ts'

const rolesOf = ({ members }: Cluster): string[] => [...members.values()].map(({ raft }) => raft.role)
const termsOf = ({ members }: Cluster): number[] => [...members.values()].map(({ raft }) => raft.term)

function grown(options: Cluster['options'] = {}): Cluster {
  const cluster = new Cluster()
  cluster.options = options
  for (const n of [1, 2, 3]) cluster.add(n, recoveredWith([1, 2, 3], [], { term: 1 }))
  return cluster
}

function hup(member: Member): void {
  member.hup()
  member.cluster.settle()
}

test('DisruptiveFollower: without PreVote a late heartbeat makes the leader hear of a higher term', (t) => {
  const cluster = grown({ preVote: false })
  const [first, , third] = [1, 2, 3].map((n) => cluster.member(n)) as [Member, Member, Member]
  hup(first)
  third.campaign()
  t.deepEqual(rolesOf(cluster), ['leader', 'follower', 'candidate'])
  t.deepEqual(termsOf(cluster), [2, 2, 3])
  // Its requests are still under way when the heartbeat of the leader arrives, of a term that is over for it.
  const requests = cluster.network.splice(0)
  t.true(requests.every(({ kind }) => kind === 'MsgVote'))
  third.feed({ kind: 'message', message: says('MsgHeartbeat', 2, { from: peer(1), to: peer(3) }) })
  cluster.settle()
  t.deepEqual(rolesOf(cluster), ['follower', 'follower', 'candidate'])
  t.deepEqual(termsOf(cluster), [3, 2, 3])
})

test('NodeWithSmallerTermCanCompleteElection', (t) => {
  const cluster = grown({ checkQuorum: false })
  cluster.cut(3)
  hup(cluster.member(1))
  hup(cluster.member(3))
  hup(cluster.member(2))
  t.deepEqual(rolesOf(cluster), ['follower', 'leader', 'pre-candidate'])
  t.deepEqual(termsOf(cluster), [3, 3, 1])
  // The third comes back as the second goes.
  cluster.cut(2)
  hup(cluster.member(3))
  hup(cluster.member(1))
  t.is(cluster.member(1).raft.role === 'leader' || cluster.member(3).raft.role === 'leader', true)
})

test('PreVoteWithCheckQuorum: two that have lost their leader elect one of themselves', (t) => {
  const cluster = grown()
  hup(cluster.member(1))
  cluster.cut(1)
  // The second has heard the leader lately and grants the third nothing; but its own campaign forgets that leader.
  hup(cluster.member(3))
  t.is(cluster.member(3).raft.role, 'pre-candidate')
  hup(cluster.member(2))
  t.is(cluster.member(2).raft.role, 'leader')
  t.is(cluster.member(3).raft.role, 'follower')
})

/** Members 1, 2 of term 2 with one entry more than 3, which knew no pre-vote, campaigned alone and came to term 4. */
function migrating(): Cluster {
  const cluster = grown({ checkQuorum: false })
  const third = cluster.member(3)
  hup(cluster.member(1))
  cluster.cut(3)
  cluster.member(1).propose('a')
  cluster.settle()
  third.crash()
  cluster.options = { checkQuorum: false, preVote: false }
  third.start()
  hup(third)
  hup(third)
  third.crash()
  cluster.options = { checkQuorum: false }
  third.start()
  cluster.heal()
  return cluster
}

test('PreVoteMigrationCanCompleteElection', (t) => {
  const cluster = migrating()
  t.deepEqual(termsOf(cluster), [2, 2, 4])
  cluster.cut(1)
  for (let round = 0; round < 2; round++) {
    hup(cluster.member(3))
    hup(cluster.member(2))
  }
  t.is(cluster.member(2).raft.role, 'leader')
  t.is(cluster.member(3).raft.role, 'follower')
})

test('PreVoteMigrationWithFreeStuckPreCandidate: the leader hears its term and steps down, so that it is free', (t) => {
  const cluster = migrating()
  const [first, , third] = [1, 2, 3].map((n) => cluster.member(n)) as [Member, Member, Member]
  for (let round = 0; round < 2; round++) {
    hup(third)
    t.deepEqual(rolesOf(cluster), ['leader', 'follower', 'pre-candidate'])
  }
  third.feed({ kind: 'message', message: says('MsgHeartbeat', 2, { from: peer(1), to: peer(3) }) })
  cluster.settle()
  t.is(first.raft.role, 'follower')
  t.is(first.raft.term, third.raft.term)
})

test('CandidateDeliversPreCandidateSelfVoteAfterBecomingCandidate: votes of a pre-campaign are not votes', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(1)
  member.autoSync = false
  member.campaign()
  t.is(member.raft.role, 'pre-candidate')
  for (const n of [2, 3])
    member.feed({ kind: 'message', message: says('MsgPreVoteResp', 1, { from: peer(n) }) })
  t.is(member.raft.role, 'candidate')
  // Whatever was granted, its own pre-vote above all, is forgotten; its own vote is not on disk yet.
  t.is(member.raft.votes.size, 0)
  member.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  t.is(member.raft.votes.size, 0)
  member.feed({ kind: 'message', message: says('MsgVoteResp', 1) })
  t.is(member.raft.role, 'candidate', 'one vote of three')
  member.sync()
  t.is(member.raft.role, 'leader')
})

test('LeaderMsgAppSelfAckAfterTermChange: a write that ends after another leads counts for nobody', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  leader.autoSync = false
  leader.propose('a')
  leader.feed({ kind: 'message', message: says('MsgHeartbeat', 2) })
  leader.sync()
  t.like(leader.raft, { role: 'follower', leader: peer(2) })
  t.is(leader.raft.log.commit, 1)
  t.is(leader.raft.progress.size, 0)
})

test('who may not campaign is asked in vain', (t) => {
  const cluster = Cluster.of([1, 2, 3], [4])
  hup(cluster.member(4))
  t.is(cluster.member(4).raft.role, 'follower')
  cluster.elect(1)
  hup(cluster.member(1))
  t.like(cluster.member(1).raft, { role: 'leader', term: 1 })
  cluster.tick(ELECTION_TICKS)
  t.like(cluster.member(1).raft, { role: 'leader', term: 1 })
})

import test from 'ava'
import type { RaftEffect } from '../../../protocols/raft/types.ts'
import {
  Cluster,
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  recoveredWith,
  says,
} from './cluster.ts'

const read = (member: Member, token: number): RaftEffect[] => member.feed({ kind: 'read', token })
const readyOf = (member: Member): number[] => member.effects('read-ready').map(({ token }) => token)
const refusedOf = (member: Member): (string | number)[][] =>
  member.effects('refused').map(({ token, why }) => [token, why])

test('ReadOnlyOptionSafe: a leader answers once a quorum has confirmed it, at what was committed then', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  leader.propose('a')
  cluster.settle()
  read(leader, 1)
  t.deepEqual(readyOf(leader), [])
  cluster.settle()
  t.deepEqual(readyOf(leader), [1])
  t.is(leader.effects('read-ready')[0]?.index, 2)
})

test('a group of one answers at once', (t) => {
  const member = Cluster.of([1]).member(1)
  member.tick()
  read(member, 1)
  t.deepEqual(readyOf(member), [1])
})

test('ReadOnlyWithLearner: followers and learners ask the leader, and answer when they have applied that far', (t) => {
  const cluster = Cluster.of([1, 2, 3], [4])
  const leader = cluster.elect(1)
  cluster.passes = ({ to, kind }) => !(to === peer(4) && (kind === 'MsgApp' || kind === 'MsgHeartbeat'))
  leader.propose('a')
  cluster.settle()
  for (const n of [2, 4]) read(cluster.member(n), n)
  cluster.settle()
  t.deepEqual(readyOf(cluster.member(2)), [2])
  t.deepEqual(readyOf(cluster.member(4)), [], 'it has not applied the entry yet')
  cluster.heal()
  cluster.tick(2 * HEARTBEAT_TICKS)
  t.deepEqual(readyOf(cluster.member(4)), [4])
})

test('ReadOnlyForNewLeader, jepsen/readindex-before-noop: reads wait until the leader has committed in its term', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.member(1)
  leader.campaign()
  leader.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  leader.feed({ kind: 'message', message: says('MsgVoteResp', 1) })
  t.is(leader.raft.role, 'leader')
  read(leader, 1)
  leader.feed({ kind: 'message', message: says('MsgReadIndex', 1, { serial: 7 }) })
  t.false(cluster.network.some(({ kind }) => kind === 'MsgHeartbeat' || kind === 'MsgReadIndexResp'))
  cluster.settle()
  t.deepEqual(readyOf(leader), [1])
  read(leader, 2)
  cluster.settle()
  t.deepEqual(readyOf(leader), [1, 2])
})

test('a read that waits for the first entry of a term is refused with it', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.member(1)
  leader.campaign()
  leader.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  leader.feed({ kind: 'message', message: says('MsgVoteResp', 1) })
  read(leader, 1)
  leader.feed({ kind: 'message', message: says('MsgHeartbeat', 2) })
  t.deepEqual(refusedOf(leader), [[1, 'not-leader']])
})

test('jepsen/stale-read-minority-leader: a leader that is cut off answers nothing, and says so in the end', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const old = cluster.elect(1)
  cluster.cut(1)
  read(old, 1)
  cluster.tick(6 * ELECTION_TICKS)
  t.deepEqual(readyOf(old), [])
  t.deepEqual(refusedOf(old), [[1, 'not-leader']])
})

test('jepsen/readindex-duplicate-ctx: old acknowledgements confirm no later read', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const old = cluster.elect(1)
  cluster.tick(HEARTBEAT_TICKS)
  // A first read is confirmed; its acknowledgements are kept.
  const kept: typeof cluster.network = []
  cluster.onPost = (sent) => kept.push(...(sent.kind === 'MsgHeartbeatResp' ? [sent] : []))
  read(old, 1)
  cluster.settle()
  t.deepEqual(readyOf(old), [1])
  t.true(kept.length >= 2)
  cluster.onPost = () => {}
  // Others elect a new leader and commit; the old one, cut off, is asked under the same token.
  cluster.cut(1)
  for (let i = 0; i < 4 * ELECTION_TICKS; i++) {
    for (const n of [2, 3]) cluster.member(n).tick()
    cluster.settle()
  }
  const second = cluster.leaders().find(({ id }) => id !== peer(1)) as Member
  second.propose('b')
  cluster.settle()
  t.is(old.raft.role, 'leader', 'it has had no time to notice')
  read(old, 1)
  for (const message of kept) old.feed({ kind: 'message', message })
  t.deepEqual(readyOf(old), [1], 'only the first')
})

test('jepsen/readindex-dropped-fails-fast: reads that wait are refused when the leader changes', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  const follower = cluster.member(2)
  cluster.passes = ({ kind }) => kind !== 'MsgHeartbeatResp' && kind !== 'MsgReadIndex'
  read(leader, 1)
  read(follower, 2)
  cluster.settle()
  for (const member of [leader, follower]) {
    member.feed({ kind: 'message', message: says('MsgHeartbeat', 7, { from: peer(3), to: member.id }) })
  }
  t.deepEqual(refusedOf(leader), [[1, 'not-leader']])
  t.deepEqual(refusedOf(follower), [[2, 'not-leader']])
})

test('a question or answer that was lost is asked again, and answered once', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1)
  const follower = cluster.member(2)
  cluster.passes = ({ kind }) => kind !== 'MsgReadIndex'
  read(follower, 1)
  cluster.settle()
  cluster.passes = ({ kind }) => kind !== 'MsgReadIndexResp'
  cluster.tick(HEARTBEAT_TICKS)
  t.deepEqual(readyOf(follower), [])
  cluster.heal()
  cluster.tick(3 * HEARTBEAT_TICKS)
  t.deepEqual(readyOf(follower), [1])
})

test('an answer to a life that has ended is no answer', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1)
  const follower = cluster.member(2)
  cluster.passes = ({ kind }) => kind !== 'MsgReadIndexResp'
  const kept: typeof cluster.network = []
  cluster.onPost = (sent) => kept.push(...(sent.kind === 'MsgReadIndexResp' ? [sent] : []))
  read(follower, 1)
  cluster.settle()
  t.is(kept.length, 1)
  follower.crash()
  follower.start()
  cluster.tick(HEARTBEAT_TICKS)
  read(follower, 1)
  for (const message of kept) follower.feed({ kind: 'message', message })
  t.deepEqual(readyOf(follower), [])
})

test('reads that come up during a round share the next one', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  for (let token = 1; token <= 100; token++) read(leader, token)
  let beats = 0
  cluster.onPost = ({ kind }) => (beats += kind === 'MsgHeartbeat' ? 1 : 0)
  t.is(cluster.network.filter(({ kind }) => kind === 'MsgHeartbeat').length, 2)
  cluster.settle()
  t.is(beats, 2, 'one more round for the other 99')
  t.is(readyOf(leader).length, 100)
})

test('ReadOnlyOptionLease: a leader that hears its quorum asks nobody', (t) => {
  const cluster = new Cluster()
  cluster.options = { readOnly: 'lease-based' }
  for (const n of [1, 2, 3]) cluster.add(n, recoveredWith([1, 2, 3], []))
  const leader = cluster.elect(1)
  for (const [at, n] of [1, 2, 3, 1, 2, 3].entries()) {
    const member = cluster.member(n)
    leader.propose('a')
    cluster.tick(HEARTBEAT_TICKS)
    const kinds: string[] = []
    cluster.onPost = ({ kind }) => kinds.push(kind)
    read(member, at)
    cluster.settle()
    t.deepEqual(member.effects('read-ready').at(-1), { kind: 'read-ready', token: at, index: at + 2 })
    t.false(kinds.includes('MsgHeartbeat'))
  }
  // Followers that are loyal are what the lease stands on.
  const second = cluster.member(2)
  second.feed({ kind: 'forget-leader' })
  t.is(second.raft.leader, peer(1))
})

test('ReadOnlyDuplicateRequest: an answer to an earlier question in an earlier term confirms no later one', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const first = cluster.elect(1)
  const question = says('MsgReadIndex', 1, { serial: 1 })
  const kept: typeof cluster.network = []
  cluster.passes = (sent) => sent.kind !== 'MsgHeartbeatResp' || kept.push(sent) === 0
  first.feed({ kind: 'message', message: question })
  cluster.settle()
  t.is(kept.length, 2)
  // Another leads, and commits; the first, cut off, is asked the same again, and hears the old acknowledgements.
  cluster.cut(1)
  cluster.member(3).feed({ kind: 'forget-leader' })
  cluster.member(2).hup()
  cluster.settle()
  cluster.member(2).propose('newer')
  cluster.settle()
  t.is(cluster.leaders().length, 2)
  read(first, 9)
  first.feed({ kind: 'message', message: question })
  for (const message of kept) first.feed({ kind: 'message', message })
  t.deepEqual(readyOf(first), [])
  const answers = cluster.network.filter(({ kind }) => kind === 'MsgReadIndexResp')
  // The old round may be answered, at what was committed when it began.
  t.true(answers.every((sent) => sent.kind === 'MsgReadIndexResp' && sent.index === 1))
  t.true(answers.length <= 1)
})

import test from 'ava'
import {
  INFLIGHT_APPENDS_MAX,
  PROPOSAL_BYTES_MAX,
  PROPOSALS_MAX,
  UNCOMMITTED_BYTES_MAX,
} from '../../../protocols/limits.ts'
import { lastIndex } from '../../../protocols/raft/log.ts'
import { emptyLog } from '../../../protocols/raft/genesis.ts'
import type { MessageOf } from '../../../protocols/raft/messages.ts'
import type { Progress } from '../../../protocols/raft/progress.ts'
import { status, step } from '../../../protocols/raft/raft.ts'
import {
  change,
  Cluster,
  ELECTION_TICKS,
  entriesOf,
  founded,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  recoveredWith,
  says,
} from './cluster.ts'

const progressOf = (member: Member, n: number): Progress => member.raft.progress.get(peer(n)) as Progress
const appendsTo = ({ network }: Cluster, n: number): MessageOf<'MsgApp'>[] =>
  network.filter((sent): sent is MessageOf<'MsgApp'> => sent.kind === 'MsgApp' && sent.to === peer(n))

test('probe_and_replicate: one message until the logs meet, then a stream', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.cut(3)
  leader.feed({ kind: 'unreachable', peer: peer(3) })
  t.is(progressOf(leader, 3).state, 'probe')
  leader.propose('a')
  leader.propose('b')
  leader.propose('c')
  t.is(appendsTo(cluster, 3).length, 1, 'a probe is not repeated')
  t.is(appendsTo(cluster, 2).length, 3)
  cluster.settle()
  cluster.heal()
  cluster.tick(HEARTBEAT_TICKS)
  t.is(progressOf(leader, 3).state, 'replicate')
  t.deepEqual(cluster.member(3).texts(), ['a', 'b', 'c'])
})

test('heartbeat_resp_recovers_from_probing: a lost probe is sent again at the next heartbeat', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  leader.feed({ kind: 'unreachable', peer: peer(2) })
  leader.propose('a')
  cluster.network = []
  t.true(progressOf(leader, 2).paused)
  cluster.tick(HEARTBEAT_TICKS)
  t.like(progressOf(leader, 2), { state: 'replicate', match: 2 })
})

test('replicate_pause and MsgAppFlowControlFull: no more than INFLIGHT_APPENDS_MAX are under way', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  for (let i = 0; i < INFLIGHT_APPENDS_MAX + 20; i++) leader.propose('a')
  t.is(appendsTo(cluster, 2).length, INFLIGHT_APPENDS_MAX)
  t.true(progressOf(leader, 2).paused)
  cluster.network = []

  // MsgAppFlowControlMoveForward: an answer to the first makes room for what was held up.
  const first = 2
  leader.feed({ kind: 'message', message: says('MsgAppResp', 1, { index: first + 4 }) })
  t.is(
    appendsTo(cluster, 2).reduce((sum, { entries }) => sum + entries.length, 0),
    20,
    'all that was held up, in one message',
  )
  t.is(progressOf(leader, 2).inflight.length, INFLIGHT_APPENDS_MAX - 5 + 1)
})

test('MsgAppFlowControlRecvHeartbeat: a heartbeat answer lets one message through a full window', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  for (let i = 0; i < INFLIGHT_APPENDS_MAX + 1; i++) leader.propose('a')
  for (let i = 0; i < 3; i++) {
    cluster.network = []
    leader.feed({ kind: 'message', message: says('MsgHeartbeatResp', 1) })
    t.is(appendsTo(cluster, 2).length, 1)
    t.is(appendsTo(cluster, 2)[0]?.entries.length, 0)
    t.true(progressOf(leader, 2).paused)
  }
})

test('a stream whose messages were all lost recovers by itself', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.cut(2)
  for (let i = 0; i < 2 * INFLIGHT_APPENDS_MAX; i++) leader.propose(`${i}`)
  cluster.settle()
  cluster.heal()
  cluster.tick(4 * HEARTBEAT_TICKS)
  t.is(cluster.member(2).texts().length, 2 * INFLIGHT_APPENDS_MAX)
})

test('FastLogRejection: a long tail of other terms is skipped in one round', (t) => {
  const cluster = new Cluster()
  const agreed = [1, 1, 1]
  const leader = cluster.add(
    1,
    recoveredWith([1, 2, 3], [...agreed, ...Array<number>(50).fill(5)], { term: 8 }),
  )
  cluster.add(
    2,
    recoveredWith([1, 2, 3], [...agreed, ...Array<number>(30).fill(2), ...Array<number>(30).fill(4)], {
      term: 8,
    }),
  )
  leader.campaign()
  for (const kind of ['MsgPreVoteResp', 'MsgVoteResp'] as const) {
    leader.feed({ kind: 'message', message: says(kind, 9, { from: peer(3) }) })
  }
  let rejections = 0
  cluster.onPost = (sent) => (rejections += sent.kind === 'MsgAppResp' && sent.reject ? 1 : 0)
  cluster.settle()
  t.is(lastIndex(cluster.member(2).raft.log), 54)
  t.true(rejections <= 2, `${rejections} rejections`)
})

test('LogReplicationWithReorderedMessage: overtaken appends are rejected, then repaired', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  for (let i = 0; i < 5; i++) leader.propose(`${i}`)
  cluster.network.reverse()
  cluster.settle()
  cluster.tick(2 * HEARTBEAT_TICKS)
  for (const n of [2, 3]) t.deepEqual(cluster.member(n).texts(), ['0', '1', '2', '3', '4'])
})

test('lagging_commit: a follower that missed the news of a commit has it by the next heartbeat', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  leader.propose('a')
  cluster.passes = (sent) => !(sent.to === peer(3) && sent.kind === 'MsgApp' && sent.entries.length === 0)
  cluster.settle()
  t.deepEqual(cluster.member(3).texts(), [])
  cluster.tick(HEARTBEAT_TICKS)
  t.deepEqual(cluster.member(3).texts(), ['a'])
})

test('proposals of one turn go out in one message to each follower, and are answered one by one', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.settle()
  const sizes = [1, PROPOSAL_BYTES_MAX + 1, 2, 3]
  const proposals = sizes.map((size, token) => ({ token, data: new Uint8Array(size) }))
  const effects = leader.feed({ kind: 'propose', proposals })
  const answers = effects.flatMap((each): (number | string)[] =>
    each.kind === 'proposed' ? [each.token] : each.kind === 'refused' ? [each.why] : [],
  )
  t.deepEqual(answers, [0, 'too-large', 2, 3])
  const sent = effects.flatMap((each) => (each.kind === 'send' ? [each.message] : []))
  t.deepEqual(
    sent.map((message) => message.kind === 'MsgApp' && message.entries.map(({ data }) => data.length)),
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  )
  t.is(effects.filter(({ kind }) => kind === 'store').length, 1)
  cluster.settle()
  for (const n of [1, 2, 3]) t.is(cluster.member(n).raft.log.commit, leader.raft.log.commit)
})

test('UncommittedEntryLimit: more than its bytes is refused as busy; what is applied makes room', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  const data = new Uint8Array(PROPOSAL_BYTES_MAX)
  const most = UNCOMMITTED_BYTES_MAX / PROPOSAL_BYTES_MAX
  const proposed = (): boolean =>
    leader.feed({ kind: 'propose', proposals: [{ token: 1, data }] }).some(({ kind }) => kind === 'proposed')
  for (let i = 0; i < most; i++) t.true(proposed())
  t.false(proposed())
  cluster.settle()
  t.is(leader.raft.log.applied, most + 1)
  t.is(leader.raft.uncommittedBytes, 0)
  t.true(proposed())
})

test('RawNodeBoundedLogGrowthWithPartition: PROPOSALS_MAX, then busy; a proposal too large is never taken', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  cluster.cut(1)
  for (let i = 0; i < PROPOSALS_MAX; i++) {
    leader.propose('a')
    cluster.network = []
  }
  t.like(leader.propose('b', 9)[0], { kind: 'refused', token: 9, why: 'busy' })
  const data = new Uint8Array(PROPOSAL_BYTES_MAX + 1)
  t.like(leader.feed({ kind: 'propose', proposals: [{ token: 10, data }] })[0], {
    kind: 'refused',
    why: 'too-large',
  })
})

test('a proposal to a follower is refused with the name of its leader', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1)
  t.deepEqual(cluster.member(2).propose('a', 4), [
    { kind: 'refused', token: 4, why: 'not-leader', leader: peer(1) },
  ])
})

test('CannotCommitWithoutNewTermEntry, CommitWithoutNewTermEntry: the no-op brings entries of earlier terms along', (t) => {
  const cluster = Cluster.of([1, 2, 3, 4, 5])
  const first = cluster.elect(1)
  cluster.cut(1, 2)
  first.propose('a')
  first.propose('b')
  cluster.settle()
  t.is(first.raft.log.commit, 1)
  cluster.heal()
  // Nobody but 2 can have them; 2 is elected and its appends do not arrive yet.
  cluster.passes = ({ kind }) => kind !== 'MsgApp'
  first.tick(2 * ELECTION_TICKS)
  cluster.network = []
  cluster.member(2).tick(ELECTION_TICKS)
  for (const n of [3, 4, 5]) cluster.member(n).tick(ELECTION_TICKS)
  cluster.network = []
  const second = cluster.elect(2)
  t.is(second.raft.role, 'leader')
  t.is(second.raft.log.commit, 1)
  cluster.heal()
  cluster.tick(3 * HEARTBEAT_TICKS)
  t.deepEqual(cluster.member(5).texts(), ['a', 'b'])
})

test('a change is refused before the no-op is committed, and while another is not applied', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.member(1)
  leader.campaign()
  leader.feed({ kind: 'message', message: says('MsgPreVoteResp', 1) })
  leader.feed({ kind: 'message', message: says('MsgVoteResp', 1) })
  const add = (n: number, token: number) =>
    leader.feed({ kind: 'propose-change', token, change: change('add-learner-node', n) }).at(-1)
  t.like(add(4, 1), { kind: 'refused', why: 'no-op' })
  cluster.settle()
  t.true(add(4, 2)?.kind !== 'refused')
  t.like(add(5, 3), { kind: 'refused', why: 'change-pending' })
  cluster.settle()
  t.true(add(5, 4)?.kind !== 'refused')
  cluster.settle()
  for (const n of [1, 2, 3]) t.deepEqual(cluster.member(n).raft.configuration.learners, [peer(4), peer(5)])
})

test('NewLeaderPendingConfig: a change in the log of a new leader is waited for', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.elect(1).feed({ kind: 'propose-change', token: 1, change: change('add-learner-node', 4) })
  cluster.network = cluster.network.filter(({ to }) => to === peer(2))
  cluster.passes = ({ to }) => to === peer(2)
  cluster.settle()
  cluster.member(1).crash()
  cluster.heal()
  const second = cluster.member(2)
  second.tick(3 * ELECTION_TICKS)
  cluster.member(3).tick(ELECTION_TICKS)
  cluster.network = []
  second.tick(2 * ELECTION_TICKS)
  cluster.settle()
  t.is(second.raft.role, 'leader')
  t.is(second.raft.lastChangeIndex, 2)
  t.deepEqual(second.raft.configuration.learners, [peer(4)])
})

test('a learner that knows nothing is brought up to date by whoever leads', (t) => {
  const cluster = new Cluster()
  cluster.add(1, founded([1]))
  const leader = cluster.elect(1)
  for (let i = 0; i < 20; i++) leader.propose(`${i}`)
  const learner = cluster.add(2, emptyLog())
  leader.feed({ kind: 'propose-change', token: 1, change: change('add-learner-node', 2) })
  cluster.settle()
  t.is(learner.texts().length, 20)
  t.deepEqual(learner.raft.configuration, leader.raft.configuration)
  t.is(learner.raft.leader, peer(1))
  leader.propose('last')
  cluster.settle()
  t.is(learner.texts().at(-1), 'last')
})

test('one write is in flight at a time; what comes up meanwhile shares the next one', (t) => {
  const leader = Cluster.of([1]).member(1)
  leader.tick()
  leader.autoSync = false
  for (let i = 0; i < 10; i++) leader.propose(`${i}`)
  t.is(leader.disk.length, 1)
  leader.sync(1)
  t.is(leader.disk.length, 1)
  t.deepEqual(leader.texts(), ['0'])
  leader.sync(1)
  t.is(leader.disk.length, 0, 'nine proposals, one write')
  t.is(leader.texts().length, 10)
})

test('async_storage_writes_append_aba_race: a late completion does not make newer entries stable', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(1)
  member.sync()
  member.autoSync = false
  member.feed({ kind: 'message', message: says('MsgApp', 1, { entries: entriesOf(1, 1, 1) }) })
  t.is(member.disk.length, 1)
  // A leader of term 2 replaces the second and third while they are on their way to disk.
  const newer = { from: peer(3), index: 1, logTerm: 1, entries: entriesOf(2, 2) }
  member.feed({ kind: 'message', message: says('MsgApp', 2, newer) })
  member.sync(1)
  t.is(member.raft.log.stable, 1)
  cluster.network = []
  member.sync(1)
  t.is(member.raft.log.stable, 3)
  t.like(cluster.network[0], { kind: 'MsgAppResp', to: peer(3), index: 3, reject: false })
  t.deepEqual(
    member.recovered()?.entries.map(({ term }) => term),
    [1, 2, 2],
  )
})

test('entries that are replaced before they get to the disk are never acknowledged', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(1)
  member.sync()
  member.autoSync = false
  cluster.network = []
  member.feed({ kind: 'message', message: says('MsgApp', 1, { entries: entriesOf(1) }) })
  // These wait for the write in flight, and are gone before the next.
  const doomed = { index: 1, logTerm: 1, entries: entriesOf(1, 1, 1) }
  member.feed({ kind: 'message', message: says('MsgApp', 1, doomed) })
  const newer = { from: peer(3), index: 1, logTerm: 1, entries: entriesOf(2) }
  member.feed({ kind: 'message', message: says('MsgApp', 2, newer) })
  member.sync()
  t.deepEqual(
    cluster.network.map((sent) => sent.kind === 'MsgAppResp' && [sent.to, sent.term, sent.index]),
    [
      [peer(2), 1, 1],
      [peer(3), 2, 2],
    ],
  )
})

test('a longer tail that was replaced is gone from the disk too', (t) => {
  const cluster = new Cluster()
  const member = cluster.add(1, recoveredWith([1, 2, 3], [1, 1, 1, 1]))
  member.feed({
    kind: 'message',
    message: says('MsgApp', 2, { index: 1, logTerm: 1, entries: entriesOf(2) }),
  })
  t.deepEqual(
    member.recovered()?.entries.map(({ term }) => term),
    [1, 2],
  )
})

test('an acknowledgement waits for the disk, and while the disk is stuck it is kept once', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const member = cluster.member(1)
  member.sync()
  member.autoSync = false
  cluster.network = []
  const append = says('MsgApp', 1, { entries: entriesOf(1) })
  for (let i = 0; i < 50; i++) member.feed({ kind: 'message', message: append })
  t.deepEqual(cluster.network, [])
  t.is(member.disk[0]?.held.length, 1)
  const more = says('MsgApp', 1, { index: 1, logTerm: 1, entries: entriesOf(1) })
  for (let i = 0; i < 50; i++) member.feed({ kind: 'message', message: more })
  t.is(member.raft.writing.waiting.length, 1)
  member.sync()
  t.deepEqual(
    cluster.network.map((sent) => sent.kind === 'MsgAppResp' && sent.index),
    [1, 2],
  )
})

test('several writes may be in flight; one that is replaced meanwhile makes nothing stable', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.options = { writesInFlight: 3 }
  const member = cluster.member(1)
  member.sync()
  member.start()
  member.autoSync = false
  cluster.network = []
  const append = (term: number, index: number): void => {
    const message = says('MsgApp', term, { index, logTerm: index === 0 ? 0 : term, entries: entriesOf(term) })
    member.feed({ kind: 'message', message })
  }
  append(1, 0)
  append(1, 1)
  // Another leader's entry takes the place of both.
  append(2, 0)
  t.is(member.disk.length, 3)
  member.sync(2)
  t.is(member.raft.log.stable, 0)
  member.sync()
  t.is(member.raft.log.stable, 1)
  t.deepEqual(
    member.recovered()?.entries.map(({ term }) => term),
    [2],
  )
})

test('disk/power-loss-unsynced-tail: what was acknowledged survives any crash of all', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  leader.propose('kept')
  cluster.settle()
  for (const member of cluster.members.values()) member.autoSync = false
  leader.propose('not acknowledged')
  for (const member of cluster.members.values()) member.crash()
  for (const member of cluster.members.values()) {
    member.autoSync = true
    member.start()
  }
  cluster.network = []
  cluster.tick(6 * ELECTION_TICKS)
  t.is(cluster.leaders().length, 1)
  for (const member of cluster.members.values()) t.deepEqual(member.texts(), ['kept'])
})

test('effects come in order: the write, messages, answers, the role, entries to apply', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  const leader = cluster.elect(1)
  leader.autoSync = false
  const effects = leader.propose('a', 3)
  t.deepEqual(
    effects.map(({ kind }) => kind),
    ['store', 'send', 'send', 'proposed'],
  )
  const write = effects[0]
  t.true(write?.kind === 'store' && write.entries.length === 1)
})

test('a leader of 49 learners ticks in microseconds, whatever the length of its log', (t) => {
  const learners = Array.from({ length: 60 }, (_, at) => at + 11)
    .filter((n) => n % 10 !== 0)
    .slice(0, 49)
  const cluster = Cluster.of([1], learners)
  const leader = cluster.member(1)
  leader.tick()
  leader.autoSync = false
  for (let i = 0; i < PROPOSALS_MAX - 1; i++)
    step(leader.raft, { kind: 'propose', proposals: [{ token: i, data: new Uint8Array([1]) }] })
  t.is(status(leader.raft).progress.length, 50)
  let touched = 0
  const { entries } = leader.raft.log
  leader.raft.log.entries = new Proxy(entries, {
    get: (target, name) => {
      if (typeof name === 'string' && /^\d+$/.test(name)) touched++
      return Reflect.get(target, name, target) as unknown
    },
  })
  for (let i = 0; i < HEARTBEAT_TICKS; i++) step(leader.raft, { kind: 'tick' })
  t.is(touched, 0, 'a tick looks at no entry')
})

import { crc32 } from 'node:zlib'
import test from 'ava'
import { LOG_ENTRIES_KEPT, SNAPSHOT_PART_BYTES } from '../../../protocols/limits.ts'
import { votersOf } from '../../../protocols/raft/configuration.ts'
import { lastIndex, termAt } from '../../../protocols/raft/log.ts'
import type { Message, MessageOf } from '../../../protocols/raft/messages.ts'
import { status } from '../../../protocols/raft/raft.ts'
import type { Configuration } from '../../../protocols/raft/types.ts'
import {
  HEADER,
  change,
  Cluster,
  configurationOf,
  ELECTION_TICKS,
  genesis,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  says,
} from './cluster.ts'

/** One voter that has forgotten its first entries, and a learner that needs them. */
function behind(proposals = 40): { cluster: Cluster; leader: Member; learner: Member } {
  const cluster = new Cluster()
  cluster.options = { entriesKept: 2, snapshotPartBytes: 16 }
  const first = genesis(configurationOf([1], [2]))
  const leader = cluster.add(1, first)
  leader.tick()
  for (let i = 0; i < proposals; i++) leader.propose(`p${i}`)
  leader.compact()
  cluster.network = []
  return { cluster, leader, learner: cluster.add(2, first) }
}

const parts = ({ network }: Cluster): MessageOf<'MsgSnap'>[] =>
  network.filter((sent): sent is MessageOf<'MsgSnap'> => sent.kind === 'MsgSnap')

test('slow_follower_after_compaction: what is gone from the log comes as a snapshot, in parts, then entries', (t) => {
  const { cluster, leader, learner } = behind()
  let most = 0
  cluster.onPost = () => (most = Math.max(most, parts(cluster).length))
  cluster.tick(2 * HEARTBEAT_TICKS)
  t.deepEqual(learner.texts(), leader.texts())
  t.is(learner.effects('restore').length, 1)
  t.true(most <= 2, 'no more than SNAPSHOT_PARTS_IN_FLIGHT')
  t.is(status(learner.raft).snapshotIndex, 41)
  leader.propose('last')
  cluster.settle()
  t.is(learner.texts().at(-1), 'last')
  t.is(status(leader.raft).progress.find(({ peer: id }) => id === peer(2))?.state, 'replicate')
})

test('a part that is lost is sent again, from the last that was acknowledged', (t) => {
  const { cluster, leader, learner } = behind()
  let lost = 0
  let sent = 0
  cluster.passes = (message) => {
    if (message.kind !== 'MsgSnap') return true
    sent++
    return message.offset !== 32 || lost++ > 0
  }
  cluster.tick(6 * HEARTBEAT_TICKS)
  t.deepEqual(learner.texts(), leader.texts())
  const needed = Math.ceil(leader.raft.snapshot.data.length / 16)
  t.true(sent <= needed + 3, `${sent} parts sent of ${needed}`)
})

test('a transfer goes on where it stopped after the connection was lost', (t) => {
  const { cluster, leader, learner } = behind()
  let sent = 0
  cluster.passes = (message) => message.kind !== 'MsgSnap' || ++sent < 5
  cluster.tick(HEARTBEAT_TICKS)
  const here = learner.raft.incoming?.offset ?? 0
  t.true(here > 0)
  leader.feed({ kind: 'unreachable', peer: peer(2) })
  cluster.network = []
  cluster.heal()
  let lowest = Infinity
  cluster.onPost = (message) =>
    (lowest = message.kind === 'MsgSnap' ? Math.min(lowest, message.offset) : lowest)
  cluster.tick(2 * HEARTBEAT_TICKS)
  t.is(lowest, here)
  t.deepEqual(learner.texts(), leader.texts())
})

test('a receiver that restarts in the middle begins again', (t) => {
  const { cluster, leader, learner } = behind()
  let sent = 0
  cluster.passes = (message) => message.kind !== 'MsgSnap' || ++sent < 5
  cluster.tick(HEARTBEAT_TICKS)
  learner.crash()
  learner.start()
  cluster.heal()
  cluster.tick(8 * HEARTBEAT_TICKS)
  t.deepEqual(learner.texts(), leader.texts())
})

test('a snapshot whose bytes are not what they were is never installed', (t) => {
  const { cluster, learner } = behind()
  cluster.passes = (message) => {
    if (message.kind === 'MsgSnap' && message.offset === 16) message.data[3] = 255
    return true
  }
  cluster.tick(3 * HEARTBEAT_TICKS)
  t.deepEqual(learner.texts(), [])
  t.is(learner.effects('restore').length, 0)
  cluster.heal()
  cluster.tick(8 * HEARTBEAT_TICKS)
  t.is(learner.texts().length, 40)
})

test('snapshot_succeed_via_app_resp: a follower that got there otherwise is streamed to at once', (t) => {
  const { cluster, leader, learner } = behind()
  cluster.passes = ({ kind }) => kind !== 'MsgSnap'
  cluster.tick(HEARTBEAT_TICKS)
  const progress = leader.raft.progress.get(peer(2))
  t.is(progress?.state, 'snapshot')
  const accepted = { kind: 'MsgAppResp', ...HEADER, from: peer(2), to: peer(1), term: 1 } as const
  leader.feed({
    kind: 'message',
    message: { ...accepted, index: 41, reject: false, rejectHint: 0, logTerm: 0 },
  })
  t.like(progress, { state: 'replicate', match: 41 })
  t.is(learner.raft.incoming, undefined)
})

test('snapshot/two-in-a-row: a newer snapshot does not disturb the transfer of the older', (t) => {
  const { cluster, leader, learner } = behind()
  let sent = 0
  cluster.passes = (message) => message.kind !== 'MsgSnap' || ++sent < 4
  cluster.tick(HEARTBEAT_TICKS)
  for (let i = 0; i < 30; i++) leader.propose(`q${i}`)
  leader.compact()
  for (let i = 0; i < 30; i++) leader.propose(`r${i}`)
  leader.compact()
  cluster.heal()
  cluster.tick(12 * HEARTBEAT_TICKS)
  t.deepEqual(learner.texts(), leader.texts())
  t.deepEqual(
    learner.effects('restore').map(({ snapshot }) => snapshot.index),
    [41, 101],
  )
})

test('PendingSnapshotPauseReplication: no entries go out while a snapshot is under way', (t) => {
  const { cluster, leader } = behind()
  cluster.passes = ({ kind }) => kind !== 'MsgSnap'
  cluster.tick(HEARTBEAT_TICKS)
  cluster.network = []
  leader.propose('more')
  t.deepEqual(cluster.network, [])
})

test('SlowNodeRestore: a voter that was away comes back by snapshot, and counts again', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.options = { entriesKept: 2, snapshotPartBytes: 64 }
  for (const member of cluster.members.values()) member.start()
  const leader = cluster.elect(1)
  cluster.cut(3)
  for (let i = 0; i < 50; i++) leader.propose(`${i}`)
  cluster.settle()
  leader.compact()
  cluster.heal()
  cluster.tick(3 * HEARTBEAT_TICKS)
  t.deepEqual(cluster.member(3).texts(), leader.texts())
  cluster.cut(2)
  leader.propose('with 3')
  cluster.settle()
  t.is(leader.texts().at(-1), 'with 3')
})

test('the snapshot is restored only when it is on disk, and only then acknowledged', (t) => {
  const { cluster, leader, learner } = behind()
  learner.sync()
  learner.autoSync = false
  cluster.tick(4 * HEARTBEAT_TICKS)
  t.is(learner.effects('restore').length, 0)
  t.is(leader.raft.progress.get(peer(2))?.match, 0)
  while (learner.disk.length > 0) learner.sync()
  t.is(learner.effects('restore').length, 1)
  t.is(learner.recovered()?.snapshot.index, 41)
  cluster.settle()
  t.is(leader.raft.progress.get(peer(2))?.match, 41)
})

test('entries of another history go with the log that a snapshot replaces, on disk too', (t) => {
  const cluster = Cluster.of([1, 2, 3])
  cluster.options = { entriesKept: 0, snapshotPartBytes: 64 }
  for (const member of cluster.members.values()) member.start()
  const old = cluster.elect(1)
  cluster.cut(1)
  for (let i = 0; i < 60; i++) old.propose(`lost ${i}`)
  cluster.network = []
  for (let i = 0; i < 4 * ELECTION_TICKS; i++) {
    for (const n of [2, 3]) cluster.member(n).tick()
    cluster.settle()
  }
  const second = cluster.leaders().find(({ id }) => id !== peer(1)) as Member
  second.propose('agreed')
  cluster.settle()
  second.compact()
  cluster.heal()
  cluster.tick(4 * ELECTION_TICKS)
  t.deepEqual(old.texts(), ['agreed'])
  old.crash()
  old.start()
  t.is(old.raft.log.entries.length, 0)
  t.deepEqual(old.texts(), ['agreed'])
})

test('a compaction keeps the newest entries, and a restart finds snapshot and tail', (t) => {
  const member = Cluster.of([1]).member(1)
  member.tick()
  for (let i = 0; i < LOG_ENTRIES_KEPT + 100; i++) member.propose(`${i}`)
  member.compact()
  t.is(member.raft.log.entries.length, LOG_ENTRIES_KEPT)
  const texts = [...member.texts()]
  member.propose('after')
  member.crash()
  member.start()
  member.tick()
  t.deepEqual(member.texts(), [...texts, 'after'])
})

test('a snapshot names the configuration of its own index, not of later ones', (t) => {
  const cluster = Cluster.of([1])
  const leader = cluster.elect(1)
  leader.propose('a')
  const { applied } = leader.raft.log
  leader.feed({ kind: 'propose-change', token: 1, change: change('add-learner-node', 2) })
  t.is(leader.raft.configuration.learners.length, 1)
  leader.feed({ kind: 'compact', index: applied, data: new Uint8Array([1]) })
  t.deepEqual(leader.raft.snapshot.configuration.learners, [])
  leader.compact()
  t.deepEqual(leader.raft.snapshot.configuration.learners, [peer(2)])
})

test('a state of several parts of full size arrives as it was', (t) => {
  const cluster = new Cluster()
  cluster.options = { entriesKept: 0 }
  const first = genesis(configurationOf([1], [2]))
  const leader = cluster.add(1, first)
  leader.tick()
  for (let i = 0; i < 9; i++) leader.propose(`${i}`.repeat(100_000))
  leader.compact()
  cluster.network = []
  const learner = cluster.add(2, first)
  const sizes: number[] = []
  cluster.onPost = (sent) => sizes.push(...(sent.kind === 'MsgSnap' ? [sent.data.length] : []))
  cluster.tick(2 * HEARTBEAT_TICKS)
  t.deepEqual(sizes, [
    SNAPSHOT_PART_BYTES,
    SNAPSHOT_PART_BYTES,
    SNAPSHOT_PART_BYTES,
    900_008 - 3 * SNAPSHOT_PART_BYTES,
  ])
  t.deepEqual(learner.texts(), leader.texts())
})

test('SnapshotAbort: an acknowledgement of what the snapshot was to bring ends it, and entries follow', (t) => {
  const { cluster, leader } = behind()
  cluster.passes = ({ kind }) => kind !== 'MsgSnap'
  cluster.tick(HEARTBEAT_TICKS)
  leader.propose('more')
  const progress = leader.raft.progress.get(peer(2))
  t.like(progress, { state: 'snapshot', next: 42 })
  cluster.network = []
  leader.feed({ kind: 'message', message: says('MsgAppResp', 1, { index: 41 }) })
  t.like(progress, { state: 'replicate', match: 41, next: 43, transfer: undefined })
  t.is(progress?.inflight.length, 1)
})

for (const status of ['finish', 'failure'] as const) {
  test(`report-snapshot ${status}: probed after it, once the member was heard`, (t) => {
    const { cluster, leader } = behind()
    cluster.passes = ({ kind }) => kind !== 'MsgSnap'
    cluster.tick(HEARTBEAT_TICKS)
    const progress = leader.raft.progress.get(peer(2))
    leader.feed({ kind: 'report-snapshot', peer: peer(2), status })
    t.like(progress, { state: 'probe', paused: true, next: status === 'finish' ? 42 : 1 })
    leader.feed({ kind: 'report-snapshot', peer: peer(2), status })
    t.is(progress?.state, 'probe')
  })
}

/** A snapshot of index and term 11 from member 2, whole. */
const whole = (configuration: Configuration, to = 1): Message => ({
  kind: 'MsgSnap',
  ...HEADER,
  from: peer(2),
  to: peer(to),
  term: 11,
  index: 11,
  logTerm: 11,
  configuration,
  offset: 0,
  total: 1,
  data: Uint8Array.of(65),
  last: true,
  checksum: crc32(Uint8Array.of(65)),
})

test('RestoreWithVotersOutgoing: both halves are in force; it campaigns only with the snapshot on disk', (t) => {
  const cluster = Cluster.of([1, 2])
  const member = cluster.member(1)
  member.autoSync = false
  const joint = { ...configurationOf([2, 3, 4]), votersOutgoing: [1, 2, 3].map(peer) }
  member.feed({ kind: 'message', message: whole(joint) })
  t.is(lastIndex(member.raft.log), 11)
  t.is(termAt(member.raft.log, 11), 11)
  t.deepEqual(votersOf(member.raft.configuration), [1, 2, 3, 4].map(peer))
  member.tick(2 * ELECTION_TICKS)
  t.is(member.raft.role, 'follower')
  member.feed({ kind: 'message', message: whole(joint) })
  member.sync()
  t.is(member.effects('restore').length, 1, 'the same snapshot again is none')
  member.tick(2 * ELECTION_TICKS)
  t.is(member.raft.role, 'pre-candidate')
})

test('RestoreVoterToLearner: a voter takes a snapshot in which it is a learner', (t) => {
  const member = Cluster.of([1, 2, 3]).member(3)
  member.feed({ kind: 'message', message: whole(configurationOf([1, 2], [3]), 3) })
  t.is(member.effects('restore').length, 1)
  t.deepEqual(member.raft.configuration, configurationOf([1, 2], [3]))
  member.tick(4 * ELECTION_TICKS)
  t.is(member.raft.role, 'follower')
})

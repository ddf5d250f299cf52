import test from 'ava'
import { status } from '../../../protocols/raft/raft.ts'
import type { Entry } from '../../../protocols/raft/types.ts'
import { change, Cluster, HEARTBEAT_TICKS, type Member, recoveredWith } from './cluster.ts'

/** Two voters, the first leads and has proposed five texts; and one outside, who heard nothing. */
function mesh(): { cluster: Cluster; leader: Member; outside: Member } {
  const cluster = Cluster.of([1, 2], [], [3])
  const leader = cluster.elect(1)
  for (let n = 1; n <= 5; n++) leader.propose(`p${n}`)
  cluster.settle()
  return { cluster, leader, outside: cluster.member(3) }
}

const committed = ({ applied }: Member, from = 1, to = Infinity): Entry[] =>
  applied.filter(({ index }) => index >= from && index <= to)

test('what is learned is applied, each entry once, however often and in whatever pieces it comes', (t) => {
  const { leader, outside } = mesh()
  outside.feed({ kind: 'learn', entries: committed(leader, 1, 3) })
  outside.feed({ kind: 'learn', entries: committed(leader, 2, 4) })
  outside.feed({ kind: 'learn', entries: committed(leader, 6) })
  t.deepEqual(committed(outside), committed(leader, 1, 4))
  outside.feed({ kind: 'learn', entries: committed(leader) })
  t.deepEqual(outside.texts(), leader.texts())
  t.deepEqual(committed(outside), committed(leader))
})

test('it is on disk like everything else, and acknowledged to nobody', (t) => {
  const { cluster, leader, outside } = mesh()
  cluster.onPost = ({ kind }) => t.fail(kind)
  outside.autoSync = false
  outside.feed({ kind: 'learn', entries: committed(leader) })
  t.deepEqual(outside.texts(), [])
  outside.sync()
  t.deepEqual(outside.texts(), leader.texts())
  outside.crash()
  outside.start()
  t.is(status(outside.raft).lastIndex, status(leader.raft).commit)
  t.is(status(outside.raft).term, leader.raft.term)
})

test('who is taken in goes on with the log it has', (t) => {
  const { cluster, leader, outside } = mesh()
  outside.feed({ kind: 'learn', entries: committed(leader) })
  const sent: number[] = []
  cluster.onPost = (message) => {
    t.not(message.kind, 'MsgSnap')
    if (message.kind === 'MsgApp' && message.to === outside.id)
      sent.push(...message.entries.map((_, at) => message.index + 1 + at))
  }
  const before = status(leader.raft).lastIndex
  leader.feed({ kind: 'propose-change', token: 0, change: change('add-learner-node', 3) })
  cluster.tick(2 * HEARTBEAT_TICKS)
  leader.propose('last')
  cluster.settle()
  t.is(outside.texts().at(-1), 'last')
  t.true(
    sent.every((index) => index > before),
    `sent ${sent.join(' ')}`,
  )
})

test('what was agreed nowhere gives way', (t) => {
  const { leader } = mesh()
  const cluster = new Cluster()
  const odd = cluster.add(3, recoveredWith([3, 4], [1, 1, 1], { term: 1, commit: 0 }))
  odd.feed({ kind: 'learn', entries: committed(leader).map((entry) => ({ ...entry, term: 2 })) })
  t.deepEqual(odd.texts(), leader.texts())
  t.is(status(odd.raft).term, 2)
})

test('a leader has nothing to learn in its own term, and leads no more in a later one', (t) => {
  const { leader } = mesh()
  const last = status(leader.raft).lastIndex + 1
  const later = (term: number): Entry[] => [{ term, index: last, kind: 'normal', data: Buffer.from('later') }]
  leader.feed({ kind: 'learn', entries: later(leader.raft.term) })
  t.is(leader.raft.role, 'leader')
  t.is(status(leader.raft).lastIndex, last - 1)
  leader.feed({ kind: 'learn', entries: later(leader.raft.term + 1) })
  t.is(leader.raft.role, 'follower')
  t.is(leader.texts().at(-1), 'later')
})

test('a snapshot is learned where it is newer, and only there', (t) => {
  const { leader, outside } = mesh()
  leader.compact()
  const { snapshot } = leader.raft
  outside.feed({ kind: 'learn', entries: committed(leader, 1, 2) })
  outside.feed({ kind: 'learn-snapshot', snapshot })
  t.deepEqual(outside.texts(), leader.texts())
  t.deepEqual(status(outside.raft).configuration, status(leader.raft).configuration)
  outside.feed({ kind: 'learn-snapshot', snapshot: { ...snapshot, index: 1, data: new Uint8Array() } })
  t.deepEqual(outside.texts(), leader.texts())
  leader.propose('more')
  t.is(outside.effects('restore').length, 1)
})

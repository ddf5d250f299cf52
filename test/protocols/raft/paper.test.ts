/** One test for each sentence of the Raft paper's sections 5.1 to 5.4 that says what a server does; etcd's names for them. */
import test from 'ava'
import { lastIndex } from '../../../protocols/raft/log.ts'
import type { Message, MessageOf } from '../../../protocols/raft/messages.ts'
import type { Role } from '../../../protocols/raft/types.ts'
import {
  Cluster,
  configurationOf,
  ELECTION_TICKS,
  entriesOf,
  genesis,
  HEARTBEAT_TICKS,
  type Member,
  peer,
  recoveredWith,
  says,
} from './cluster.ts'

/** Member 1 of a group of three whose others say only what the test lets them say. */
function alone(voters = [1, 2, 3], terms: number[] = [], hardState = {}): Member {
  const cluster = new Cluster()
  const member = cluster.add(1, recoveredWith(voters, terms, hardState))
  cluster.network = []
  return member
}

function hear(member: Member, message: Message): void {
  member.feed({ kind: 'message', message })
}

function taken<K extends Message['kind']>({ cluster }: Member, kind: K): MessageOf<K>[] {
  const found = cluster.network.filter((sent): sent is MessageOf<K> & Message => sent.kind === kind)
  cluster.network = []
  return found
}

/** Brings member 1 into a role, in `term`, as the leader's first entry is stored and nobody has answered. */
function inRole(role: Role, term: number): Member {
  const member = alone([1, 2, 3], [], { term: term - (role === 'follower' ? 0 : 1) })
  if (role === 'follower') return member
  member.campaign()
  if (role === 'pre-candidate') return member
  hear(member, says('MsgPreVoteResp', term))
  if (role === 'leader') hear(member, says('MsgVoteResp', term))
  return member
}

for (const name of ['Follower', 'Candidate', 'Leader']) {
  const role = name.toLowerCase() as Role
  test(`${name}UpdateTermFromMessage`, (t) => {
    const member = inRole(role, 1)
    t.is(member.raft.role, role)
    hear(member, says('MsgApp', 2))
    t.like(member.raft, { term: 2, role: 'follower', leader: peer(2) })
  })
}

test('RejectStaleTermMessage', (t) => {
  const member = alone([1, 2, 3], [], { term: 2 })
  hear(member, says('MsgApp', 1, { entries: entriesOf(1) }))
  t.is(lastIndex(member.raft.log), 0)
  t.is(taken(member, 'MsgAppResp')[0]?.term, 2, 'its sender hears of the newer term')
})

test('StartAsFollower', (t) => {
  t.is(alone().raft.role, 'follower')
})

test('LeaderBcastBeat', (t) => {
  const member = inRole('leader', 1)
  taken(member, 'MsgApp')
  member.tick(HEARTBEAT_TICKS)
  t.deepEqual(
    taken(member, 'MsgHeartbeat').map(({ to, term, commit }) => [to, term, commit]),
    [
      [peer(2), 1, 0],
      [peer(3), 1, 0],
    ],
  )
})

for (const role of ['follower', 'candidate'] as const) {
  test(role === 'follower' ? 'FollowerStartElection' : 'CandidateStartNewElection', (t) => {
    const member = inRole(role, 1)
    taken(member, 'MsgVote')
    const { term } = member.raft
    member.tick(2 * ELECTION_TICKS)
    t.is(member.raft.role, 'pre-candidate')
    t.is(member.raft.term, term, 'a pre-candidate has not begun a term')
    t.is(taken(member, 'MsgPreVote')[0]?.term, term + 1)
    hear(member, says('MsgPreVoteResp', term + 1))
    t.like(member.raft, { role: 'candidate', term: term + 1, vote: peer(1) })
    t.deepEqual(
      taken(member, 'MsgVote').map((sent) => [sent.to, sent.term]),
      [
        [peer(2), term + 1],
        [peer(3), term + 1],
      ],
    )
  })
}

const elections: [size: number, votes: Record<number, boolean>, role: Role][] = [
  [1, {}, 'leader'],
  [3, { 2: true, 3: true }, 'leader'],
  [3, { 2: true }, 'leader'],
  [5, { 2: true, 3: true, 4: true, 5: true }, 'leader'],
  [5, { 2: true, 3: true }, 'leader'],
  [3, { 2: false, 3: false }, 'follower'],
  [5, { 2: false, 3: false, 4: false }, 'follower'],
  [5, { 2: true, 3: false, 4: false, 5: false }, 'follower'],
  [3, {}, 'candidate'],
  [5, { 2: true }, 'candidate'],
  [5, { 2: false, 3: false }, 'candidate'],
  [5, {}, 'candidate'],
]
for (const [size, votes, role] of elections) {
  test(`LeaderElectionInOneRoundRPC: of ${size} voters ${JSON.stringify(votes)} make a ${role}`, (t) => {
    const voters = Array.from({ length: size }, (_, at) => at + 1)
    const member = alone(voters)
    member.campaign()
    for (const n of voters.slice(1)) hear(member, says('MsgPreVoteResp', 1, { from: peer(n) }))
    for (const [n, granted] of Object.entries(votes)) {
      hear(member, says('MsgVoteResp', 1, { from: peer(Number(n)), reject: !granted }))
    }
    t.is(member.raft.role, role)
    t.is(member.raft.term, 1)
  })
}

const ballots: [vote: number, asks: number, granted: boolean][] = [
  [0, 2, true],
  [0, 3, true],
  [2, 2, true],
  [3, 3, true],
  [2, 3, false],
  [3, 2, false],
]
for (const [vote, asks, granted] of ballots) {
  test(`FollowerVote: having voted for ${vote}, asked by ${asks}`, (t) => {
    const member = alone([1, 2, 3], [], { term: 1, vote: vote === 0 ? '' : peer(vote) })
    hear(member, says('MsgVote', 1, { from: peer(asks) }))
    t.is(taken(member, 'MsgVoteResp')[0]?.reject, !granted)
    if (granted) t.is(member.recovered()?.hardState.vote, peer(asks), 'on disk before it is said')
  })
}

for (const term of [2, 3]) {
  test(`CandidateFallback: in term 2 an append of term ${term}`, (t) => {
    const member = inRole('candidate', 2)
    hear(member, says('MsgApp', term))
    t.like(member.raft, { role: 'follower', term, leader: peer(2) })
  })
}

/** Ticks until the next campaign, for many seeds. */
function timeouts(role: Role): number[] {
  return Array.from({ length: 300 }, (_, seed) => {
    const cluster = new Cluster(seed)
    const member = cluster.add(1, genesis(configurationOf([1, 2, 3])))
    if (role === 'candidate') {
      member.campaign()
      hear(member, says('MsgPreVoteResp', 1))
    }
    cluster.network = []
    let ticks = 0
    while (cluster.network.length === 0) {
      member.tick()
      ticks++
    }
    return ticks
  })
}
for (const role of ['follower', 'candidate'] as const) {
  const name = role === 'follower' ? 'Follower' : 'Candidate'
  test(`${name}ElectionTimeoutRandomized`, (t) => {
    const seen = new Set(timeouts(role))
    for (let ticks = ELECTION_TICKS; ticks < 2 * ELECTION_TICKS; ticks++) t.true(seen.has(ticks), `${ticks}`)
    t.is(seen.size, ELECTION_TICKS)
  })

  test(`${name}sElectionTimeoutNonconflict`, (t) => {
    // Five members; how often the first two to time out do so in the same tick.
    const all = timeouts(role)
    let conflicts = 0
    for (let at = 0; at < all.length; at += 5) {
      const [first, second] = all.slice(at, at + 5).sort((a, b) => a - b)
      if (first === second) conflicts++
    }
    t.true(conflicts / (all.length / 5) < 0.5, `${conflicts} of ${all.length / 5}`)
  })
}

function leading(): { cluster: Cluster; leader: Member } {
  const cluster = Cluster.of([1, 2, 3])
  return { cluster, leader: cluster.elect(1) }
}

test('LeaderStartReplication', (t) => {
  const { cluster, leader } = leading()
  leader.propose('some')
  t.is(lastIndex(leader.raft.log), 2)
  t.is(leader.raft.log.commit, 1)
  t.deepEqual(
    cluster.network.map(
      (sent) =>
        sent.kind === 'MsgApp' && [sent.to, sent.index, sent.logTerm, sent.commit, sent.entries.length],
    ),
    [
      [peer(2), 1, 1, 1, 1],
      [peer(3), 1, 1, 1, 1],
    ],
  )
})

test('LeaderCommitEntry', (t) => {
  const { cluster, leader } = leading()
  leader.propose('some')
  cluster.settle()
  t.is(leader.raft.log.commit, 2)
  t.deepEqual(leader.texts(), ['some'])
})

const acknowledgements: [size: number, from: number[], committed: boolean][] = [
  [1, [], true],
  [3, [], false],
  [3, [2], true],
  [3, [2, 3], true],
  [5, [], false],
  [5, [2], false],
  [5, [2, 3], true],
  [5, [2, 3, 4, 5], true],
]
for (const [size, from, committed] of acknowledgements) {
  test(`LeaderAcknowledgeCommit: ${from.length} others of ${size}`, (t) => {
    const cluster = Cluster.of(Array.from({ length: size }, (_, at) => at + 1))
    const leader = cluster.elect(1)
    leader.tick()
    leader.propose('some')
    for (const n of from) hear(leader, says('MsgAppResp', 1, { from: peer(n), index: 2 }))
    t.is(leader.raft.log.commit >= 2, committed)
  })
}

for (const terms of [[], [2], [1, 2], [1]]) {
  test(`LeaderCommitPrecedingEntries: ${terms.join(' ')}`, (t) => {
    const member = alone([1, 2, 3], terms, { term: 2 })
    member.campaign()
    hear(member, says('MsgPreVoteResp', 3))
    hear(member, says('MsgVoteResp', 3))
    member.propose('some')
    const last = terms.length + 2
    hear(member, says('MsgAppResp', 3, { index: last }))
    t.deepEqual(
      member.applied.map(({ index, term }) => [index, term]),
      [...terms, 3, 3].map((term, at) => [at + 1, term]),
    )
  })
}

test('FollowerCommitEntry', (t) => {
  for (const commit of [1, 2, 3, 4]) {
    const member = alone()
    hear(member, says('MsgApp', 1, { entries: entriesOf(1, 1, 1, 1), commit }))
    t.is(member.applied.length, commit)
    t.is(member.raft.log.commit, commit)
  }
})

test('FollowerCommitEntry: no further than the leader has shown the logs to be the same', (t) => {
  // 3 and 4 are of an old leader; the new one has shown its log up to 2 and has committed 4 of its own.
  const member = alone([1, 2, 3], [1, 1, 1, 1])
  hear(member, says('MsgApp', 2, { index: 1, logTerm: 1, entries: entriesOf(1), commit: 4 }))
  t.is(member.raft.log.commit, 2)
  t.is(lastIndex(member.raft.log), 4, 'and what may yet be right stays')
})

// The log is 1 at index 1, 2 at index 2; the hint is where it may meet the leader's.
const appends: [index: number, term: number, reject: boolean, hint: number, hintTerm: number][] = [
  [0, 0, false, 0, 0],
  [1, 1, false, 0, 0],
  [2, 2, false, 0, 0],
  [1, 2, true, 1, 1],
  [2, 1, true, 1, 1],
  [3, 3, true, 2, 2],
  [3, 1, true, 1, 1],
]
for (const [index, logTerm, reject, rejectHint, hintTerm] of appends) {
  test(`FollowerCheckMsgApp: after ${index} of term ${logTerm}`, (t) => {
    const member = alone([1, 2, 3], [1, 2], { term: 2 })
    hear(member, says('MsgApp', 2, { index, logTerm }))
    t.like(taken(member, 'MsgAppResp')[0], { reject, rejectHint, logTerm: hintTerm, index })
  })
}

const merges: [own: number[], index: number, logTerm: number, sent: number[], log: number[]][] = [
  [[1, 2], 2, 2, [3], [1, 2, 3]],
  [[1, 2], 1, 1, [3, 4], [1, 3, 4]],
  [[1, 2], 0, 0, [1], [1, 2]],
  [[1, 2], 0, 0, [3], [3]],
]
for (const [own, index, logTerm, sent, log] of merges) {
  test(`FollowerAppendEntries: ${sent.join(' ')} after ${index} on ${own.join(' ')}`, (t) => {
    const member = alone([1, 2, 3], own, { term: 2 })
    hear(member, says('MsgApp', 4, { index, logTerm, entries: entriesOf(...sent) }))
    t.deepEqual(
      member.raft.log.entries.map(({ term }) => term),
      log,
    )
    t.deepEqual(
      member.recovered()?.entries.map(({ term }) => term),
      log,
      'and so on disk',
    )
  })
}

// Figure 7 of the paper: every way in which a follower may differ from a new leader.
const LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
const figure7: Record<string, number[]> = {
  a: LEADER.slice(0, 9),
  b: LEADER.slice(0, 4),
  c: [...LEADER, 6],
  d: [...LEADER, 7, 7],
  e: [1, 1, 1, 4, 4, 4, 4],
  f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}
for (const [name, terms] of Object.entries(figure7)) {
  test(`LeaderSyncFollowerLog: figure 7 ${name}`, (t) => {
    const cluster = new Cluster()
    const leader = cluster.add(1, recoveredWith([1, 2, 3], LEADER, { term: 8 }))
    const follower = cluster.add(2, recoveredWith([1, 2, 3], terms, { term: 7 }))
    // The third voter makes up the majority and then says no more.
    leader.campaign()
    hear(leader, says('MsgPreVoteResp', 9, { from: peer(3) }))
    hear(leader, says('MsgVoteResp', 9, { from: peer(3) }))
    t.is(leader.raft.role, 'leader')
    leader.propose('some')
    cluster.settle()
    cluster.tick(HEARTBEAT_TICKS)
    t.deepEqual(follower.raft.log.entries, leader.raft.log.entries)
    t.deepEqual(follower.recovered()?.entries, leader.raft.log.entries)
    t.is(follower.raft.log.commit, LEADER.length + 2)
  })
}

for (const terms of [[1], [1, 2]]) {
  test(`VoteRequest: with a log of ${terms.join(' ')}`, (t) => {
    const member = alone([1, 2, 3], terms)
    const term = terms.length + 1
    member.campaign()
    hear(member, says('MsgPreVoteResp', term))
    t.deepEqual(
      taken(member, 'MsgVote').map(({ index, logTerm, to, term }) => [to, term, index, logTerm]),
      [2, 3].map((n) => [peer(n), term, terms.length, terms.at(-1)]),
    )
  })
}

const voters: [own: number[], logTerm: number, index: number, reject: boolean][] = [
  [[1], 1, 1, false],
  [[1], 1, 2, false],
  [[1, 1], 1, 1, true],
  [[1], 2, 1, false],
  [[1], 2, 2, false],
  [[1, 1], 2, 1, false],
  [[2], 1, 1, true],
  [[2], 1, 2, true],
]
for (const [own, logTerm, index, reject] of voters) {
  for (const kind of ['MsgVote', 'MsgPreVote'] as const) {
    test(`Voter: ${kind} with ${index}/${logTerm} against ${own.join(' ')}`, (t) => {
      const member = alone([1, 2, 3], own)
      hear(member, says(kind, 3, { logTerm, index }))
      t.is(taken(member, `${kind}Resp`)[0]?.reject, reject)
    })
  }
}

for (const [index, commit] of [
  [1, 0],
  [2, 0],
  [3, 3],
] as const) {
  test(`LeaderOnlyCommitsLogFromCurrentTerm: acknowledged up to ${index}`, (t) => {
    const member = alone([1, 2, 3], [1, 2], { term: 2 })
    member.campaign()
    hear(member, says('MsgPreVoteResp', 3))
    hear(member, says('MsgVoteResp', 3))
    member.propose('some')
    hear(member, says('MsgAppResp', 3, { index }))
    t.is(member.raft.log.commit, commit)
  })
}

import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import {
  committedIndex,
  isQuorum,
  voteResult,
  type VoteResult,
  type Voters,
} from '../../../protocols/raft/quorum.ts'

const PEERS = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const of = (voters: string, votersOutgoing = ''): Voters => ({
  voters: voters.split(''),
  votersOutgoing: votersOutgoing.split(''),
})

/** `a5 b3`: how far each voter is; who is not named is at 0. */
const reached = (text: string) => {
  const known = new Map(text.split(' ').map((each) => [each[0] ?? '', Number(each.slice(1))]))
  return (peer: string): number => known.get(peer) ?? 0
}

const commits: [voters: string, outgoing: string, reached: string, index: number][] = [
  // One majority.
  ['', '', '', Infinity],
  ['a', '', '', 0],
  ['a', '', 'a12', 12],
  ['ab', '', 'a12', 0],
  ['ab', '', 'a12 b5', 5],
  ['abc', '', 'a12', 0],
  ['abc', '', 'a12 b5', 5],
  ['abc', '', 'a12 b5 c6', 6],
  ['abc', '', 'a12 b12 c12', 12],
  ['abcd', '', 'a5 b6 c7', 5],
  ['abcd', '', 'a1 b2 c3 d4', 2],
  ['abcde', '', 'a101 b104 c103 d103', 103],
  ['abcde', '', 'a5 b4 c3 d2 e1', 3],
  ['abcdefg', '', 'a9 b9 c9 d9', 9],
  // Two majorities at once: the lower counts.
  ['a', 'a', 'a7', 7],
  ['abc', 'd', 'a9 b9 c9', 0],
  ['abc', 'd', 'a9 b9 c9 d4', 4],
  ['abc', 'd', 'a2 b2 c2 d4', 2],
  ['abc', 'cde', 'a9 b9 d3 e5', 3],
  ['abc', 'cde', 'a9 b1 c9 d1 e1', 1],
  ['', 'abc', 'a3 b4', 3],
]
for (const [voters, outgoing, at, index] of commits) {
  test(`of (${voters})(${outgoing}) at ${at || 'nothing'}, ${index} is committed`, (t) => {
    t.is(committedIndex(of(voters, outgoing), reached(at)), index)
    t.is(committedIndex(of(outgoing, voters), reached(at)), index, 'both majorities are alike')
  })
}

const votes: [voters: string, outgoing: string, votes: string, result: VoteResult][] = [
  ['', '', '', 'won'],
  ['a', '', '', 'pending'],
  ['a', '', 'a-', 'lost'],
  ['a', '', 'a+', 'won'],
  ['ab', '', 'a+', 'pending'],
  ['ab', '', 'a-', 'lost'],
  ['ab', '', 'a+ b+', 'won'],
  ['abc', '', 'a+', 'pending'],
  ['abc', '', 'a-', 'pending'],
  ['abc', '', 'a+ b-', 'pending'],
  ['abc', '', 'a+ b- c-', 'lost'],
  ['abc', '', 'a+ b+ c-', 'won'],
  ['abcd', '', 'a+ b+', 'pending'],
  ['abcd', '', 'a+ b+ c-', 'pending'],
  ['abcd', '', 'a+ b+ c- d-', 'lost'],
  ['abc', '', 'a+ x+ y+', 'pending'],
  ['abc', 'd', 'a+ b+', 'pending'],
  ['abc', 'd', 'a+ b+ d-', 'lost'],
  ['abc', 'd', 'a+ b+ d+', 'won'],
  ['abc', 'cde', 'c+ a+', 'pending'],
  ['abc', 'cde', 'c+ a+ e+', 'won'],
  ['abc', 'cde', 'a- b-', 'lost'],
]
for (const [voters, outgoing, cast, result] of votes) {
  test(`(${voters})(${outgoing}) voting ${cast || 'nothing'}: ${result}`, (t) => {
    const given = new Map(cast.split(' ').map((vote) => [vote[0] ?? '', vote[1] === '+']))
    t.is(voteResult(of(voters, outgoing), given), result)
  })
}

testProp(
  'committedIndex is the largest index that a quorum has reached',
  [
    fc.uniqueArray(fc.constantFrom(...PEERS)),
    fc.uniqueArray(fc.constantFrom(...PEERS)),
    fc.array(fc.nat(9), { minLength: 7, maxLength: 7 }),
  ],
  (t, voters, votersOutgoing, indexes) => {
    const at = (peer: string): number => indexes[PEERS.indexOf(peer)] ?? 0
    const index = committedIndex({ voters, votersOutgoing }, at)
    const reachedBy = (wanted: number): boolean =>
      isQuorum({ voters, votersOutgoing }, (peer) => at(peer) >= wanted)
    if (voters.length + votersOutgoing.length === 0) return t.is(index, Infinity)
    t.true(reachedBy(index))
    return t.false(reachedBy(index + 1))
  },
)

testProp(
  'two quorums of one configuration share a voter',
  [fc.uniqueArray(fc.constantFrom(...PEERS), { minLength: 1 }), fc.subarray(PEERS), fc.subarray(PEERS)],
  (t, voters, one, other) => {
    const both = [one, other].every((some) =>
      isQuorum({ voters, votersOutgoing: [] }, (peer) => some.includes(peer)),
    )
    t.true(!both || voters.some((peer) => one.includes(peer) && other.includes(peer)))
  },
)

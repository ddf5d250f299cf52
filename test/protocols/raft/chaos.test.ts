import test from 'ava'
import { Chaos } from './chaos.ts'

const groups: [what: string, voters: number[], learners: number[], seeds: number][] = [
  ['three voters', [1, 2, 3], [], 60],
  ['five voters', [1, 2, 3, 4, 5], [], 30],
  ['one voter and three learners', [1], [2, 3, 4], 25],
  ['three voters and two learners', [1, 2, 3], [4, 5], 25],
]

/** A world that never meets these proves nothing. */
const HARD = [
  'a candidate beside an old leader',
  'a leader holds uncommitted entries of an earlier term',
  'a leader was superseded',
  'a leader without a quorum stepped down',
  'a learner was added',
  'a read was answered',
  'a read was refused',
  'a snapshot part was acknowledged',
  'a snapshot was installed',
  'a follower was told to lead',
  'a joint configuration was entered',
  'a joint configuration was left',
  'a leader was forgotten',
  'a leader was told to hand over',
  'a tick that could be slept through',
  'a voter was staged to become a learner',
  'an election ended without a winner',
  'crash with a vote not yet synced',
  'crash with a write in flight',
  'entries were replaced',
  'entries were replaced while a write was in flight',
  'fast rejection',
  'leader crash with unsynced entries',
  'voters came or went',
]
const met = new Set<string>()

for (const [what, voters, learners, seeds] of groups) {
  test.serial(`${what} keep Raft's promises in a hostile world`, (t) => {
    for (let seed = 1; seed <= seeds; seed++) {
      const chaos = new Chaos(seed, voters, learners)
      t.notThrows(() => {
        chaos.run(1_500)
        chaos.calm()
      }, `seed ${seed}`)
      for (const moment of chaos.moments) met.add(moment)
    }
  })
}

test.serial('the seeds met every hard moment', (t) => {
  t.deepEqual([...met].sort(), HARD.toSorted())
})

test('the same seed gives the same run', (t) => {
  const runs = [1, 2].map(() => {
    const chaos = new Chaos(7, [1, 2, 3], [])
    chaos.run(1_500)
    return chaos.trace.join('\n')
  })
  t.is(runs[0], runs[1])
})

import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { compareClaims, hashOf, type Standing, watches } from '../../../protocols/membership/member.ts'
import { hearNack, judge, newProbe, settled } from '../../../protocols/membership/probe.ts'
import { spread, take } from '../../../protocols/membership/rumours.ts'
import { confirm, newSuspicion, remainingMs, timeoutMs } from '../../../protocols/membership/suspicion.ts'

// Two rumours about one member: the row's verdict on the first.
type Claim = [state: Standing, incarnation: number]
const conflicts: [a: Claim, b: Claim, verdict: 'newer' | 'same' | 'older'][] = [
  [['alive', 0], ['unknown', 0], 'newer'],
  [['lost', 0], ['unknown', 9], 'newer'],
  [['unknown', 9], ['unknown', 0], 'same'],
  [['alive', 1], ['alive', 1], 'same'],
  [['alive', 2], ['alive', 1], 'newer'],
  [['alive', 1], ['suspect', 1], 'older'],
  [['alive', 2], ['suspect', 1], 'newer'],
  [['alive', 1], ['unreachable', 1], 'older'],
  [['alive', 2], ['unreachable', 1], 'newer'],
  [['alive', 1], ['lost', 1], 'older'],
  [['alive', 2], ['lost', 1], 'newer'],
  [['suspect', 1], ['suspect', 1], 'same'],
  [['suspect', 1], ['unreachable', 1], 'older'],
  [['suspect', 2], ['unreachable', 1], 'newer'],
  [['suspect', 1], ['lost', 1], 'older'],
  [['unreachable', 1], ['lost', 1], 'older'],
  [['unreachable', 1], ['alive', 2], 'older'],
  [['lost', 1], ['lost', 1], 'same'],
]

for (const [[a, i], [b, j], verdict] of conflicts) {
  test(`${a} ${i} is ${verdict} to ${b} ${j}, and the other way round`, (t) => {
    const sign = { newer: 1, same: 0, older: -1 }[verdict]
    const [first, second] = [
      { state: a, incarnation: i },
      { state: b, incarnation: j },
    ]
    t.is(Math.sign(compareClaims(first, second)), sign)
    t.is(Math.sign(compareClaims(second, first)) + sign, 0)
  })
}

const claim = fc.record({
  state: fc.constantFrom<Standing>('unknown', 'alive', 'suspect', 'unreachable', 'lost'),
  incarnation: fc.nat(3),
})
testProp(
  'rumours in any order end in the same word',
  [fc.array(claim, { minLength: 1 }), fc.nat()],
  (t, claims, turn) => {
    const last = (all: typeof claims): object =>
      all.reduce((held, each) => (compareClaims(each, held) > 0 ? each : held))
    const turned = [...claims.slice(turn % claims.length), ...claims.slice(0, turn % claims.length)]
    const [a, b] = [last(claims), last(turned.toReversed())] as [
      (typeof claims)[number],
      (typeof claims)[number],
    ]
    t.is(compareClaims(a, b), 0)
  },
)

// The values that memberlist tests its own formula with: 2 s at least, 30 s at most.
const times: [confirmations: number, confirmationsMax: number, elapsedMs: number, remaining: number][] = [
  [0, 3, 0, 30_000],
  [1, 3, 2_000, 14_000],
  [2, 3, 3_000, 4_810],
  [3, 3, 4_000, -2_000],
  [4, 3, 5_000, -3_000],
  [5, 3, 10_000, -8_000],
  [0, 0, 0, 2_000],
]

for (const [confirmations, confirmationsMax, elapsedMs, remaining] of times) {
  test(`${confirmations} of ${confirmationsMax} confirmations after ${elapsedMs} ms leave ${remaining} ms`, (t) => {
    t.is(timeoutMs({ confirmations, confirmationsMax, minMs: 2_000, maxMs: 30_000 }) - elapsedMs, remaining)
  })
}

const bounds: [peers: number, minMs: number, maxMs: number, confirmationsMax: number][] = [
  [1, 4_000, 24_000, 0],
  [3, 4_000, 24_000, 0],
  [4, 4_000, 24_000, 2],
  [10, 4_000, 24_000, 2],
  [100, 8_000, 48_000, 2],
  [10_000, 16_000, 96_000, 2],
]

for (const [peers, minMs, maxMs, confirmationsMax] of bounds) {
  test(`of ${peers} peers a suspect has ${minMs}..${maxMs} ms`, (t) => {
    t.like(newSuspicion('a', peers, 0), { minMs, maxMs, confirmationsMax })
  })
}

test('only other accusers confirm, and no more than matter', (t) => {
  const suspicion = newSuspicion('a', 30, 1_000)
  t.false(confirm(suspicion, 'a'))
  const alone = remainingMs(suspicion, 1_000)
  t.true(confirm(suspicion, 'b'))
  t.false(confirm(suspicion, 'b'))
  t.true(remainingMs(suspicion, 1_000) < alone)
  t.true(confirm(suspicion, 'c'))
  t.is(remainingMs(suspicion, 1_000), suspicion.minMs)
  t.false(confirm(suspicion, 'd'))
})

// What came of asking three others, and what it says of the target and of this peer.
const probes: [
  what: string,
  tried: boolean,
  answers: ('tried' | 'no way' | 'silent')[],
  outcome: string,
  health: number,
][] = [
  ['nobody could try', false, ['no way', 'no way'], 'unclear', 0],
  ['nobody was there to ask', false, [], 'unclear', 0],
  ['all tried in vain', true, ['tried', 'tried', 'tried'], 'failed', 0],
  ['one other tried in vain', false, ['no way', 'tried'], 'failed', 0],
  ['one of the others is silent too', true, ['tried', 'silent', 'tried'], 'failed', 1],
  ['all of the others are silent too', true, ['silent', 'silent', 'silent'], 'failed', 1],
  ['only we tried', true, [], 'failed', 1],
]

for (const [what, tried, answers, outcome, health] of probes) {
  test(`a probe without an answer, when ${what}, is ${outcome}`, (t) => {
    const probe = newProbe({ target: 't', seq: 1, nowMs: 0, stretch: 1, connected: false, tried })
    for (const [index, answer] of answers.entries()) {
      probe.relays.set(String(index), 'asked')
      if (answer !== 'silent') hearNack(probe, String(index), answer === 'tried')
    }
    hearNack(probe, 'a stranger', true)
    t.deepEqual(judge(probe), { outcome, health })
    t.is(settled(probe), answers.length > 0 && !answers.includes('silent'))
  })
}

test('a rumour is said a bounded number of times, a reminder twice, and news takes its place', (t) => {
  const rumours = new Map()
  const said = (): number => {
    let times = 0
    while (take(rumours, 'x', [], 30, (peer) => ({ peer, state: 'alive', incarnation: 0 })).length > 0)
      times++
    return times
  }
  spread(rumours, 'a', 'new')
  spread(rumours, 'a', 'again')
  t.is(said(), 8)
  spread(rumours, 'a', 'again')
  t.is(said(), 2)
  t.is(rumours.size, 0)
})

testProp(
  'every peer has watchers, and all agree on who they are',
  [fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 40 })],
  (t, peers) => {
    const hashes = [...new Set(peers.map((peer) => hashOf(peer)))]
    for (const peer of hashes) {
      const watchers = hashes.filter((each) => each !== peer && watches(each, peer, hashes, 5))
      t.is(watchers.length, Math.min(5, hashes.length - 1))
    }
  },
)

import test, { type ExecutionContext } from 'ava'
import { ELECTION_MS_MAX, TICK_MS } from '../../../protocols/limits.ts'
import { DEFAULT_TIMING, newMeasuring, patient, step } from '../../../protocols/raft/timing.ts'
import { random } from '../../../simulator/random.ts'
import type { Timing } from '../../../protocols/raft/types.ts'
import { type Wan, WanGroup } from './wan.ts'

/** 1,000 seeds of each, and a whole day: `npm run test:voters`. */
const LONG = process.env['GODWIT_LONG'] === '1'

const SECOND_MS = 1_000
const HOUR_MS = 3_600_000

/** What a leader proposes after `count` round trips of these lengths to each of its followers. */
function proposed(
  rttMs: readonly number[],
  count: number,
  agreed: Timing,
  afterMs = 60_000,
): Timing | undefined {
  const measuring = newMeasuring(0)
  const followers = rttMs.map((_, n) => `member${n}`)
  for (let n = 0; n < count; n++)
    for (const [at, member] of followers.entries())
      step(measuring, { kind: 'round-trip', member, ms: rttMs[at] ?? 0 })
  const [effect] = step(measuring, { kind: 'look', nowMs: afterMs, followers, agreed })
  return effect?.timing
}

const electionMs = (timing: Timing | undefined): number => (timing?.electionTicks ?? NaN) * TICK_MS
const near: Timing = { heartbeatTicks: 5, electionTicks: 15, staggerTicks: 1 }

test('it becomes shorter by halves, and only after a window of round trips', (t) => {
  t.is(proposed([1, 1], 127, DEFAULT_TIMING), undefined)
  t.is(electionMs(proposed([1, 1], 128, DEFAULT_TIMING)), 1_000)
  t.is(proposed([1, 1], 128, DEFAULT_TIMING, 10_000), undefined)
})

test('it becomes longer at once when links have become slow', (t) => {
  const timing = proposed([400, 400, 400, 400], 8, near)
  t.true(electionMs(timing) > 800)
  t.is(proposed([400, 400, 400, 400], 7, near), undefined)
})

test('one slow link of four, or a link that is gone, changes nothing', (t) => {
  t.is(proposed([5, 5, 5, 1_900], 200, near), undefined)
  t.is(proposed([5, 5, 5, 30_000], 200, near), undefined)
  t.is(proposed([30_000, 30_000, 30_000, 30_000], 200, near), undefined)
})

test('a link with an outlier now and then is calm: each descent that had to be taken back makes the next one later', (t) => {
  const measuring = newMeasuring(0)
  const dice = random(1, 'outliers')
  const followers = ['a', 'b']
  let agreed = DEFAULT_TIMING
  const proposedMs: number[] = []
  let beatMs = 0
  for (let nowMs = 0; nowMs < 12 * HOUR_MS; nowMs += 2 * SECOND_MS) {
    for (; beatMs < nowMs; beatMs += agreed.heartbeatTicks * TICK_MS) {
      // One in a thousand is lost, and comes with the retransmission.
      for (const member of followers)
        step(measuring, { kind: 'round-trip', member, ms: dice() < 0.001 ? 230 : 30 })
    }
    const [effect] = step(measuring, { kind: 'look', nowMs, followers, agreed })
    if (effect === undefined) continue
    agreed = effect.timing
    proposedMs.push(nowMs)
  }
  const within = (fromMs: number, toMs: number): number =>
    proposedMs.filter((ms) => ms >= fromMs && ms < toMs).length
  t.log(`${proposedMs.length} proposals, ${within(6 * HOUR_MS, 12 * HOUR_MS)} of them in the second half`)
  t.true(within(0, HOUR_MS) > 0)
  t.true(within(6 * HOUR_MS, 12 * HOUR_MS) <= 6 * 6)
})

test('what is near enough stays, and has bounds', (t) => {
  t.is(proposed([5, 5], 1_000, near), undefined)
  t.is(proposed([], 1_000, DEFAULT_TIMING), undefined)
  t.true(electionMs(proposed([1_999, 1_999], 1_000, near)) <= ELECTION_MS_MAX)
  const { heartbeatTicks, electionTicks } = proposed([300, 300], 1_000, near) as Timing
  t.true(heartbeatTicks * 2 <= electionTicks)
})

test('without a leader a member becomes more patient, twice as long at a time', (t) => {
  const at = (ms: number): number => electionMs(patient(near, ms))
  t.deepEqual([0, 1_100, 1_200, 3_600, 8_400, 1e9].map(at), [150, 150, 300, 600, 1_200, ELECTION_MS_MAX])
})

/** What the group comes to agree on. */
function settled(t: ExecutionContext, wan: Wan): Timing {
  const group = new WanGroup(1, wan)
  group.world.run(200 * SECOND_MS)
  const timing = group.leader?.timing ?? DEFAULT_TIMING
  t.is(group.leaders, 1)
  t.log(`agreed on ${JSON.stringify(timing)}`)
  return timing
}

/** Times without a leader, sorted, after `crashes` members went: the leader, and others with it. */
function failovers(wan: Wan, seeds: number, crashes: number): number[] {
  return Array.from({ length: seeds }, (_, seed) => {
    const group = new WanGroup(seed + 1, wan)
    group.until(() => group.leader !== undefined, 30 * SECOND_MS)
    group.world.run(group.world.nowMs + 2 * SECOND_MS + group.world.random('crash')() * 500)
    const { leader } = group
    const atMs = group.world.nowMs
    leader?.crash()
    for (const other of group.members.filter(({ up }) => up).slice(0, crashes - 1)) other.crash()
    group.until(() => group.leader !== undefined, 30 * SECOND_MS)
    return group.world.nowMs - atMs
  }).toSorted((a, b) => a - b)
}

for (const [name, wan, crashes, meanMs, mostMs] of [
  ['30-40 ms one way, five voters, one fails', { voters: 5, oneWayMs: [30, 40], loss: 0 }, 1, 350, 1_000],
  ['30-40 ms one way, five voters, two fail', { voters: 5, oneWayMs: [30, 40], loss: 0 }, 2, 500, 1_500],
  ['20 ms one way, three voters', { voters: 3, oneWayMs: [20, 20], loss: 0 }, 1, 350, 1_000],
  ['75 ms one way, five voters', { voters: 5, oneWayMs: [75, 75], loss: 0 }, 1, 750, 1_500],
] as const) {
  test(`failover at ${name}`, (t) => {
    t.timeout(600_000)
    const timing = settled(t, wan)
    const times = failovers({ ...wan, timing }, LONG ? 1_000 : 12, crashes)
    const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length
    const at = (share: number): number =>
      times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0
    t.log(
      `mean ${mean.toFixed(0)}, median ${at(0.5)}, 99.9 % ${at(0.999)}, most ${at(1)} ms of ${times.length} seeds`,
    )
    t.true(mean <= meanMs, `mean ${mean}`)
    t.true(at(0.999) <= mostMs, `99.9 % ${at(0.999)}`)
  })
}

test('150 ms and 2 % loss: nobody else ever leads', (t) => {
  t.timeout(600_000)
  const group = new WanGroup(3, { voters: 5, oneWayMs: [75, 75], loss: 0.02 })
  group.world.run((LONG ? 24 : 0.25) * HOUR_MS)
  t.is(group.leaders, 1)
  t.log(`agreed on ${JSON.stringify(group.leader?.timing)}`)
})

test('links that become twenty times as slow: there is a leader again, and timing to match', (t) => {
  const group = new WanGroup(5, { voters: 5, oneWayMs: [10, 10], loss: 0 })
  group.world.run(300 * SECOND_MS)
  const before = group.leader?.timing.electionTicks ?? 0
  group.setLatency(() => 200)
  group.world.run(360 * SECOND_MS)
  t.not(group.leader, undefined)
  t.true((group.leader?.timing.electionTicks ?? 0) > 2 * before)
  const { leaders } = group
  group.world.run(600 * SECOND_MS)
  t.is(group.leaders, leaders)
})

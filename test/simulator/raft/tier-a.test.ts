/** Tier A of the simulator: a bounded number of seeds on every run; `npm run test:long` has many more. */
import { setPriority } from 'node:os'
import test from 'ava'
import { runBatch, runHere } from '../../../simulator/batch.ts'
import { CORES } from '../../../simulator/raft/cores.ts'
import { FAULTS } from '../../../simulator/raft/faults.ts'
import { runSetup, runTraced, wholeHistory } from '../../../simulator/raft/run.ts'
import { drawn } from '../../../simulator/raft/setup.ts'
import { shrink } from '../../../simulator/raft/shrink.ts'

// Nobody waits for the seeds: other tests, which measure and have deadlines, go first.
setPriority(5)

// Goal: whatever a swarm of faults does to a few groups, Raft's invariants hold after every event, all becomes well when
// the faults end, and what clients saw is linearizable. Method: sixty seeds of half a virtual minute.
test('sixty seeds of a swarm hold, and every kind of fault struck', async (t) => {
  t.timeout(300_000)
  const failures: string[] = []
  const report = await runBatch(CORES, { firstSeed: 1, seeds: 60, minutes: 0.5 }, ({ ok, seed, why }) => {
    if (!ok) failures.push(`npm run simulate -- raft --seed ${seed} --minutes 0.5: ${why}`)
  })
  t.deepEqual(failures, [])
  t.deepEqual(
    FAULTS.map(({ name }) => name).filter((name) => report.faults[name] === undefined),
    [],
  )
  t.log(`${report.virtualSeconds} virtual s in ${report.cpuSeconds} s of CPU`)
})

test('the same seed gives the same events, another seed others', (t) => {
  const batch = { firstSeed: 4, seeds: 1, minutes: 0.3 }
  const [first, again, other] = [runHere(CORES, batch, 4), runHere(CORES, batch, 4), runHere(CORES, batch, 5)]
  t.is(first.hash, again.hash)
  t.deepEqual({ ...first, cpuMs: 0 }, { ...again, cpuMs: 0 })
  t.not(first.hash, other.hash)
})

test('a world in which no group can go on is found not to be well', (t) => {
  const setup = drawn(3, 0.1)
  // Timeouts far below a round trip elect nobody.
  const hopeless = {
    ...setup,
    timing: { electionTicks: 2, heartbeatTicks: 1 },
    network: { ...setup.network, delay: { minUs: 100_000, meanUs: 1_000 } },
  }
  t.regex(runSetup(hopeless, () => 0).report.why, /^I20 Liveness: /)
})

test('a failing world is made as small as it can be while it fails in the same way', (t) => {
  const setup = drawn(1, 5)
  const [one, two] = [setup.faults[40], setup.faults[7]]
  const { setup: least } = shrink(setup, 'I0: both', ({ faults }) => {
    const both = faults.some((each) => each === one) && faults.some((each) => each === two)
    return { why: both ? 'I0: both' : faults.length < 9 ? 'I1: another' : '', atUs: (one?.atUs ?? 0) + 5 }
  })
  t.deepEqual(least.faults, [two, one])
  t.is(least.groups.length, 1)
  t.true(least.safetyUs < setup.safetyUs)
})

test('history and trace have the shapes that others read', (t) => {
  const setup = drawn(1, 0.1)
  const { simulation, trace, why } = runTraced(setup)
  t.is(why, '')
  // Without checkers, for others to judge, the same happens.
  t.deepEqual([...wholeHistory(setup).lines()], [...simulation.history.lines()])
  const history = [...simulation.history.lines()].map((line) => JSON.parse(line) as Record<string, unknown>)
  t.true(history.length > 10)
  for (const { process, type, f, key, time } of history) {
    t.is(typeof process, 'number')
    t.true(['invoke', 'ok', 'fail', 'info'].includes(String(type)))
    t.true(['get', 'put', 'cas'].includes(String(f)))
    t.is(typeof key, 'string')
    t.is(typeof time, 'number')
  }
  const lines = trace.lines.map((line) => JSON.parse(line) as { tag: string; event: Record<string, unknown> })
  const names = new Set(lines.map(({ event }) => event['name']))
  for (const name of ['InitState', 'BecomeCandidate', 'BecomeLeader', 'Replicate', 'Commit', 'Ready']) {
    t.true(names.has(name), name)
  }
  for (const { tag, event } of lines) {
    t.is(tag, 'trace')
    for (const field of ['nid', 'state', 'role', 'log', 'conf']) t.true(field in event, field)
  }
  // A model follows line by line: a message is heard in the state that the member's line before has left.
  const left = new Map<unknown, unknown>()
  for (const { event } of lines) {
    const { name, nid, state, log } = event
    if (String(name).startsWith('Receive')) t.deepEqual({ state, log }, left.get(nid))
    left.set(nid, { state, log })
  }
})

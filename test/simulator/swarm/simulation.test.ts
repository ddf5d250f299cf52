import test from 'ava'
import { SETTING, type Setting } from '../../../simulator/swarm/setting.ts'
import { simulate } from '../../../simulator/swarm/simulation.ts'

/** What must be: time of the last over the bound, and copies that the source sends. */
const CASES: readonly [name: string, last: number, egress: number, setting: Partial<Setting>][] = [
  ['1 + 8, 50/50, 40 ms', 1.25, 1.1, { peers: 8 }],
  [
    '1 + 16, 20/20, 80 ms',
    1.25,
    1.1,
    { peers: 16, upMbit: 20, downMbit: 20, delayMs: 40, source: { upMbit: 20 } },
  ],
  // Their uplinks are too slow together: 3.08 copies of the source are what the bound needs.
  ['1 + 8, 10 up and 50 down', 1.25, 3.3, { peers: 8, upMbit: 10 }],
  ['1 + 8 and a small image', 1.25, 1.1, { peers: 8, chunks: 160 }],
]

for (const [name, last, egress, setting] of CASES)
  test(name, (t) => {
    const result = simulate({ ...SETTING, ...setting }, 1)
    const said = JSON.stringify({ ...result, last: result.lastMs / result.boundMs })
    t.log(said)
    t.true(result.lastMs <= last * result.boundMs, said)
    t.true(result.egress <= egress, said)
    t.true(result.duplicates <= 0.01, said)
  })

test('the same seed is the same swarm', (t) => {
  const once = (): unknown => simulate({ ...SETTING, peers: 4, chunks: 60 }, 3)
  t.deepEqual(once(), once())
})

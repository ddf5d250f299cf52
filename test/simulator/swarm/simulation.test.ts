import test from 'ava'
import { SETTING, type Setting, SHARED } from '../../../simulator/swarm/setting.ts'
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

/** Peers of 25/25 Mbit/s and a source like them. */
const HALVES = { peers: 8, chunks: 256, upMbit: 25, downMbit: 25, source: { upMbit: 25 } } as const
const SMALL = { peers: 8, chunks: 256 } as const

/** Links shared by parts of chunks, queues half full; nobody comes at the same moment as another. */
const OTHERS: typeof CASES = [
  ['5/5, 200 ms', 1.25, 1.1, { ...SMALL, upMbit: 5, downMbit: 5, delayMs: 100, source: { upMbit: 5 } }],
  [
    '100/100, 10 ms',
    1.25,
    1.1,
    { ...SMALL, upMbit: 100, downMbit: 100, delayMs: 5, source: { upMbit: 100 } },
  ],
  ['20 up and 50 down', 1.25, 2, { ...SMALL, upMbit: 20 }],
  [
    'rates that differ',
    1.15,
    2,
    {
      ...HALVES,
      source: { upMbit: 50 },
      kinds: [
        { upMbit: 10, downMbit: 100 },
        { upMbit: 50, downMbit: 50 },
        { upMbit: 5, downMbit: 20 },
      ],
    },
  ],
  ['half of them late', 1.1, 1.1, { ...HALVES, kinds: [{}, { joinMs: 10_000 }] }],
  [
    'one much earlier',
    1.1,
    1.1,
    { ...HALVES, kinds: [{}, ...Array.from({ length: 7 }, () => ({ joinMs: 5_000 }))] },
  ],
  ['two of ten leave', 1.25, 1.1, { ...HALVES, peers: 10, kinds: [{ leaveMs: 8_000 }, {}, {}, {}, {}] }],
  ['two of ten freeze', 1.25, 1.1, { ...HALVES, peers: 10, kinds: [{ freezeMs: 8_000 }, {}, {}, {}, {}] }],
]
const OTHER_CASES = OTHERS.map(([name, last, egress, setting]): (typeof CASES)[number] => {
  const kinds = setting.kinds ?? Array.from({ length: 8 }, (_, at) => ({ joinMs: at * 50 }))
  return [name, last, egress, { ...SHARED, ...setting, kinds }]
})

for (const [name, last, egress, setting] of [...CASES, ...OTHER_CASES])
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

import test from 'ava'
import { fluidBound, type Fluid } from '../../../simulator/swarm/fluid-bound.ts'

const MIB = 1024 ** 2
const G = 0.945

const equal = (peers: number, mib: number, up: number, down: number): Fluid['receivers'] =>
  Array.from({ length: peers }, () => ({ upMbit: up * G, downMbit: down * G, lacksBytes: mib * MIB }))
const from = (mib: number, up: number): Pick<Fluid, 'source' | 'sourceOnlyBytes'> => ({
  source: { upMbit: up * G },
  sourceOnlyBytes: mib * MIB,
})

// Seconds; goodput is 0.945 of the line.
const CASES: readonly [name: string, seconds: number, fluid: Fluid][] = [
  ['1 + 8, 50/50: the source binds', 41, { ...from(231, 50), receivers: equal(8, 231, 50, 50) }],
  ['1 + 16, 20/20', 102.5, { ...from(231, 20), receivers: equal(16, 231, 20, 20) }],
  ['1 + 8, 10 up and 50 down: the uplinks bind', 126, { ...from(231, 50), receivers: equal(8, 231, 10, 50) }],
  [
    'the same, two more with 50 up that lack nothing',
    71.3,
    {
      ...from(231, 50),
      receivers: equal(8, 231, 10, 50),
      helpers: [{ upMbit: 50 * G }, { upMbit: 50 * G }],
    },
  ],
  ['a receiver with a slow downlink binds', 205, { ...from(231, 50), receivers: equal(2, 231, 50, 10) }],
  [
    'what others hold as well does not have to come from the source',
    20.5,
    {
      ...from(10, 50),
      receivers: [
        { upMbit: 50 * G, downMbit: 50 * G, lacksBytes: 10 * MIB },
        { upMbit: 50 * G, downMbit: 50 * G, lacksBytes: 115.5 * MIB },
      ],
    },
  ],
]

for (const [name, seconds, fluid] of CASES)
  test(name, (t) => {
    const ms = fluidBound(fluid)
    t.true(Math.abs(ms / 1_000 / seconds - 1) < 0.01, `${ms / 1_000} against ${seconds}`)
  })

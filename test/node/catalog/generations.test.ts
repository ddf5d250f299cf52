import test from 'ava'
import { applyMesh, emptyMesh, type MeshState } from '../../../node/catalog/mesh.ts'
import { isRival, outranks, type Registered } from '../../../node/catalog/generations.ts'
import { nextGeneration } from '../../../protocols/epoch.ts'

const site = '01JD00000000000000000SITEA'
const peer = '12D3KooWAnna'
/** By ordinal and mark: A and B are of one log, B the higher number; C is of A. */
const begun = (after: number, mark: number): number => nextGeneration(after, () => mark / 2 ** 16)
const [A, B] = [begun(0, 100), begun(0, 200)]
const [C, D] = [begun(A, 50), begun(B, 60)]

function founded(): MeshState {
  const state = emptyMesh()
  const found = { mesh: '01JD00000000000000000MESH1', peer, peerName: 'anna', site, siteName: 'harbour' }
  applyMesh(state, { kind: 'found', ...found, addresses: [] })
  return state
}

const rows: readonly (readonly [
  what: string,
  said: readonly (readonly [generation: number, member: string, before: readonly number[]])[],
  registered: number,
  rivals: readonly number[],
])[] = [
  ['the first is registered', [[A, 'anna#1', [0]]], A, []],
  [
    'whatever its number, a second one of the same log is a rival',
    [
      [A, 'anna#1', [0]],
      [B, 'bob#1', [0]],
    ],
    A,
    [B],
  ],
  [
    'so is a lower one',
    [
      [B, 'bob#1', [0]],
      [A, 'anna#1', [0]],
    ],
    B,
    [A],
  ],
  [
    'one number drawn by two is a rival too',
    [
      [A, 'anna#1', [0]],
      [A, 'bob#1', [0]],
    ],
    A,
    [A],
  ],
  [
    'said twice is said once',
    [
      [A, 'anna#1', [0]],
      [B, 'bob#1', [0]],
      [B, 'bob#1', [0]],
    ],
    A,
    [B],
  ],
  [
    'one that takes its place',
    [
      [A, 'anna#1', [0]],
      [C, 'anna#2', [0, A]],
    ],
    C,
    [],
  ],
  ['one that takes its place when its forerunner was never said', [[C, 'anna#2', [0, A]]], C, []],
  [
    'a successor of a rival, begun without knowledge',
    [
      [A, 'anna#1', [0]],
      [D, 'bob#2', [0, B]],
    ],
    A,
    [D],
  ],
  [
    'a successor of a rival, begun with knowledge',
    [
      [A, 'anna#1', [0]],
      [B, 'bob#1', [0]],
      [D, 'bob#2', [0, B, A]],
    ],
    D,
    [],
  ],
]

for (const [what, said, registered, rivals] of rows)
  test(`generations: ${what}`, (t) => {
    const state = founded()
    for (const [generation, member, before] of said)
      applyMesh(state, {
        kind: 'site-generation',
        site,
        siteName: 'harbour',
        generation,
        member,
        before: [...before],
      })
    const known = state.generations?.[site]
    t.is(known?.generation, registered)
    const seen = known?.rivals
      .map(({ generation }) => generation)
      .filter((each) => each !== B || rivals.includes(B))
    t.deepEqual(seen, [...rivals])
  })

const registry = (generation: number, rivals: readonly number[]): Registered => ({
  generation,
  member: 'anna#1',
  rivals: rivals.map((each) => ({ generation: each, member: 'bob#1' })),
})

const pairs: readonly (readonly [
  what: string,
  known: Registered | undefined,
  heard: number,
  own: number,
  takes: boolean,
])[] = [
  ['nothing registered: the higher number', undefined, B, A, true],
  ['nothing registered: not the lower', undefined, A, B, false],
  ['never itself', undefined, A, A, false],
  ['the registered one takes a higher rival', registry(A, [B]), A, B, true],
  ['and one that nobody has named yet', registry(A, []), A, B, true],
  ['a rival takes nothing', registry(A, [B]), B, A, false],
  ['nor before it is named', registry(A, []), B, A, false],
  ['nor from the log that both were begun from', registry(A, [B]), B, 0, false],
  ['the registered one takes that', registry(A, [B]), A, 0, true],
  ['a successor takes the registered one, though the mesh has not heard of it', registry(A, [B]), C, A, true],
  ['and a rival', registry(A, [B]), C, B, true],
  ['a named rival of a higher ordinal takes nothing', registry(A, [D]), D, A, false],
  ['and gives way', registry(A, [D]), A, D, true],
  ['the registered one does not take its successor', registry(A, []), A, C, false],
]

for (const [what, known, heard, own, takes] of pairs)
  test(`outranks: ${what}`, (t) => t.is(outranks(known, heard, own), takes))

test('of any two generations at most one takes the place of the other', (t) => {
  const all = [0, A, B, C, D]
  for (const known of [
    undefined,
    registry(A, []),
    registry(A, [B]),
    registry(A, [B, D]),
    registry(C, [B, D]),
  ])
    for (const a of all)
      for (const b of all) {
        t.false(outranks(known, a, b) && outranks(known, b, a))
        if (known !== undefined && a === known.generation) t.false(isRival(known, a))
      }
})

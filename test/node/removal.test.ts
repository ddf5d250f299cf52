/** Which words make a removed peer of one, and for how long. */
import test from 'ava'
import { farewells, removalOf } from '../../node/removal.ts'
import { removed } from '../../protocols/removal/messages.ts'
import { golden, sturdy } from '../protocols/golden.ts'

const [anna, bob] = ['anna11111111111111', 'bob11111111111111'] as const
const peerOf = (id: string, name: string) => ({ [id]: { id, name, site: 'hill1111', addresses: [] } })
const gone = { [bob]: { id: bob, name: 'bob', site: 'hill1111', atMs: 5, orphans: 0, by: anna } }
const own = { generation: 1, index: 10 }
const told = { atMs: 5, by: 'anna' }

const asPeer = { peers: { ...peerOf(anna, 'anna'), ...peerOf(bob, 'bob') } }
const asRemoved = { peers: peerOf(anna, 'anna'), removed: gone }

const words: [what: string, removalBy: string | undefined, ...rest: Parameters<typeof removalOf>][] = [
  ['a peer that nobody told anything', undefined, asPeer, bob, own, undefined],
  ['its own log says it', 'anna', asRemoved, bob, own, undefined],
  ['it was admitted again', undefined, { ...asPeer, removed: gone }, bob, own, undefined],
  ['it is told by one whose log is further', 'anna', asPeer, bob, own, { generation: 1, index: 11, ...told }],
  ['of a later generation', 'anna', asPeer, bob, own, { generation: 2, index: 3, ...told }],
  ['who told it is behind', undefined, asPeer, bob, own, { generation: 1, index: 10, ...told }],
  ['or of an older generation', undefined, asPeer, bob, own, { generation: 0, index: 99, ...told }],
  [
    'one that has no log yet is told',
    'anna',
    { peers: {} },
    bob,
    { generation: 0, index: 0 },
    { generation: 0, index: 7, ...told },
  ],
]
for (const [what, by, ...args] of words) test(what, (t) => t.is(removalOf(...args)?.by, by))

test('every removed peer that is none again has its farewell', (t) => {
  t.deepEqual([...farewells(asPeer, own).keys()], [])
  const frames = [
    ...farewells({ ...asRemoved, removed: { ...gone, [anna]: { ...gone[bob], id: anna } } }, own),
  ]
  t.deepEqual(
    frames.map(([peer, frame]) => [peer, removed.decode(frame)]),
    [[bob, { ...own, ...told }]],
  )
})

golden('removed', removed, { ...own, ...told })
sturdy('removed', removed, { ...own, ...told })

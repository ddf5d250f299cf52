import test from 'ava'
import { type Neighbour, neighboursOf } from '../../node/neighbours.ts'
import { NEIGHBOUR_SITES_MAX, NEIGHBOURS_MAX } from '../../protocols/limits.ts'

const many = (count: number, site: string, rttMs?: number): Neighbour[] =>
  Array.from({ length: count }, (_, n) => ({ peer: `${site}-${n}`, site, rttMs: rttMs && rttMs + n }))

test('those of the own site come first, then two each of the nearest others', (t) => {
  const others = [
    ...many(3, 'far', 200),
    ...many(2, 'unseen'),
    ...many(3, 'here', 1),
    ...many(3, 'next', 20),
    { peer: 'here-new', site: 'here', rttMs: undefined },
  ]
  t.deepEqual(neighboursOf('here', others), [
    'here-0',
    'here-1',
    'here-2',
    'here-new',
    'next-0',
    'next-1',
    'far-0',
    'far-1',
  ])
})

test('they are bounded, and a large site leaves room for others', (t) => {
  const sites = Array.from({ length: 9 }, (_, n) => many(5, `s${n}`, 10 * (n + 1))).flat()
  const found = neighboursOf('here', [...many(200, 'here', 1), ...sites])
  t.is(found.length, NEIGHBOURS_MAX)
  const away = found.filter((peer) => !peer.startsWith('here'))
  t.is(away.length, 2 * NEIGHBOUR_SITES_MAX)
  t.deepEqual(new Set(away.map((peer) => peer.slice(0, 2))), new Set(['s0', 's1', 's2', 's3']))
})

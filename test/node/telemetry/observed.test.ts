import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import {
  digestOf,
  hearDigest,
  hearSample,
  keep,
  newObserved,
  sampleOf,
} from '../../../node/telemetry/observed.ts'
import type { Verdict } from '../../../protocols/broadcast.ts'
import type { Digest, Sample } from '../../../protocols/telemetry/messages.ts'
import { exampleDigest, exampleSample, HARBOUR, HILL, PEERS } from './examples.ts'

const sites = new Map<string, string>([
  [PEERS.quay, HARBOUR],
  [PEERS.crane, HARBOUR],
  [PEERS.tower, HILL],
])
const siteOf = (peer: string): string | undefined => sites.get(peer)
const stranger = '12D3KooWStranger1111111111111111111111111111111111111'

// What comes after a sample of life 10, number 5, that arrived at 0; and what is made of it.
const samples: [what: string, from: string, change: Partial<Sample>, nowMs: number, verdict: Verdict][] = [
  ['the next number', PEERS.quay, { sequence: 6 }, 1_000, 'accept'],
  ['a number far ahead', PEERS.quay, { sequence: 6_000 }, 1_000, 'accept'],
  ['the same again', PEERS.quay, {}, 1_000, 'ignore'],
  ['the same again, much later', PEERS.quay, {}, 600_000, 'ignore'],
  ['an older number', PEERS.quay, { sequence: 4 }, 1_000, 'ignore'],
  ['a later life that counts from one', PEERS.quay, { life: 11, sequence: 1 }, 1_000, 'accept'],
  ['an earlier life', PEERS.quay, { life: 9, sequence: 99 }, 1_000, 'ignore'],
  ['an earlier life, after a long silence', PEERS.quay, { life: 9, sequence: 1 }, 60_000, 'accept'],
  ['another author', PEERS.crane, { author: PEERS.crane, sequence: 1 }, 1_000, 'accept'],
  ['another’s name', PEERS.crane, { sequence: 6 }, 1_000, 'reject'],
  [
    'a peer of another site under our name',
    PEERS.tower,
    { author: PEERS.tower, sequence: 6 },
    1_000,
    'reject',
  ],
  ['a peer of another site', PEERS.tower, { author: PEERS.tower, site: HILL }, 1_000, 'reject'],
  ['a peer that we do not know yet', stranger, { author: stranger }, 1_000, 'ignore'],
]

for (const [what, from, change, nowMs, verdict] of samples) {
  test(`of samples: ${what}: ${verdict}`, (t) => {
    const observed = newObserved()
    const around = { siteOf, ownSite: HARBOUR }
    const first = exampleSample({ life: 10, sequence: 5 })
    t.is(hearSample(observed, first, { ...around, from: PEERS.quay, nowMs: 0 }), 'accept')
    const said = exampleSample({ life: 10, sequence: 5, ...change })
    t.is(hearSample(observed, said, { ...around, from, nowMs }), verdict)
    const held = sampleOf(observed, said.author, nowMs)
    if (verdict === 'accept') t.deepEqual(held, { sample: said, ageMs: 0 })
    else t.deepEqual(sampleOf(observed, PEERS.quay, nowMs), { sample: first, ageMs: nowMs })
  })
}

// What comes after a digest of term 3, life 10, number 5.
const digests: [what: string, from: string, change: Partial<Digest>, verdict: Verdict][] = [
  ['the next number', PEERS.quay, { sequence: 6 }, 'accept'],
  ['an older number', PEERS.quay, { sequence: 4 }, 'ignore'],
  ['a later leader', PEERS.crane, { author: PEERS.crane, term: 4, life: 2, sequence: 1 }, 'accept'],
  ['a leader that was', PEERS.crane, { author: PEERS.crane, term: 2, life: 99, sequence: 99 }, 'ignore'],
  ['another site', PEERS.tower, { author: PEERS.tower, site: HILL, term: 1, sequence: 1 }, 'accept'],
  ['a peer of another site', PEERS.tower, { author: PEERS.tower, sequence: 6 }, 'reject'],
  ['another’s name', PEERS.crane, { sequence: 6 }, 'reject'],
]

for (const [what, from, change, verdict] of digests) {
  test(`of digests: ${what}: ${verdict}`, (t) => {
    const observed = newObserved()
    const first = exampleDigest({ life: 10, sequence: 5 })
    hearDigest(observed, first, { from: PEERS.quay, nowMs: 0, siteOf })
    const said = exampleDigest({ life: 10, sequence: 5, ...change })
    t.is(hearDigest(observed, said, { from, nowMs: 2_000, siteOf }), verdict)
    t.deepEqual(
      digestOf(observed, said.site, 2_500),
      verdict === 'accept' ? { digest: said, ageMs: 500 } : { digest: first, ageMs: 2_500 },
    )
  })
}

test('peers and sites that are gone are forgotten', (t) => {
  const observed = newObserved()
  hearSample(observed, exampleSample(), { from: PEERS.quay, nowMs: 0, siteOf, ownSite: HARBOUR })
  hearDigest(observed, exampleDigest(), { from: PEERS.quay, nowMs: 0, siteOf })
  keep(observed, new Set([PEERS.quay]), new Set([HARBOUR]))
  t.deepEqual([observed.samples.size, observed.digests.size], [1, 1])
  keep(observed, new Set([PEERS.crane]), new Set([HILL]))
  t.deepEqual([observed.samples.size, observed.digests.size], [0, 0])
  t.is(sampleOf(observed, PEERS.quay, 0), undefined)
  t.is(digestOf(observed, HARBOUR, 0), undefined)
})

const order = fc.record({ life: fc.nat(3), sequence: fc.nat(5) })
testProp(
  'in any order of arrival the newest is held in the end',
  [fc.array(order, { minLength: 1 })],
  (t, all) => {
    const observed = newObserved()
    for (const each of all)
      hearSample(observed, exampleSample(each), { from: PEERS.quay, nowMs: 0, siteOf, ownSite: HARBOUR })
    const newest = Math.max(...all.map(({ life, sequence }) => life * 10 + sequence))
    const held = sampleOf(observed, PEERS.quay, 0)?.sample
    t.is((held?.life ?? 0) * 10 + (held?.sequence ?? 0), newest)
  },
)

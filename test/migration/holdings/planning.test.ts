/**
 * What a download would cost against what it then does, on the simulator's network. `GODWIT_LONG=1` tries a thousand cases and
 * prints how far off they were.
 */
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { type Plan, planDownload } from '../../../migration/holdings/planning.ts'
import type { Candidate } from '../../../migration/holdings/survey.ts'
import { chunkCount } from '../../../storage/images/manifest.ts'
import {
  COMPRESSIBLE,
  holds,
  type Image,
  imageOf,
  type Peer,
  range,
  reportOf,
  Stage,
} from '../swarm/support.ts'

const CHUNK = 32 * 1024
/** The promise, of what crosses; and what an image of a few hundred small chunks may be off beside it. */
const WITHIN = 0.05
const LONG = process.env['GODWIT_LONG'] === '1'

const holding = fc.record({
  /** 0: at the downloader's site. */
  site: fc.integer({ min: 0, max: 3 }),
  /** Of the image: from this share of it to that one, one chunk in `every`. */
  from: fc.double({ min: 0, max: 0.8, noNaN: true }),
  to: fc.double({ min: 0.2, max: 1, noNaN: true }),
  every: fc.integer({ min: 1, max: 3 }),
  manifest: fc.boolean(),
})
type Holding = typeof holding extends fc.Arbitrary<infer T> ? T : never

const setting = fc.record({
  seed: fc.integer({ min: 1, max: 2 ** 30 }),
  chunks: fc.integer({ min: 120, max: 320 }),
  zeros: fc.integer({ min: 3, max: 40 }),
  own: fc.double({ min: 0, max: 0.7, noNaN: true }),
  holdings: fc.array(holding, { minLength: 0, maxLength: 5 }),
  /** Whole, at far sites. */
  seeds: fc.integer({ min: 1, max: 2 }),
})

const indexesOf = ({ from, to, every }: Holding, chunks: number): number[] =>
  range(Math.floor(Math.min(from, to) * chunks), Math.ceil(Math.max(from, to) * chunks)).filter(
    (index) => index % every === 0,
  )

function planOf(stage: Stage, peer: Peer, image: Image, candidates: readonly Peer[]): Plan {
  const plans: Plan[] = []
  planDownload(
    {
      transport: peer.sim.transport,
      chunks: peer.chunks,
      clock: peer.sim.life.clock,
      dice: stage.world.random('plan'),
    },
    image.manifest,
    candidates.map(({ id, sim }): Candidate => ({
      peer: id,
      site: sim.site,
      near: sim.site === peer.sim.site,
    })),
    (outcome) => {
      if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
      plans.push(outcome.value)
    },
  )
  stage.world.run(stage.world.nowMs + 5_000)
  const [plan] = plans
  if (plan === undefined) throw new Error('there is no plan')
  return plan
}

const errors: number[] = []

testProp.serial(
  'what crosses is predicted within 5 %, by near and far',
  [setting],
  (t, { seed, chunks, zeros, own, holdings, seeds }) => {
    const image = imageOf(
      range(0, chunks).map((n) => (n % zeros === 0 ? undefined : COMPRESSIBLE + n)),
      CHUNK,
    )
    const stage = new Stage(seed, { uplinkMbit: 50, lanMbit: 1_000 })
    const sources = [
      ...range(0, seeds).map((n) => stage.peer(`seed-${n}`, `site-${n + 1}`, [{ image }])),
      ...holdings.map((each, n) =>
        stage.peer(`part-${n}`, `site-${each.site}`, [
          { image, indexes: indexesOf(each, chunks), manifest: each.manifest },
        ]),
      ),
    ]
    const peer = stage.peer('peer', 'site-0', [{ image, indexes: range(0, Math.floor(own * chunks)) }])
    stage.world.run(500)
    const plan = planOf(stage, peer, image, sources)
    t.is(plan.nowhere, 0)
    const fetched = stage.fetch(peer, image, sources)
    stage.world.run(stage.world.nowMs + 120_000)
    const report = reportOf(t, fetched)
    t.true(holds(peer, image))
    t.is(plan.contentBytes, report.dedupBytes)
    const error = (plan.wireBytes - report.wireBytes) / Math.max(1, report.wireBytes)
    errors.push(error)
    const said = `predicted ${plan.wireBytes}, crossed ${report.wireBytes}`
    t.true(Math.abs(error) <= WITHIN, said)
    for (const near of [true, false]) {
      const predicted = plan.links
        .filter((link) => link.near === near)
        .reduce((sum, { wireBytes }) => sum + wireBytes, 0)
      const crossed = report.links
        .filter((link) => link.near === near)
        .reduce((sum, { wireBytes }) => sum + wireBytes, 0)
      t.true(
        Math.abs(predicted - crossed) <= WITHIN * report.wireBytes,
        `${near ? 'near' : 'far'}: predicted ${predicted}, crossed ${crossed} of ${report.wireBytes}`,
      )
    }
  },
  { numRuns: LONG ? 1_000 : 25, endOnFailure: true },
)

test.after.always((t) => {
  const sorted = errors.map(Math.abs).toSorted((a, b) => a - b)
  const at = (share: number): string =>
    `${((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0) * 100).toFixed(2)} %`
  t.log(`${sorted.length} cases: median ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)} off`)
})

test('an image that is here costs nothing, one that nobody holds says so', (t) => {
  const image = imageOf(range(0, 40), CHUNK)
  const stage = new Stage(1)
  const whole = stage.peer('whole', 'here', [{ image }])
  const empty = stage.peer('empty', 'here')
  stage.world.run(500)
  const none = planOf(stage, whole, image, [empty])
  t.like(none, { chunks: 0, wireBytes: 0, nowhere: 0 })
  const nobody = planOf(stage, empty, image, [])
  t.like(nobody, { chunks: chunkCount(image.manifest), wireBytes: 0, nowhere: 40 })
  const all = planOf(stage, empty, image, [whole])
  t.like(all, { nowhere: 0, silent: [], unable: [] })
})

test('who does not answer is named', (t) => {
  const image = imageOf(range(0, 40), CHUNK)
  const stage = new Stage(1)
  const dead = stage.peer('dead', 'far', [{ image }])
  const peer = stage.peer('peer', 'here')
  stage.world.run(500)
  stage.network.crash(dead.id, 'power')
  t.deepEqual(planOf(stage, peer, image, [dead]).silent, ['dead'])
})

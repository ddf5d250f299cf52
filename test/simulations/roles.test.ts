import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'

/** Many seeds of each, and two hundred peers: `npm run test:voters`. */
const LONG = process.env['GODWIT_LONG'] === '1'

// Goal: voters are chosen, spread, replaced and handed over by themselves, and nobody who writes notices a planned stop.
// Method: S-role on the product's own code, one seed of each in `npm test`.
for (const [name, peers] of [
  ['voter-lost-promote-standby', 8],
  ['site-lost-2-of-5-voters', 9],
  ['no-two-voters-same-site', 12],
  ['handover-rolling-restart', 9],
  ['flap-does-not-churn', 7],
  ...(LONG ? ([['join-storm-200', 200]] as const) : []),
] as const) {
  test(`role/${name}`, async (t) => {
    t.timeout(1_200_000)
    const seeds = LONG && peers < 100 ? 20 : 1
    const failures: string[] = []
    await runBatch(
      PEERS,
      { scenario: `role/${name}`, peers, firstSeed: 1, seeds },
      ({ ok, seed, why, trace }) => {
        if (!ok) failures.push(`seed ${seed}: ${why}\n${trace.join('\n')}`)
      },
    )
    t.deepEqual(failures, [])
  })
}

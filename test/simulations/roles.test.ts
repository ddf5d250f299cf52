import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'

// Goal: voters are chosen, spread, replaced and handed over by themselves, and nobody who writes notices a planned stop.
// Method: one seed each of S-role on the product's own code here, many in `npm run test:long`; two hundred peers only there.
for (const [name, peers] of [
  ['voter-lost-promote-standby', 8],
  ['site-lost-2-of-5-voters', 9],
  ['no-two-voters-same-site', 12],
  ['handover-rolling-restart', 9],
  ['flap-does-not-churn', 7],
] as const) {
  test(`role/${name}`, async (t) => {
    t.timeout(300_000)
    const failures: string[] = []
    await runBatch(
      { scenario: `role/${name}`, peers, firstSeed: 1, seeds: 1 },
      ({ ok, seed, why, trace }) => {
        if (!ok) failures.push(`seed ${seed}: ${why}\n${trace.join('\n')}`)
      },
    )
    t.deepEqual(failures, [])
  })
}

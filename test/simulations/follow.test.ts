import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'

// Goal and method: simulator/scenarios/follow.ts.
test('follow: 120 seeds of up to fourteen peers', async (t) => {
  t.timeout(300_000)
  const failures: string[] = []
  const batch = { scenario: 'follow', peers: 14, firstSeed: 1, seeds: 120 }
  const report = await runBatch(PEERS, batch, ({ ok, seed, why }) => {
    if (!ok) failures.push(`seed ${seed}: ${why}`)
  })
  t.deepEqual(failures, [])
  t.deepEqual(report.missing, [])
  t.log(`${report.virtualMs / 1_000} virtual s in ${report.cpuMs / 1_000} s of CPU`)
})

test('follow: the same seed gives the same history twice', async (t) => {
  const hashes: string[] = []
  const batch = { scenario: 'follow', peers: 14, firstSeed: 5, seeds: 1 }
  for (const _ of [1, 2]) await runBatch(PEERS, batch, ({ hash }) => hashes.push(hash))
  t.is(hashes[0], hashes[1])
})

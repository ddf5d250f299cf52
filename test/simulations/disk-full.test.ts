import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'

// Goal and method: simulator/scenarios/disk-full.ts.
test('disk-full: twenty seeds of six peers', async (t) => {
  t.timeout(300_000)
  const failures: string[] = []
  const batch = { scenario: 'disk-full', peers: 6, firstSeed: 1, seeds: 20 }
  const report = await runBatch(PEERS, batch, ({ ok, seed, why }) => {
    if (!ok) failures.push(`seed ${seed}: ${why}`)
  })
  t.deepEqual(failures, [])
  t.deepEqual(report.missing, [])
  t.log(`${report.virtualMs / 1_000} virtual s in ${report.cpuMs / 1_000} s of CPU`)
})

import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'

test('links: ten seeds of fifty peers', async (t) => {
  const failures: string[] = []
  const batch = { scenario: 'links', peers: 50, firstSeed: 1, seeds: 10 }
  const report = await runBatch(PEERS, batch, ({ ok, seed, why, trace }) => {
    if (!ok) failures.push(`seed ${seed}: ${why}\n${trace.join('\n')}`)
  })
  t.deepEqual(failures, [])
  t.deepEqual(report.missing, [])
  t.log(`${report.virtualMs / 1_000} virtual s in ${report.cpuMs / 1_000} s of CPU`)
})

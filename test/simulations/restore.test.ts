import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'

// What is doubted after a replacement was found by seed 2: a VM ran where its move had taken it, and where it came from.
test('restore: four seeds hold, and stores of voters and of hosts with guests were put back', async (t) => {
  const failures: string[] = []
  const batch = { scenario: 'restore', peers: 8, firstSeed: 1, seeds: 4 }
  const report = await runBatch(PEERS, batch, ({ ok, seed, why, trace }) => {
    if (!ok) failures.push(`seed ${seed}: ${why}\n${trace.join('\n')}`)
  })
  t.deepEqual(failures, [])
  t.deepEqual(report.missing, [])
  t.log(`${report.virtualMs / 1_000} virtual s in ${report.cpuMs / 1_000} s of CPU`)
})

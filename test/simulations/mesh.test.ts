import { setPriority } from 'node:os'
import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'

// Nobody waits for the seeds: other tests, which measure and have deadlines, go first, three to one.
setPriority(5)

// Goal: fifty peers make one mesh, place twenty VMs, survive a site that is cut off and comes back; no VM ever runs
// twice, no counter goes back, nothing acknowledged is lost. Method: forty seeds of sixty virtual seconds on the
// product's own code; invariants after every event; the moments that the seeds must have reached are in the scenario.
test('forty seeds of fifty peers hold, and reach every moment', async (t) => {
  t.timeout(600_000)
  const failures: string[] = []
  const batch = { scenario: 'mesh', peers: 50, firstSeed: 1, seeds: 40 }
  const report = await runBatch(PEERS, batch, ({ ok, seed, why, trace }) => {
    if (!ok) failures.push(`seed ${seed}: ${why}\n${trace.join('\n')}`)
  })
  t.deepEqual(failures, [])
  t.deepEqual(report.missing, [])
  t.log(`${report.virtualMs / 1_000} virtual s in ${report.cpuMs / 1_000} s of CPU`)
})

test('the same seed gives the same history twice', async (t) => {
  t.timeout(600_000)
  const hashes: string[] = []
  const batch = { scenario: 'mesh', peers: 12, firstSeed: 5, seeds: 1 }
  for (const _ of [1, 2]) await runBatch(PEERS, batch, ({ hash }) => hashes.push(hash))
  t.is(hashes.length, 2)
  t.is(hashes[0], hashes[1])
})

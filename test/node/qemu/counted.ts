/** Waiting for a real guest to count. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Hypervisor } from '../../../node/hypervisor.ts'
import { asked } from '../../../storage/images/asked.ts'
import { heartbeats, type Heartbeat } from '../../guest/guest.ts'

/** What the guest has said, once it has counted to `least`. */
export async function countedTo(hypervisor: Hypervisor, vm: string, least: number): Promise<Heartbeat[]> {
  const deadline = performance.now() + 15_000
  for (;;) {
    const said = heartbeats(await asked<string[]>((done) => hypervisor.serialLog(vm, 1_000, done)))
    if (said.some(({ kind, count }) => kind === 'count' && count >= least)) return said
    assert(performance.now() < deadline, `${vm} did not count to ${least}: ${JSON.stringify(said.slice(-3))}`)
    await sleep(5)
  }
}

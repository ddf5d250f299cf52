/** What is watched on the hosts of a cluster themselves: one owner after every event, counting twice a second. */
import type { Cluster } from '../cluster.ts'
import type { RunningGuest } from '../hypervisor.ts'
import { Counting } from './counting.ts'
import { OneOwner } from './one-owner.ts'

const COUNT_MS = 500

export class Guests {
  readonly #cluster: Cluster
  readonly #owner: OneOwner
  readonly #counting = new Counting()
  #nextCountMs = 0

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.#owner = new OneOwner(
      () => this.running(),
      () => cluster.world.changes,
    )
  }

  running(): RunningGuest[] {
    return this.#cluster.hosts.flatMap(({ hypervisor }) => hypervisor.runningGuests())
  }

  /** @throws Violation */
  check(): void {
    this.#owner.check()
    const { nowMs } = this.#cluster.world
    if (nowMs < this.#nextCountMs) return
    this.#nextCountMs = nowMs + COUNT_MS
    this.count()
  }

  /** @throws Violation */
  count(): void {
    this.#counting.look(this.running())
  }
}

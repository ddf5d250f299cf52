/** What is watched on the hosts of a cluster themselves: one owner after every event, counting twice a second. */
import type { Cluster } from '../cluster.ts'
import type { RunningGuest } from '../hypervisor.ts'
import { Violation } from '../scenario.ts'
import { Counting } from './counting.ts'
import { OneOwner } from './one-owner.ts'

const COUNT_MS = 500

/** VMs by name, as the logs of their sites have them. */
type Agreed = ReadonlyMap<string, { readonly id: string; readonly host: string; readonly wanted: string }>

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

  /** At the end each VM runs where it is agreed to, if it is to run at all. @throws Violation */
  runAsAgreed(agreed: Agreed): void {
    const runs = new Map(this.running().map((guest) => [guest.vm, guest]))
    for (const [name, vm] of agreed) {
      const guest = runs.get(vm.id)
      if (vm.wanted === 'running' && guest?.host !== vm.host) {
        const why = this.#cluster.host(vm.host).node?.context.vms.view(vm.id)?.why ?? ''
        throw new Violation(
          'wanted runs',
          `${name} is placed on ${vm.host} and ${guest === undefined ? 'does not run' : `runs on ${guest.host}`}: ${why}`,
        )
      }
      if (vm.wanted === 'stopped' && guest !== undefined)
        throw new Violation('wanted stopped', `${name} runs on ${guest.host}`)
    }
  }
}

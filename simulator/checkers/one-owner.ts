/**
 * A VM never runs twice (promise 3 of docs/SPECIFICATION.md), seen with true time: the guests' processes are looked at
 * on the simulated hosts themselves, whatever any peer believes.
 */
import type { RunningGuest } from '../hypervisor.ts'
import { Violation } from '../scenario.ts'

export class OneOwner {
  readonly #running: () => Iterable<RunningGuest>
  readonly #version: () => number
  #seen = -1

  /**
   * @param running Guests whose processes run now, on all hosts.
   * @param version Changes whenever one started or ended: a look at every guest after every event would cost more than
   * the events.
   */
  constructor(running: () => Iterable<RunningGuest>, version: () => number) {
    this.#running = running
    this.#version = version
  }

  /** @throws Violation */
  check(): void {
    const version = this.#version()
    if (version === this.#seen) return
    this.#seen = version
    const hosts = new Map<string, RunningGuest>()
    for (const guest of this.#running()) {
      const other = hosts.get(guest.vm)
      if (other !== undefined)
        throw new Violation('one owner', `${guest.vm} runs on ${said(other)} and ${said(guest)}`)
      hosts.set(guest.vm, guest)
    }
  }
}

const said = ({ host, epoch }: RunningGuest): string => `${host} (epoch ${epoch.join('.')})`

/** A guest's counter never goes backwards: wherever it runs next, it goes on from what its disk held. */
import type { RunningGuest } from '../hypervisor.ts'
import { Violation } from '../scenario.ts'

export class Counting {
  readonly #newest = new Map<string, RunningGuest>()

  /** @throws Violation */
  look(guests: Iterable<RunningGuest>): void {
    for (const guest of guests) {
      const before = this.#newest.get(guest.vm)
      if (before !== undefined && guest.count < before.count) {
        const what = `${guest.vm} counted ${before.count} on ${before.host}, then ${guest.count} on ${guest.host}`
        throw new Violation('counting', what)
      }
      this.#newest.set(guest.vm, guest)
    }
  }
}

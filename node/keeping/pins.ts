/** Images that an operator has pinned on this peer: what it holds of them stays until they are unpinned, across restarts. */
import type { ImageId } from '../../protocols/ids.ts'
import { PINS_MAX } from '../../protocols/limits.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import { type Pin, pinOp, pinsIn, unpinOp } from '../../storage/records.ts'
import type { Store } from '../../storage/store.ts'

export class Pins {
  readonly #store: Store
  readonly #pins: Map<ImageId, Pin>

  constructor(store: Store) {
    this.#store = store
    this.#pins = new Map(pinsIn(store).map((pin) => [pin.image, pin]))
  }

  has(image: ImageId): boolean {
    return this.#pins.has(image)
  }

  list(): Pin[] {
    return [...this.#pins.values()]
  }

  /** In force at once: nothing is dropped while it is on its way to the disk. */
  pin(pin: Pin, done: Done<void>): void {
    if (this.#pins.has(pin.image)) return done(ok(undefined))
    if (this.#pins.size >= PINS_MAX)
      return done(failed({ code: 'USAGE', why: `there are ${PINS_MAX} pins on this peer already` }))
    this.#pins.set(pin.image, pin)
    this.#store.write([pinOp(pin)], true, (outcome) => {
      if (!outcome.ok && this.#pins.get(pin.image) === pin) this.#pins.delete(pin.image)
      done(outcome)
    })
  }

  /** In force until it is off the disk. */
  unpin(image: ImageId, done: Done<void>): void {
    const pin = this.#pins.get(image)
    if (pin === undefined) return done(ok(undefined))
    this.#store.write([unpinOp(image)], true, (outcome) => {
      if (outcome.ok && this.#pins.get(image) === pin) this.#pins.delete(image)
      done(outcome)
    })
  }
}

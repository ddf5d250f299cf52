/**
 * Virtual time of tier A: what is due, in the order (time, order of scheduling), in whole microseconds. A 4-ary heap over
 * plain arrays, because millions of events pass through it for each second of CPU; and a hash over all that happened, by
 * which two runs of a seed are compared.
 */
export class Timeline {
  nowUs = 0
  /** Events that have run. */
  steps = 0
  readonly #at: number[] = []
  readonly #order: number[] = []
  readonly #run: (() => void)[] = []
  #scheduled = 0
  #low = 0x811c9dc5
  #high = 0x9e3779b9

  /** Runs `run` after `delayUs`, whatever happens; who changes his mind says so inside it. */
  after(delayUs: number, run: () => void): void {
    const atUs = this.nowUs + Math.max(0, Math.round(delayUs))
    const order = this.#scheduled++
    let hole = this.#at.length
    while (hole > 0) {
      const parent = (hole - 1) >> 2
      const parentAt = this.#at[parent] as number
      if (parentAt <= atUs) break
      this.#set(hole, parentAt, this.#order[parent] as number, this.#run[parent] as () => void)
      hole = parent
    }
    this.#set(hole, atUs, order, run)
  }

  /** Runs what is due up to `untilUs`; then it is `untilUs`. */
  run(untilUs: number): void {
    while (this.#at.length > 0 && (this.#at[0] as number) <= untilUs) {
      this.nowUs = this.#at[0] as number
      const next = this.#run[0] as () => void
      this.#pop()
      this.steps++
      next()
    }
    this.nowUs = Math.max(this.nowUs, untilUs)
  }

  /** Enters what happens now into the hash. */
  mix(a: number, b = 0, c = 0): void {
    this.#low = Math.imul(this.#low ^ (this.nowUs | 0) ^ Math.imul(a, 0x85ebca6b), 0x01000193)
    this.#high = Math.imul(this.#high ^ Math.imul(b, 0xc2b2ae35) ^ c ^ (this.#low >>> 15), 0x27d4eb2f)
  }

  hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
    return hex(this.#low) + hex(this.#high ^ (this.#high >>> 13)) + hex(this.steps)
  }

  #set(place: number, at: number, order: number, run: () => void): void {
    this.#at[place] = at
    this.#order[place] = order
    this.#run[place] = run
  }

  #pop(): void {
    const at = this.#at.pop() as number
    const order = this.#order.pop() as number
    const run = this.#run.pop() as () => void
    const size = this.#at.length
    if (size === 0) return
    let hole = 0
    for (;;) {
      const first = 4 * hole + 1
      if (first >= size) break
      let least = first
      for (let child = first + 1; child < Math.min(first + 4, size); child++) {
        if (this.#isBefore(child, this.#at[least] as number, this.#order[least] as number)) least = child
      }
      if (!this.#isBefore(least, at, order)) break
      this.#set(hole, this.#at[least] as number, this.#order[least] as number, this.#run[least] as () => void)
      hole = least
    }
    this.#set(hole, at, order, run)
  }

  #isBefore(place: number, at: number, order: number): boolean {
    const placeAt = this.#at[place] as number
    return placeAt < at || (placeAt === at && (this.#order[place] as number) < order)
  }
}

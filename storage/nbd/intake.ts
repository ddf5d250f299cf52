/** Feeds a parser with a stream's bytes as they come: each is copied once, to where the parser wants it. */
import type { Parser } from './wire.ts'

export class Intake {
  readonly #parser: Parser<never>
  #wanted: Uint8Array = new Uint8Array(0)
  #filled = 0

  constructor(parser: Parser<never>) {
    this.#parser = parser
    this.#next()
  }

  /** @throws what the parser does not take; it is not to be fed again then. */
  take(data: Uint8Array): void {
    for (let at = 0; at < data.length;) {
      const part = data.subarray(at, at + this.#wanted.length - this.#filled)
      this.#wanted.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === this.#wanted.length) this.#next()
    }
  }

  #next(): void {
    do this.#wanted = this.#parser.next().value
    while (this.#wanted.length === 0)
    this.#filled = 0
  }
}

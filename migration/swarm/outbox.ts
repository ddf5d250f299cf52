/** Frames for one channel; streams of them are made as the channel takes them, so none of it piles up in memory. */
import type { Channel } from '../../protocols/transport.ts'

export class Outbox {
  /** The channel is full: nothing but answers in hand should be added. */
  full = false
  readonly #channel: Channel
  readonly #drained: () => void
  readonly #streams: Iterator<Uint8Array>[] = []

  /** `drained`: there is room again, and no stream waits for it. */
  constructor(channel: Channel, drained: () => void = () => {}) {
    this.#channel = channel
    this.#drained = drained
    channel.onDrain(() => {
      this.full = false
      this.#pump()
      if (!this.full) this.#drained()
    })
  }

  send(head: Uint8Array, payload?: Uint8Array): void {
    if (!this.#channel.send(head, payload)) this.full = true
  }

  stream(frames: Iterable<Uint8Array>): void {
    this.#streams.push(frames[Symbol.iterator]())
    this.#pump()
  }

  #pump(): void {
    for (let stream = this.#streams[0]; stream !== undefined && !this.full; stream = this.#streams[0]) {
      const next = stream.next()
      if (next.done === true) this.#streams.shift()
      else this.send(next.value)
    }
  }
}

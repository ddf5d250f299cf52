/**
 * How a removed peer learns it. It is refused by every gate, and the log that says why is what it does not get any more: a
 * peer that was out of sight, or had the entry not yet when its connections ended, would wait for the others for ever. So
 * the peer that it dials says this one frame before it hangs up.
 */
import { codec } from '../codec.ts'
import { integer, record, text, type Of } from '../shape.ts'

export const PROTOCOL = '/godwit/removal/1'

const BYTES_MAX = 512

const shape = record({
  /**
   * How far the sender has applied the mesh's log: there the receiver was removed already. Whoever has applied more than that,
   * and is a peer in it, was admitted again; the sender is behind.
   */
  generation: integer(0, 2 ** 52),
  index: integer(0, 2 ** 52),
  atMs: integer(0, 2 ** 48),
  /** Name of the peer on which it was asked for; empty: the log does not say. */
  by: text(64, 0),
})

/** You are no peer of this mesh any more. */
export type Removed = Of<typeof shape>
export const removed = codec('removed', shape, BYTES_MAX)

/**
 * What peers say to find out who is in sight: SWIM's probes (Das, Gupta, Motivala 2002) with Lifeguard's nack (Dadgar,
 * Phillips, Currey 2018). News of members rides on every message.
 */
import { codec } from '../codec.ts'
import { peerId } from '../ids.ts'
import { MEMBERSHIP_BYTES_MAX, NEWS_MAX } from '../limits.ts'
import { boolean, integer, list, type Of, oneOf, optional, record, tagged } from '../shape.ts'

export const PROTOCOL = '/godwit/swim/1'

/** Counts a peer's refutations; grows for ever, never goes back within one life. */
const incarnation = integer(0, 2 ** 48)
const seq = integer(0, 2 ** 32)

const update = record({
  peer: peerId,
  state: oneOf('alive', 'suspect', 'unreachable', 'lost'),
  incarnation,
  /** Who found it so, for `suspect`: only different finders confirm each other. */
  by: optional(peerId),
})
const news = list(update, NEWS_MAX)

const shape = tagged({
  /** Are you there? */
  ping: record({ seq, news }),
  /** I have no answer from `target`: ping it for me. */
  'ping-req': record({ seq, target: peerId, news }),
  /** The one you asked about is there: I am, or the target of your ping-req answered me. */
  ack: record({ seq, incarnation, news }),
  /** I am there, but your target did not answer me; `tried` is false when I have no way to it myself. */
  nack: record({ seq, tried: boolean, news }),
  /** Only while there is something new. */
  gossip: record({ news }),
})

export type Update = Of<typeof update>
export type State = Update['state']
export type Message = Of<typeof shape>
export const message = codec('membership', shape, MEMBERSHIP_BYTES_MAX)

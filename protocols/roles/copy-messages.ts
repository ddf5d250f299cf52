/**
 * `/godwit/copies/1`: what the leader of a site's group asks of peers of other sites (protocols/roles/copies.ts). Said again every
 * so often: an answer is a sample, and enters no log.
 */
import { codec } from '../codec.ts'
import { NAME_LENGTH_MAX } from '../limits.ts'
import { boolean, integer, oneOf, record, tagged, text } from '../shape.ts'

export const PROTOCOL = '/godwit/copies/1'

const group = text(96)

const askShape = tagged({
  /** Would you keep a copy of my group's log? */
  offer: record({ group }),
  /** You are named in that log as one who keeps it: follow it from here on. */
  keep: record({ group }),
})
export const copyAsk = codec('copies ask', askShape)

const answerShape = record({
  /** It has the copy, or has begun to. */
  keeps: boolean,
  /** It would take one more. */
  hasRoom: boolean,
  /** Empty: its site's. */
  uplink: text(NAME_LENGTH_MAX, 0),
  uptimeMs: integer(0, 2 ** 48),
  power: oneOf('mains', 'battery'),
})
export const copyAnswer = codec('copies answer', answerShape)

/**
 * Requests between peers. `/godwit/ask/1`: an operation (node/operations.ts) or one of the peers' own questions, as JSON
 * because its shapes are zod's; `/godwit/propose/1`: a command for a group that the asked peer leads.
 */
import { codec } from '../codec.ts'
import { PROPOSAL_BYTES_MAX } from '../limits.ts'
import { bytes, integer, record, text } from '../shape.ts'

export const ASK = '/godwit/ask/1'
export const PROPOSE = '/godwit/propose/1'

/** Hops are counted, so that two peers which each believe the other leads do not play ball for ever. */
export const HOPS_MAX = 4

export const ask = codec(
  'ask',
  record({ method: text(64), params: text(128 * 1024), hops: integer(0, HOPS_MAX) }),
)
export const answer = codec('answer', record({ json: text(400 * 1024) }))
export const proposal = codec(
  'proposal',
  record({ group: text(96), command: bytes(PROPOSAL_BYTES_MAX), hops: integer(0, HOPS_MAX) }),
)

/**
 * Whether others can dial a peer is something only others can tell: it asks those it is connected with. libp2p's AutoNAT
 * asks the same, but about public addresses only, and of many networks; a site behind NAT in a private WAN needs it, too.
 */
import { codec } from '../codec.ts'
import { address } from '../join/messages.ts'
import { boolean, list, record, type Of } from '../shape.ts'

export const PROTOCOL = '/godwit/reach/1'

/** Tried one after the other; a host with more addresses has the rest to itself. */
export const ADDRESSES_MAX = 8
const ASK_BYTES_MAX = 4 * 1024

const ask = record({
  /** Where the asker listens: its own addresses, not those through relays. */
  addresses: list(address, ADDRESSES_MAX),
})
const answer = record({
  /** It answered at one of them, when this peer dialled it anew. */
  dialled: boolean,
  /** This peer is reachable itself, as far as it knows, and would relay. */
  relays: boolean,
})

export type ReachAnswer = Of<typeof answer>

export const reachAsk = codec('reach-ask', ask, ASK_BYTES_MAX)
export const reachAnswer = codec('reach-answer', answer, ASK_BYTES_MAX)

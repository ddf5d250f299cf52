/**
 * What a peer that wants to join and the issuer of its token say to each other, at the issuer's door: one hello, one
 * answer. Who asks is known from the connection, which proves its peer id; the token's secret says that it may.
 */
import { codec } from '../codec.ts'
import { name, peerId, siteId, ulid } from '../ids.ts'
import { FRAME_BYTES_MAX, PEERS_MAX } from '../limits.ts'
import { boolean, bytes, integer, list, record, tagged, text, type Of } from '../shape.ts'

export const PROTOCOL = '/godwit/join/1'

/** A hello is answered before its sender is known to be anybody: it is kept small. */
const HELLO_BYTES_MAX = 8 * 1024
/** Addresses of one peer; a host with more has the rest to itself. */
export const ADDRESSES_MAX = 8
export const SECRET_BYTES = 32

/** A multiaddr. Whether it can be dialled is for the adapter to find out. */
export const address = text(256)
const addresses = list(address, ADDRESSES_MAX)

const hello = record({
  tokenId: ulid,
  secret: bytes(SECRET_BYTES, SECRET_BYTES),
  /** What the peer and its site are to be called. */
  name,
  site: name,
  /** Where others may dial it. */
  addresses,
  /** The newest version of these protocols that it speaks. */
  version: integer(1, 1_000),
})

const welcome = record({
  meshId: ulid,
  siteId,
  /** The first peer of a new site, which begins that site's group. */
  founder: boolean,
  /** Whom to dial; as many as fit, the issuer among them. The rest come with the mesh's log. */
  peers: list(record({ id: peerId, name, site: name, addresses }), PEERS_MAX),
})

export type JoinHello = Of<typeof hello>
export type JoinWelcome = Of<typeof welcome>

export const joinHello = codec('join-hello', hello, HELLO_BYTES_MAX)

const answer = tagged({
  welcome: record({ welcome }),
  /** A failure as protocols/failure.ts carries it. */
  refused: record({ failure: bytes(HELLO_BYTES_MAX) }),
})

export const joinAnswer = codec('join-answer', answer, FRAME_BYTES_MAX)

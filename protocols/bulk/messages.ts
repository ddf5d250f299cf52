/**
 * The key of one socket for bulk bytes, asked for over libp2p, which has proved who asks and who answers. Whoever shows
 * in the handshake that it has the key is that peer, at both ends: docs/decisions/0012-bulk-sockets.md.
 */
import { codec } from '../codec.ts'
import { bytes, integer, list, matching, type Of, record, text } from '../shape.ts'

export const PROTOCOL = '/godwit/bulk/1'

export const IDENTITY_BYTES = 16
export const KEY_BYTES = 32
const IDENTITY = /^[0-9a-f]{32}$/
const PROTOCOL_LENGTH_MAX = 128
/** A peer listens on a few addresses, mostly all on one port. */
export const PORTS_MAX = 4
const FRAME_MAX = 1024

const ask = record({
  /** Whose channel is to be opened. */
  protocol: text(PROTOCOL_LENGTH_MAX),
})
const answer = record({
  /** Where it listens, on the host at which a direct connection reaches it. */
  ports: list(integer(1, 65_535), PORTS_MAX),
  /** Names the key in the handshake, where everybody on the way can read it; good for one handshake, soon. */
  identity: matching(IDENTITY, '32 hex digits'),
  /** The external pre-shared key of that handshake (RFC 8446, 2.2). */
  key: bytes(KEY_BYTES, KEY_BYTES),
})

export type BulkAnswer = Of<typeof answer>

export const bulkAsk = codec('bulk-ask', ask, FRAME_MAX)
export const bulkAnswer = codec('bulk-answer', answer, FRAME_MAX)

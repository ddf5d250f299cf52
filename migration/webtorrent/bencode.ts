/**
 * In place of the package `bencode` for all that webtorrent loads: that one reads `l-3:e`, which any peer can send, for ever,
 * and takes more memory each time round.
 */
import { decode as decodeStrictly, encode } from '../torrent/bencode.ts'

/** As that package has it: null for nothing, text or bytes taken, whatever follows the first value let be. */
const decode = (data: Uint8Array | string | null): unknown =>
  data === null || data.length === 0
    ? null
    : decodeStrictly(typeof data === 'string' ? Buffer.from(data) : data, 'a message', true)

const codec = { decode, encode }

export { codec as default, decode, encode }

/**
 * TLS, with few records. What the muxer hands over becomes a record, a system call and a turn of the event loop at either end,
 * piece by piece, and small messages come in two pieces and are answered by a third:
 *
 *   header and payload   go in one record, if one holds them
 *   window updates       yamux sends one for each message that was read; those for small messages wait for something to go
 *                        along with. What the other side may send shrinks by HELD_BYTES_MAX at most, for HELD_MS at most
 */
import type { ConnectionEncrypter, MessageStream, SecuredConnection } from '@libp2p/interface'
import { tls } from '@libp2p/tls'

type Components = Parameters<ReturnType<typeof tls>>[0]
type Data = Parameters<MessageStream['send']>[0]

/** One record of TLS holds as much. Past it a copy costs more than a record. */
const JOINED_BYTES_MAX = 16 * 1024
/** A quarter of the smallest window of a stream. */
const HELD_BYTES_MAX = 64 * 1024
/** A sender whose window is nearly used up waits no longer for the rest of it: less than a round trip between sites. */
const HELD_MS = 5

export const joiningTls =
  () =>
  (components: Components): ConnectionEncrypter => {
    const inner = tls()(components)
    return {
      protocol: inner.protocol,
      secureInbound: async (...args) => joining(await inner.secureInbound(...args)),
      secureOutbound: async (...args) => joining(await inner.secureOutbound(...args)),
    }
  }

function joining<T>(secured: SecuredConnection<T>): SecuredConnection<T> {
  const { connection } = secured
  const send = connection.send.bind(connection)
  let held: Uint8Array[] = []
  let heldBytes = 0
  const release = (): Uint8Array[] => {
    const released = held
    held = []
    heldBytes = 0
    return released
  }
  const late = (): void => {
    if (held.length > 0 && connection.status === 'open') send(Buffer.concat(release()))
  }
  connection.send = (data) => {
    const granted = grantedBy(data)
    if (granted !== undefined && heldBytes + granted <= HELD_BYTES_MAX) {
      if (held.length === 0) setTimeout(late, HELD_MS).unref()
      held.push(data.subarray())
      heldBytes += granted
      return true
    }
    if (data.byteLength > JOINED_BYTES_MAX) {
      if (held.length > 0) send(Buffer.concat(release()))
      return send(data)
    }
    return send(held.length === 0 ? data.subarray() : Buffer.concat([...release(), data.subarray()]))
  }
  return secured
}

const YAMUX_HEADER_BYTES = 12
/** Version 0, type 1, no flags: it neither opens nor ends a stream. */
const WINDOW_UPDATE = [0, 1, 0, 0]

/** The bytes that a window update grants; undefined for everything else. */
function grantedBy(data: Data): number | undefined {
  if (data.byteLength !== YAMUX_HEADER_BYTES || !(data instanceof Uint8Array)) return undefined
  if (WINDOW_UPDATE.some((byte, at) => data[at] !== byte)) return undefined
  return new DataView(data.buffer, data.byteOffset).getUint32(8)
}

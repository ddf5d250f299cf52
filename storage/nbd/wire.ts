/**
 * Numbers and frames of the NBD protocol that a reading client needs (github.com/NetworkBlockDevice/nbd, doc/proto.md;
 * its names are kept). All integers are big-endian.
 */
import { GodwitError } from '../../protocols/errors.ts'

/** A server that does not keep to the protocol, or refuses. `at` is the export, for people. */
export const nbdFault = (at: string, why: string): GodwitError =>
  new GodwitError({ code: 'IO', path: at, why: `NBD: ${why}`.slice(0, 300) })

/**
 * A parser asks for the bytes of a stream by yielding buffers that it wants filled, one after the other, and throws what
 * `nbdFault` makes of bytes that must not be. It holds no more than what it has asked for, so a server cannot make it grow.
 */
export type Parser<T> = Generator<Uint8Array, T, void>

// Handshake -------------------------------------------------------------------------------------------------------

/** "NBDMAGIC", "IHAVEOPT" and the server's flags. */
export const GREETING_BYTES = 18
export const GREETING = Buffer.from('NBDMAGICIHAVEOPT', 'latin1')
export const FLAG_FIXED_NEWSTYLE = 1
export const FLAG_NO_ZEROES = 2

export const OPTION = { GO: 7, STRUCTURED_REPLY: 8, SET_META_CONTEXT: 10 } as const
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n
export const OPTION_REPLY_BYTES = 20
export const REPLY = { ACK: 1, INFO: 3, META_CONTEXT: 4 } as const
/** Replies from here on are refusals. */
export const REPLY_ERROR = 2 ** 31
export const INFO = { EXPORT: 0, BLOCK_SIZE: 3 } as const

const OPTION_MAGIC = 'IHAVEOPT'

export function optionFrame(option: number, data: Uint8Array): Buffer {
  const head = Buffer.alloc(16)
  head.write(OPTION_MAGIC, 'latin1')
  head.writeUInt32BE(option, 8)
  head.writeUInt32BE(data.length, 12)
  return Buffer.concat([head, data])
}

/** A string with its length before it. */
export function counted(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  return Buffer.concat([u32(bytes.length), bytes])
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

// Transmission ----------------------------------------------------------------------------------------------------

export const COMMAND = { READ: 0, DISCONNECT: 2, BLOCK_STATUS: 7 } as const
const REQUEST_MAGIC = 0x25609513
export const SIMPLE_REPLY_MAGIC = 0x67446698
export const CHUNK_MAGIC = 0x668e33ef
export const CHUNK_DONE = 1
/** Types of chunks of a structured reply. */
export const CHUNK = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const

/** Flag of `base:allocation`: what is read there is zeros, a hole or not. */
export const STATE_ZERO = 2

export function requestFrame(command: number, cookie: bigint, position: number, length: number): Buffer {
  const frame = Buffer.alloc(28)
  frame.writeUInt32BE(REQUEST_MAGIC, 0)
  frame.writeUInt16BE(command, 6)
  frame.writeBigUInt64BE(cookie, 8)
  frame.writeBigUInt64BE(BigInt(position), 16)
  frame.writeUInt32BE(length, 24)
  return frame
}

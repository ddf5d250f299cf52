/** Frame = msgpack of a shape. The only importer of msgpackr; test/fixtures/frames holds the bytes in place. */
import { Packr } from 'msgpackr'
import { GodwitError } from './errors.ts'
import { MESSAGE_BYTES_MAX } from './limits.ts'
import type { Shape } from './shape.ts'

export type Codec<T> = {
  readonly name: string
  readonly bytesMax: number
  /** `level`: leaves out, or refuses, what came with a later feature (shape.ts, `since`); nothing unless told. */
  encode(message: T, level?: number): Uint8Array
  /**
   * Bytes in what it returns are views into `frame`.
   * @throws GodwitError FRAME_TOO_LARGE or FRAME_INVALID, and nothing else, whatever the peer sent.
   */
  decode(frame: Uint8Array, level?: number): T
}

// Records would make a frame depend on the frames before it; without variableMapSize every map costs 3 bytes
// where 1 does. Both are part of the wire format.
const packr = new Packr({ useRecords: false, moreTypes: false, variableMapSize: true })

export function codec<T>(name: string, shape: Shape<T>, bytesMax: number = MESSAGE_BYTES_MAX): Codec<T> {
  return {
    name,
    bytesMax,
    // The sender checks too: a message that our own shape refuses is our bug, and should show here. The copy is
    // because msgpackr hands out views into a larger buffer, which each would keep alive.
    encode: (message, level) => within(bytesMax, new Uint8Array(packr.pack(shape(message, name, level)))),
    decode: (frame, level) => shape(unpack(within(bytesMax, frame), name), name, level),
  }
}

function unpack(frame: Uint8Array, name: string): unknown {
  try {
    return packr.unpack(frame)
  } catch (cause) {
    throw new GodwitError({ code: 'FRAME_INVALID', at: name, expected: 'MessagePack' }, { cause })
  }
}

function within(bytesMax: number, frame: Uint8Array): Uint8Array {
  if (frame.length <= bytesMax) return frame
  throw new GodwitError({ code: 'FRAME_TOO_LARGE', bytes: frame.length, bytesMax })
}

/**
 * `raft snapshot save`: a group's state at one index, as a file. Pure: bytes in and out.
 *
 *   8 bytes  GODWITSN
 *   4 bytes  CRC-32 of the rest, big-endian
 *   rest     MessagePack: format, cluster, group, generation, index, term, configuration, when, by whom, state
 */
import { crc32 } from 'node:zlib'
import { codec } from '../protocols/codec.ts'
import { GodwitError } from '../protocols/errors.ts'
import { CONFIGURATION_BYTES_MAX, SNAPSHOT_BYTES_MAX } from '../protocols/limits.ts'
import { configuration } from '../protocols/raft/configuration.ts'
import { bytes, integer, type Of, record, text } from '../protocols/shape.ts'

const MAGIC = Buffer.from('GODWITSN')
const HEAD = MAGIC.length + 4
const counter = integer(0, 2 ** 52)

const fileShape = record({
  format: integer(1, 1),
  /** The mesh's id: another mesh's snapshot is never restored here. */
  cluster: text(26),
  group: text(96),
  generation: counter,
  index: counter,
  term: counter,
  configuration,
  savedMs: counter,
  by: text(64),
  /** The envelope, as in a snapshot of the log. */
  data: bytes(SNAPSHOT_BYTES_MAX),
})
export type SnapshotFile = Of<typeof fileShape>
const body = codec('snapshot file', fileShape, SNAPSHOT_BYTES_MAX + CONFIGURATION_BYTES_MAX + 1_024)

export function encodeSnapshotFile(file: SnapshotFile): Uint8Array {
  const rest = body.encode(file)
  const out = Buffer.alloc(HEAD + rest.length)
  MAGIC.copy(out)
  out.writeUInt32BE(crc32(rest), MAGIC.length)
  out.set(rest, HEAD)
  return out
}

/** @throws GodwitError DATA_CORRUPT for what is no such file, or is damaged. */
export function decodeSnapshotFile(found: Uint8Array, path: string): SnapshotFile {
  const corrupt = (why: string): GodwitError => new GodwitError({ code: 'DATA_CORRUPT', what: path, why })
  const file = Buffer.from(found.buffer, found.byteOffset, found.length)
  if (file.length < HEAD || !file.subarray(0, MAGIC.length).equals(MAGIC))
    throw corrupt('it is no snapshot of a group')
  const rest = file.subarray(HEAD)
  if (file.readUInt32BE(MAGIC.length) !== crc32(rest)) throw corrupt('its checksum does not match')
  try {
    return body.decode(rest)
  } catch {
    throw corrupt('it has no form that this godwit reads')
  }
}

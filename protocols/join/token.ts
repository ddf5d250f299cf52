/**
 * Join tokens as text: `gw1.` and base64url of a record and its checksum. A token names the mesh, its issuer and where
 * the issuer's door is, so that one line is all a new host needs; the secret in it is good for one admission.
 */
import { hash } from 'node:crypto'
import { codec } from '../codec.ts'
import { name, peerId, ulid } from '../ids.ts'
import { failed, ok, type Outcome } from '../outcome.ts'
import { bytes, integer, list, optional, record, type Of } from '../shape.ts'
import { address, ADDRESSES_MAX, SECRET_BYTES } from './messages.ts'

const PREFIX = 'gw1.'
/** Tells a token that lost a character in a mail from one that was never issued. */
const CHECKSUM_BYTES = 4
const RECORD_BYTES_MAX = 4 * 1024
/** Base64 is four characters for three bytes. */
const TEXT_LENGTH_MAX = PREFIX.length + Math.ceil(((RECORD_BYTES_MAX + CHECKSUM_BYTES) * 4) / 3)

const shape = record({
  mesh: ulid,
  id: ulid,
  secret: bytes(SECRET_BYTES, SECRET_BYTES),
  issuer: peerId,
  /** Multiaddrs of the issuer's door. */
  addresses: list(address, ADDRESSES_MAX),
  /** Wall clock, ms since 1970; the issuer decides, by its own. */
  expiresMs: integer(0, 2 ** 48),
  /** The only site it admits to; any when it names none. */
  site: optional(name),
})

export type Token = Of<typeof shape>

const token = codec('token', shape, RECORD_BYTES_MAX)

const checksum = (packed: Uint8Array): Buffer =>
  Buffer.from(hash('sha256', packed, 'hex'), 'hex').subarray(0, CHECKSUM_BYTES)

/** What is agreed on and kept instead of the secret. */
export const hashSecret = (secret: Uint8Array): string => hash('sha256', secret, 'hex')

export function encodeToken(content: { [K in keyof Token]: Token[K] | undefined }): string {
  // The shape drops a site that is undefined.
  const packed = token.encode(content as Token)
  return PREFIX + Buffer.concat([packed, checksum(packed)]).toString('base64url')
}

export function decodeToken(text: string): Outcome<Token> {
  const trimmed = text.trim()
  const malformed = failed<Token>({ code: 'TOKEN_REFUSED', why: 'malformed' })
  if (!trimmed.startsWith(PREFIX) || trimmed.length > TEXT_LENGTH_MAX) return malformed
  const body = trimmed.slice(PREFIX.length)
  if (!/^[A-Za-z0-9_-]+$/.test(body)) return malformed
  const all = Buffer.from(body, 'base64url')
  const packed = all.subarray(0, -CHECKSUM_BYTES)
  if (all.length <= CHECKSUM_BYTES || !checksum(packed).equals(all.subarray(-CHECKSUM_BYTES)))
    return malformed
  try {
    return ok(token.decode(packed))
  } catch {
    return malformed
  }
}

/** A peer's key: Ed25519, kept as libp2p's protobuf. Its public half is the peer id; where it is kept is node's affair. */
import { generateKeyPairSync } from 'node:crypto'
import { privateKeyFromProtobuf, privateKeyFromRaw, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { GodwitError } from '../errors.ts'
import type { PeerId } from '../ids.ts'

const SEED_BYTES = 32

/** A new private key, as protobuf. Synchronous, so that it can be made and kept in one step. */
export function newPrivateKey(): Uint8Array {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  // libp2p's raw form is the seed and the public key.
  const raw = Buffer.concat([Buffer.from(d ?? '', 'base64url'), Buffer.from(x ?? '', 'base64url')])
  return privateKeyToProtobuf(privateKeyFromRaw(raw))
}

/** @throws GodwitError DATA_CORRUPT when the bytes are no Ed25519 private key. */
export function loadPrivateKey(protobuf: Uint8Array): Ed25519PrivateKey {
  try {
    const key = privateKeyFromProtobuf(protobuf)
    if (key.type === 'Ed25519') return key
  } catch {
    // Said below.
  }
  throw new GodwitError({ code: 'DATA_CORRUPT', what: 'the private key', why: 'not an Ed25519 key' })
}

export const peerIdOf = (protobuf: Uint8Array): PeerId =>
  peerIdFromPrivateKey(loadPrivateKey(protobuf)).toString()

/** The 32 bytes from which other libraries derive the same key pair. */
export const seedOf = (protobuf: Uint8Array): Uint8Array => loadPrivateKey(protobuf).raw.slice(0, SEED_BYTES)

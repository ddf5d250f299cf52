/**
 * Encryption of stored frames (docs/decisions/0006): AES-256-GCM, one nonce and one tag a frame, under a key that is made
 * from a key file. What leaves the store is the frame as it went in, so nothing else knows of it.
 *
 *   payload = 12 bytes nonce, ciphertext, 16 bytes tag; the frame's header is authenticated with it
 *
 * Nonces are random. A counter, or the frame's place, would come back: a torn tail is cut off and its place written anew, a
 * folder may be restored from a backup, and a nonce that is used twice gives both frames away. Of 2^32 random ones two are
 * alike with a chance of 2^-33 (NIST SP 800-38D, 8.3, allows that many); a store of 100 TiB has a tenth of them.
 *
 * A key is known by 24 bits that stand in each header. They tell which key a frame needs, and nothing about it.
 */
import { createCipheriv, createDecipheriv, hash, hkdfSync, randomFillSync } from 'node:crypto'
import { open } from 'node:fs/promises'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'

export type FrameKey = {
  /** 1..2^24-1. */
  readonly id: number
  readonly key: Uint8Array
}

export type FrameKeys = {
  /** What new frames are encrypted under; undefined: they are written as they are. */
  readonly writing: FrameKey | undefined
  readonly byId: ReadonlyMap<number, FrameKey>
}

export const NO_KEYS: FrameKeys = { writing: undefined, byId: new Map() }

const SECRET_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** What an encrypted frame takes more. */
export const SEALED_BYTES = NONCE_BYTES + TAG_BYTES
/** Among key files: from now on frames are written as they are. */
export const PLAIN = 'plain'
/** A file of 64 hex digits and the end of its line. */
const FILE_BYTES_MAX = 66

/** The first key encrypts, or none where that is `plain`; the others only read. KEY_FILE when one is no key. */
export async function readFrameKeys(files: readonly string[]): Promise<Outcome<FrameKeys>> {
  const keys: FrameKey[] = []
  for (const path of files) {
    if (path === PLAIN) continue
    const key = await readKey(path)
    if (!key.ok) return key
    keys.push(key.value)
  }
  return ok(frameKeys(keys, files[0] !== PLAIN))
}

/** `encrypts`: new frames are encrypted under the first of them. */
export const frameKeys = (keys: readonly FrameKey[], encrypts = true): FrameKeys => ({
  writing: encrypts ? keys[0] : undefined,
  byId: new Map(keys.map((key) => [key.id, key])),
})

/** From 32 secret bytes. */
export function frameKeyOf(secret: Uint8Array): FrameKey {
  const key = new Uint8Array(hkdfSync('sha256', secret, '', 'godwit chunk store 1', SECRET_BYTES))
  const id = Buffer.from(hash('sha256', key, 'buffer')).readUIntBE(0, 3)
  return { key, id: Math.max(1, id) }
}

async function readKey(path: string): Promise<Outcome<FrameKey>> {
  const refuse = (why: 'missing' | 'readable' | 'malformed'): Outcome<never> =>
    failed({ code: 'KEY_FILE', path, why })
  try {
    const file = await open(path, 'r')
    try {
      const { mode, size } = await file.stat()
      if ((mode & 0o077) !== 0) return refuse('readable')
      const bytes = size <= FILE_BYTES_MAX ? await file.readFile() : Buffer.alloc(0)
      const secret = secretIn(bytes)
      return secret === undefined ? refuse('malformed') : ok(frameKeyOf(secret))
    } finally {
      await file.close()
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return refuse('missing')
    return failed(failureOf(error))
  }
}

function secretIn(bytes: Buffer): Uint8Array | undefined {
  if (bytes.length === SECRET_BYTES) return bytes
  const text = bytes.toString('latin1').trimEnd()
  return /^[0-9a-fA-F]{64}$/.test(text) ? Buffer.from(text, 'hex') : undefined
}

export const keyName = (id: number): string => id.toString(16).padStart(6, '0')

/** The payload in parts, in order; `about` is authenticated with it. */
export function sealFrame({ key }: FrameKey, about: Uint8Array, frame: Uint8Array): Uint8Array[] {
  const nonce = randomFillSync(Buffer.allocUnsafe(NONCE_BYTES))
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(about)
  const text = cipher.update(frame)
  cipher.final()
  return [nonce, text, cipher.getAuthTag()]
}

/** The frame, in a buffer of its own; undefined when payload or `about` is not what was sealed under this key. */
export function openFrame({ key }: FrameKey, about: Uint8Array, payload: Uint8Array): Uint8Array | undefined {
  if (payload.length < SEALED_BYTES) return undefined
  const end = payload.length - TAG_BYTES
  const decipher = createDecipheriv('aes-256-gcm', key, payload.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(about)
  decipher.setAuthTag(payload.subarray(end))
  const frame = decipher.update(payload.subarray(NONCE_BYTES, end))
  try {
    decipher.final()
    return frame
  } catch {
    return undefined
  }
}

/** @throws GodwitError STORE_KEY when a store needs a key that is not among these. */
export function mustHave({ byId }: FrameKeys, id: number, folder: string): void {
  if (byId.has(id)) return
  const given = [...byId.keys()].map(keyName)
  throw new GodwitError({ code: 'STORE_KEY', folder, wanted: keyName(id), given })
}

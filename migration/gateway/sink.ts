/**
 * Where the chunks of an image from outside go: straight into the chunk store, when its bytes are the disk's; into a sparse file
 * beside it when they have to be converted (qcow2), which ordinary import then reads, and which goes away with that.
 * Either goes on where an earlier life was killed: what its ledger says is here is looked up first.
 */
import { hash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { CHUNK_BYTES } from '../../protocols/limits.ts'
import { pack, unpackSync } from '../../storage/images/chunk-content.ts'
import { chunkLength } from '../../storage/images/manifest.ts'
import { Ledger } from './ledger.ts'
import { type Link, own } from './link.ts'

export type Sink = {
  readonly kind: 'store' | 'file'
  readonly bytes: number
  readonly chunks: number
  /** Content that the chunk store did not hold. */
  readonly newBytes: number
  isHere(index: number): boolean
  put(index: number, content: Uint8Array): Promise<void>
  /** Undefined when it is not here. */
  get(index: number): Promise<Uint8Array | undefined>
  /** One for each chunk; see Ledger. */
  hashes(): Uint8Array<ArrayBuffer>
  close(): Promise<void>
}

/** Names of one question to the chunk store. */
const ASK_MAX = 4_096
/** Of unpacked chunks: the piece that is asked for in blocks of 16 KiB is usually one of the last. */
const RECENT_MAX = 32

const lengthOf = (bytes: number, index: number): number =>
  chunkLength({ bytes, chunkBytes: CHUNK_BYTES }, index)
const sha256 = (content: Uint8Array): Buffer => hash('sha256', content, 'buffer')
const ZEROS = Buffer.alloc(CHUNK_BYTES)
const isZeros = (content: Uint8Array): boolean =>
  ZEROS.compare(content, 0, content.length, 0, content.length) === 0

/** `folder` is this image's own. */
export async function openStoreSink(folder: string, bytes: number, link: Link): Promise<Sink> {
  const ledger = await Ledger.open(join(folder, 'chunks'), bytes)
  await forget(ledger, link)
  const recent = new Map<number, Uint8Array>()
  let newBytes = 0
  return {
    kind: 'store',
    bytes,
    chunks: ledger.chunks,
    get newBytes() {
      return newBytes
    },
    isHere: (index) => ledger.isHere(index),
    hashes: () => ledger.hashes(),
    close: () => ledger.close(),
    async put(index, content) {
      if (isZeros(content)) return ledger.set(index, 'zeros')
      const id = sha256(content)
      const [held] = await link.ask<boolean[]>('has', [id.toString('hex')])
      if (held !== true) {
        const frame = own(pack(content))
        const chunk = { id: id.toString('hex'), frame: frame.bytes, bytes: content.length }
        await link.ask('write', chunk, frame.transfer)
        newBytes += content.length
      }
      await ledger.set(index, id)
    },
    async get(index) {
      const entry = ledger.at(index)
      const length = lengthOf(bytes, index)
      if (entry === 'absent') return undefined
      if (entry === 'zeros') return ZEROS.subarray(0, length)
      const known = recent.get(index)
      if (known !== undefined) return known
      const id = Buffer.from(entry).toString('hex')
      const content = unpackSync(id, await link.ask<Uint8Array>('read', id), length)
      if (content === undefined) return undefined
      recent.set(index, content)
      for (const [oldest] of recent) if (recent.size > RECENT_MAX) recent.delete(oldest)
      return content
    },
  }
}

/** Forgets what the chunk store does not hold, whatever was written down. */
async function forget(ledger: Ledger, link: Link): Promise<void> {
  for (let from = 0; from < ledger.chunks; from += ASK_MAX) {
    const some: { index: number; id: string }[] = []
    for (let index = from; index < Math.min(from + ASK_MAX, ledger.chunks); index++) {
      const entry = ledger.at(index)
      if (typeof entry !== 'string') some.push({ index, id: Buffer.from(entry).toString('hex') })
    }
    if (some.length === 0) continue
    const held = await link.ask<boolean[]>(
      'has',
      some.map(({ id }) => id),
    )
    for (const [i, { index }] of some.entries()) if (held[i] !== true) await ledger.set(index, 'absent')
  }
}

/** The file is `content` in `folder`. */
export async function openFileSink(folder: string, bytes: number): Promise<Sink> {
  const ledger = await Ledger.open(join(folder, 'chunks'), bytes)
  const file = await openSparse(join(folder, CONTENT), bytes)
  const read = async (index: number): Promise<Uint8Array> => {
    const content = Buffer.alloc(lengthOf(bytes, index))
    await file.read(content, 0, content.length, index * CHUNK_BYTES)
    return content
  }
  for (let index = 0; index < ledger.chunks; index++) {
    const entry = ledger.at(index)
    if (typeof entry !== 'string' && !sha256(await read(index)).equals(entry))
      await ledger.set(index, 'absent')
  }
  return {
    kind: 'file',
    bytes,
    chunks: ledger.chunks,
    newBytes: 0,
    isHere: (index) => ledger.isHere(index),
    hashes: () => ledger.hashes(),
    async put(index, content) {
      if (isZeros(content)) return ledger.set(index, 'zeros')
      await writeAt(file, content, index * CHUNK_BYTES)
      await ledger.set(index, sha256(content))
    },
    get: async (index) => (ledger.isHere(index) ? read(index) : undefined),
    async close() {
      await file.close()
      await ledger.close()
    },
  }
}

export const CONTENT = 'content'

async function openSparse(path: string, bytes: number): Promise<FileHandle> {
  const made = await open(path, 'a')
  await made.close()
  const file = await open(path, 'r+')
  await file.truncate(bytes)
  return file
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}

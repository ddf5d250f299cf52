/**
 * A worker thread of ingest (pack-pool.ts). For each job it reads and hashes chunks, tells their hashes, is told which of
 * them are wanted, and answers with their frames: what is held already is never compressed.
 */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { HASH_BYTES } from '../images/manifest.ts'
import { pack } from '../images/chunk-content.ts'

export type Job = {
  readonly kind: 'hash'
  /** Where each chunk lies in the file. */
  readonly chunks: readonly { readonly position: number; readonly length: number }[]
  /** The chunks themselves, one after the other, when they are not read from the file. */
  readonly content?: Uint8Array
}
/** Answers a job's hashes with the numbers of its chunks that are to be packed. */
export type Wanted = { readonly kind: 'pack'; readonly wanted: readonly number[] }
export type Answer =
  /** 32 bytes for each chunk, zeros for a chunk of zeros. */
  | { readonly kind: 'hashes'; readonly hashes: Uint8Array }
  | { readonly kind: 'frames'; readonly frames: readonly Uint8Array[] }
  | { readonly kind: 'failed'; readonly code: string | undefined; readonly why: string }

const port = parentPort
assert(port !== null, 'runs as a worker thread')
const { path } = workerData as { path: string | undefined }
const file = path === undefined ? undefined : openSync(path, 'r')

let contents: Uint8Array[] = []
let room = Buffer.alloc(0)

port.on('message', (message: Job | Wanted) => {
  try {
    if (message.kind === 'hash')
      port.postMessage({ kind: 'hashes', hashes: hashed(message) } satisfies Answer)
    else {
      const frames = message.wanted.map((i) => Uint8Array.from(pack(contents[i] as Uint8Array)))
      port.postMessage(
        { kind: 'frames', frames } satisfies Answer,
        frames.map(({ buffer }) => buffer),
      )
    }
  } catch (error) {
    const { code, message: why } = error as NodeJS.ErrnoException
    port.postMessage({ kind: 'failed', code, why } satisfies Answer)
  }
})

function hashed({ chunks, content }: Job): Uint8Array {
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0)
  if (content === undefined && room.length < bytes) room = Buffer.alloc(bytes)
  const from = content ?? room
  const hashes = Buffer.alloc(chunks.length * HASH_BYTES)
  let at = 0
  contents = chunks.map(({ position, length }, i) => {
    const chunk = from.subarray(at, at + length)
    at += length
    if (content === undefined) readWhole(chunk, position)
    if (!isZeros(chunk)) hash('sha256', chunk, 'buffer').copy(hashes, i * HASH_BYTES)
    return chunk
  })
  return hashes
}

function readWhole(chunk: Uint8Array, position: number): void {
  for (let at = 0; at < chunk.length;) {
    const read = readSync(file as number, chunk, at, chunk.length - at, position + at)
    if (read === 0) throw Object.assign(new Error('it became shorter while it was read'), { code: 'EIO' })
    at += read
  }
}

const ZEROS = Buffer.alloc(64 * 1024)

function isZeros(chunk: Uint8Array): boolean {
  for (let at = 0; at < chunk.length; at += ZEROS.length) {
    const part = chunk.subarray(at, at + ZEROS.length)
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false
  }
  return true
}

/**
 * A worker thread (pack-pool.ts): its tasks, one at a time. An import scans chunks, is told what of them is held, and has the
 * others packed by the same worker, which has kept them: what is held already is never compressed. Whatever else wants to
 * be known of every byte of an image (fingerprints of its blocks, hashes of a torrent's pieces) is made in the same pass.
 */
import assert from 'node:assert/strict'
import { createHash, hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { constants, zstdCompressSync, type ZstdOptions } from 'node:zlib'
import type { ChunkId } from '../../protocols/ids.ts'
import type { Pressed, StoredChunk } from '../images/block-work.ts'
import { chunkIdOf, contentOf, pack } from '../images/chunk-content.ts'
import { encodeDelta } from '../images/delta.ts'
import { fingerprintsOf } from '../images/fingerprint.ts'
import { free } from '../../protocols/buffers.ts'
import { CHUNK_FRAME_SLACK } from '../../protocols/limits.ts'
import { HASH_BYTES } from '../images/manifest.ts'

type Scan = {
  /** Where each chunk lies on the disk, ascending. */
  readonly chunks: readonly { readonly position: number; readonly length: number }[]
  /** The chunks themselves, one after the other; or of what open file they are read. */
  readonly from: Uint8Array | number
  readonly fingerprints: boolean
  /** Pieces of `bytes` bytes of a disk of `diskBytes`; what lies in one of them between these chunks is zeros. */
  readonly pieces?: { readonly bytes: number; readonly diskBytes: number }
}

type Scanned = {
  /** 32 bytes for each chunk, zeros for a chunk of zeros. */
  readonly hashes: Uint8Array
  /** For each chunk, a list as in fingerprint.ts; none for a chunk of zeros. */
  readonly fingerprints?: readonly (Uint8Array | undefined)[]
  /** For each piece that a chunk lies in, its number and its SHA-1. */
  readonly pieces?: readonly (readonly [index: number, sha1: Uint8Array])[]
}

type Packed = { readonly frames: readonly Uint8Array[]; readonly room: ArrayBuffer }

type Tasks = {
  readonly scan: (scan: Scan) => Scanned
  /** Frames of chunks of the last scan, by their numbers in it: in `room` where it is large enough, or in a larger one. */
  readonly pack: (job: {
    readonly wanted: readonly number[]
    readonly level: number
    readonly room: ArrayBuffer
  }) => Packed
  /** One zstd frame, with a dictionary or without. */
  readonly compress: (job: {
    readonly content: Uint8Array
    readonly level: number
    readonly dictionary?: Uint8Array
  }) => Uint8Array
  /** What images/block-work.ts asks for; throws CHUNK_CORRUPT for a frame that is not what its id says. */
  readonly unpack: (chunks: readonly StoredChunk[]) => readonly Uint8Array[]
  readonly fingerprints: (chunk: StoredChunk) => Uint8Array
  readonly seal: (chunk: { readonly id: ChunkId; readonly content: Uint8Array }) => readonly Uint8Array[]
  readonly press: (pressed: Pressed) => Uint8Array
}

export type Task = keyof Tasks
export type Input<T extends Task> = Parameters<Tasks[T]>[0]
export type Output<T extends Task> = ReturnType<Tasks[T]>
export type Answer =
  | { readonly ok: true; readonly value: Output<Task> }
  | { readonly ok: false; readonly code: string | undefined; readonly why: string }

let contents: Uint8Array[] = []
let room = Buffer.alloc(0)

const TASKS: Tasks = {
  scan(scan) {
    if (contents[0] !== undefined && contents[0].buffer !== room.buffer) free(contents[0])
    contents = contentsOf(scan)
    const hashes = Buffer.alloc(contents.length * HASH_BYTES)
    const isEmpty = contents.map(isZeros)
    for (const [i, chunk] of contents.entries())
      if (isEmpty[i] !== true) hash('sha256', chunk, 'buffer').copy(hashes, i * HASH_BYTES)
    return {
      hashes,
      ...(scan.fingerprints && {
        fingerprints: contents.map((chunk, i) => (isEmpty[i] === true ? undefined : fingerprintsOf(chunk))),
      }),
      ...(scan.pieces !== undefined && { pieces: piecesOf(scan, scan.pieces) }),
    }
  },
  pack({ wanted, level, room }) {
    const chunks = wanted.map((i) => contents[i] as Uint8Array)
    const most = chunks.reduce((sum, { length }) => sum + length + CHUNK_FRAME_SLACK, 0)
    const into = room.byteLength < most ? new ArrayBuffer(most) : room
    let at = 0
    const frames = chunks.map((chunk) => {
      const frame = pack(chunk, level)
      const copy = new Uint8Array(into, at, frame.length)
      copy.set(frame)
      at += frame.length
      free(frame)
      return copy
    })
    return { frames, room: into }
  },
  compress({ content, level, dictionary }) {
    const options: ZstdOptions = { params: { [constants.ZSTD_c_compressionLevel]: level } }
    return Uint8Array.from(
      zstdCompressSync(content, dictionary === undefined ? options : { ...options, dictionary }),
    )
  },
  unpack: (chunks) => chunks.map((chunk) => Uint8Array.from(contentOf(chunk))),
  fingerprints: (chunk) => Uint8Array.from(fingerprintsOf(contentOf(chunk))),
  seal: ({ id, content }) => (chunkIdOf(content) === id ? [Uint8Array.from(pack(content))] : []),
  press: ({ literals, level, dictionary }) =>
    Uint8Array.from(encodeDelta([literals], level, dictionary.map(contentOf))),
}

function contentsOf({ chunks, from }: Scan): Uint8Array[] {
  const bytes = chunks.reduce((sum, { length }) => sum + length, 0)
  if (typeof from === 'number' && room.length < bytes) room = Buffer.alloc(bytes)
  if (typeof from === 'number') readAll(from, chunks)
  const content = typeof from === 'number' ? room : from
  let at = 0
  return chunks.map(({ length }) => content.subarray(at, (at += length)))
}

/** Into the room, one after the other; neighbours at once. */
function readAll(file: number, chunks: Scan['chunks']): void {
  let at = 0
  for (let i = 0; i < chunks.length;) {
    const position = chunks[i]?.position ?? 0
    let bytes = 0
    for (; chunks[i]?.position === position + bytes; i++) bytes += chunks[i]?.length ?? 0
    readWhole(file, room.subarray(at, at + bytes), position)
    at += bytes
  }
}

function readWhole(file: number, into: Uint8Array, position: number): void {
  for (let at = 0; at < into.length;) {
    const read = readSync(file, into, at, into.length - at, position + at)
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

/** The scan has all chunks of a piece that are not of zeros. */
function piecesOf(
  { chunks }: Scan,
  { bytes, diskBytes }: NonNullable<Scan['pieces']>,
): [number, Uint8Array][] {
  const pieces: [number, Uint8Array][] = []
  for (let next = 0; next < chunks.length;) {
    const index = Math.floor((chunks[next]?.position ?? 0) / bytes)
    const end = Math.min((index + 1) * bytes, diskBytes)
    const sum = createHash('sha1')
    const zeros = (length: number): void => {
      for (let left = length; left > 0; left -= ZEROS.length) sum.update(ZEROS.subarray(0, left))
    }
    let at = index * bytes
    for (let chunk = chunks[next]; chunk !== undefined && chunk.position < end; chunk = chunks[next]) {
      zeros(chunk.position - at)
      sum.update(contents[next++] as Uint8Array)
      at = chunk.position + chunk.length
    }
    zeros(end - at)
    pieces.push([index, Uint8Array.from(sum.digest())])
  }
  return pieces
}

/** What is as large as chunks goes back without a copy. */
function transferOf(value: Output<Task>): ArrayBuffer[] {
  if ('room' in value) return [value.room]
  return value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : []
}

const port = parentPort
assert(port !== null, 'runs as a worker thread')
port.on('message', <T extends Task>({ task, input }: { task: T; input: Input<T> }) => {
  try {
    const value = (TASKS[task] as (input: Input<T>) => Output<T>)(input)
    port.postMessage({ ok: true, value } satisfies Answer, transferOf(value))
  } catch (error) {
    const { code, message: why } = error as NodeJS.ErrnoException
    port.postMessage({ ok: false, code, why } satisfies Answer)
  }
})

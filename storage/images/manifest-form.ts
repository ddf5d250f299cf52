/**
 * A manifest as a stream, version 1: how peers of the first version send it, and how they kept it in a file.
 *
 *   'GWMF', u8 version, u8 log2 chunkBytes, u16 zero, u64 bytes, then runs until every chunk is named:
 *   u32 chunks of zeros, u32 chunks with content, 32 bytes for each of the latter
 *
 * Runs are as long as they can be, so an image has one form. A group of a manifest (merkle.ts) goes as runs of its own. Neither
 * side holds more than a piece of it.
 */
import { type Hashes, invalidImage, type Manifest, sizeFault } from './manifest.ts'
import { chunkCount, type DiskSize, GROUP_CHUNKS, groupChunks, HASH_BYTES, PART_CHUNKS } from './merkle.ts'
import { isZeros, RunCount, type Runs } from './runs.ts'

type Parts = Pick<Hashes, 'part'>

const MAGIC = 0x47574d46
const VERSION = 1
export const HEAD_BYTES = 16
const RUN_BYTES = 8

export const formBytes = ({ runs, content }: Runs): number =>
  HEAD_BYTES + runs * RUN_BYTES + content * HASH_BYTES

/** In small pieces. Throws as `Hashes.part` does. */
export function* encodeManifest(manifest: Manifest): Generator<Uint8Array> {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(MAGIC)
  head.writeUInt8(VERSION, 4)
  head.writeUInt8(Math.log2(manifest.chunkBytes), 5)
  head.writeBigUInt64BE(BigInt(manifest.bytes), 8)
  yield head
  yield* encodeRuns(manifest.hashes, chunkCount(manifest))
}

/** Throws as `Hashes.part` does. */
function* encodeRuns(hashes: Parts, chunks: number): Generator<Uint8Array> {
  for (let at = 0; at < chunks;) {
    const content = endOfRun(hashes, at, chunks, true)
    const end = endOfRun(hashes, content, chunks, false)
    const run = Buffer.alloc(RUN_BYTES)
    run.writeUInt32BE(content - at)
    run.writeUInt32BE(end - content, 4)
    yield run
    for (at = content; at < end;) {
      const from = at % PART_CHUNKS
      const until = Math.min(PART_CHUNKS, from + end - at)
      const part = hashes.part(Math.floor(at / PART_CHUNKS))
      yield Uint8Array.from(part.subarray(from * HASH_BYTES, until * HASH_BYTES))
      at += until - from
    }
  }
}

/** The first chunk from `from` on that is not of zeros (`zeros`), or that is. */
function endOfRun(hashes: Parts, from: number, chunks: number, zeros: boolean): number {
  let at = from
  while (at < chunks) {
    const part = hashes.part(Math.floor(at / PART_CHUNKS))
    const end = Math.min(chunks, at - (at % PART_CHUNKS) + PART_CHUNKS)
    for (; at < end; at++) if (isZeros(part, (at % PART_CHUNKS) * HASH_BYTES) !== zeros) return at
  }
  return at
}

/** Takes the hashes from chunk `index` on. */
type Take = (index: number, hashes: Buffer) => void

/** Reads runs in pieces of any size; throws IMAGE_INVALID, and nothing else but what `take` throws, whatever the bytes are. */
export class RunsDecoder {
  readonly #chunks: number
  readonly #take: Take
  #rest: Buffer = Buffer.alloc(0)
  #chunk = 0
  /** Chunks with content of the run in hand that are still to come. */
  #left = 0

  constructor(chunks: number, take: Take) {
    this.#chunks = chunks
    this.#take = take
  }

  push(data: Uint8Array): void {
    const bytes = Buffer.concat([this.#rest, data])
    let at = 0
    while (at < bytes.length) {
      if (this.#left > 0) {
        const count = Math.min(this.#left, Math.floor((bytes.length - at) / HASH_BYTES))
        if (count === 0) break
        this.#content(bytes.subarray(at, at + count * HASH_BYTES), count)
        at += count * HASH_BYTES
        continue
      }
      if (this.#chunk === this.#chunks) refuse('it goes on past its end')
      if (bytes.length - at < RUN_BYTES) break
      this.#run(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4))
      at += RUN_BYTES
    }
    this.#rest = bytes.subarray(at)
  }

  end(): void {
    if (this.#chunk !== this.#chunks || this.#rest.length > 0) refuse('it ends early')
  }

  #run(zeros: number, content: number): void {
    const first = this.#chunk === 0
    this.#chunk += zeros
    this.#left = content
    const ends = this.#chunk === this.#chunks
    // Only the last run may end in zeros, and only the first may begin without; none is empty.
    const fits =
      this.#chunk + content <= this.#chunks && (content > 0 || ends) && (zeros > 0 || (first && content > 0))
    if (!fits) refuse('its runs do not fit')
  }

  #content(hashes: Buffer, count: number): void {
    for (let i = 0; i < count; i++) if (isZeros(hashes, i * HASH_BYTES)) refuse('its runs do not fit')
    this.#take(this.#chunk, hashes)
    this.#chunk += count
    this.#left -= count
  }
}

/** Reads the size before the runs: HEAD_BYTES of it. @throws GodwitError IMAGE_INVALID, and nothing else */
export function decodeHead(bytes: Buffer): DiskSize {
  if (bytes.length < HEAD_BYTES || bytes.readUInt32BE(0) !== MAGIC) return refuse('it is no manifest')
  if (bytes.readUInt8(4) !== VERSION) return refuse(`it has version ${bytes.readUInt8(4)}, not ${VERSION}`)
  if (bytes.readUInt16BE(6) !== 0) return refuse('its head is damaged')
  const size = { bytes: Number(bytes.readBigUInt64BE(8)), chunkBytes: 2 ** bytes.readUInt8(5) }
  const fault = sizeFault(size)
  return fault === undefined ? size : refuse(fault)
}

// Groups -----------------------------------------------------------------------------------------------------------

/** The runs of one group: how long they are, and they in small pieces. Throws as `Hashes.part` does. */
export function encodeGroup(
  manifest: Manifest,
  group: number,
): { readonly total: number; readonly pieces: Iterable<Uint8Array> } {
  const first = (group * GROUP_CHUNKS) / PART_CHUNKS
  const chunks = groupChunks(manifest, group)
  const part = (at: number): Buffer => manifest.hashes.part(first + at)
  const runs = new RunCount()
  for (let at = 0; at * PART_CHUNKS < chunks; at++) runs.add(part(at))
  return { total: formBytes(runs) - HEAD_BYTES, pieces: encodeRuns({ part }, chunks) }
}

/** The hashes of a group of `chunks` chunks. @throws GodwitError IMAGE_INVALID, and nothing else, whatever the bytes are */
export function decodeGroup(encoded: Uint8Array, chunks: number): Buffer {
  const hashes = Buffer.alloc(chunks * HASH_BYTES)
  const decoder = new RunsDecoder(chunks, (index, some) => some.copy(hashes, index * HASH_BYTES))
  decoder.push(encoded)
  decoder.end()
  return hashes
}

const refuse = (why: string): never => {
  throw invalidImage('a manifest', why)
}

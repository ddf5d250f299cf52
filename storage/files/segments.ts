/**
 * Append-only files of frames. One writer: frames that wait while others are written go in the next write, in order, so
 * that what a crash leaves of the last segment is whole frames and one torn tail. A write that fails is cut off again.
 */
import { mkdir, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { giveBack, lend } from '../../protocols/buffers.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { SEGMENT_BYTES_MAX } from '../../protocols/limits.ts'
import { syncFolder } from './durable.ts'
import { openFiles, type OpenFiles } from './open-files.ts'
import { type FrameKeys, mustHave, NO_KEYS, SEALED_BYTES } from './frame-keys.ts'
import { encodeRecord, frameIn, HEADER_BYTES, type Place, type Position } from './segment-frame.ts'
import { keyOfSegment, scanSegment } from './segment-scan.ts'

export type Segments = {
  /** Resolves once the frame is with the kernel. Rejects when there is no room: nothing of it is left then. */
  append(id: ChunkId, frame: Uint8Array, chunkBytes: number): Promise<Place>
  /** Undefined when the disk has lost or changed the frame. */
  read(id: ChunkId, place: Place): Promise<Uint8Array | undefined>
  /** All that `append` has resolved for is on disk, and this is its end. */
  sync(): Promise<Position>
  /** Bytes of every segment. */
  sizes(): ReadonlyMap<number, number>
  /** Of the frame at a place, as `read` gives it. */
  frameBytes(place: Place): number
  /** What a frame takes when it is written now. */
  recordBytes(frame: Uint8Array): number
  /** It is under another key than what is written now, or under none. */
  isOutdated(segment: number): boolean
  /** Resolves with the segment that what is appended from now on goes to; those before it do not change any more. */
  seal(): Promise<number>
  /** Takes a sealed one off the disk. Who reads in it then reads nothing. */
  remove(segment: number): Promise<void>
  close(): Promise<void>
}

/** Bytes of one write: what waits behind it waits this long. */
const WRITE_BYTES_MAX = 8 * 1024 * 1024

/** Segments whose beginnings are read at once when a store is opened: of a terabyte there are thousands. */
const LOOK_AT_ONCE = 64

type Waiting = {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
  readonly chunkBytes: number
  readonly resolve: (place: Place) => void
  readonly reject: (error: unknown) => void
}

type Sealer = { readonly resolve: (segment: number) => void; readonly reject: (error: unknown) => void }

export type Opening = {
  readonly segmentBytesMax?: number
  readonly keys?: FrameKeys
  /** Frames past this position are told to `found`. */
  readonly from: Position
  readonly found: (id: ChunkId, place: Place) => void
}

/** @throws GodwitError STORE_KEY when a segment is under a key that is not among those given. */
export async function openSegments(folder: string, opening: Opening): Promise<Segments> {
  await mkdir(folder, { recursive: true })
  const numbers = (await readdir(folder))
    .map((name) => /^(\d{8})\.segment$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b)
  const last = numbers.at(-1)
  let end: Position = { segment: last ?? 1, offset: 0 }
  const sizes = new Map<number, number>()
  const { keys: frameKeys = NO_KEYS } = opening
  const keyed = new Map<number, number>()
  for (let at = 0; at < numbers.length; at += LOOK_AT_ONCE) {
    const look = async (segment: number): Promise<void> => {
      sizes.set(segment, (await stat(pathOf(folder, segment))).size)
      const key = await keyOfSegment(pathOf(folder, segment), frameKeys)
      if (key !== undefined) keyed.set(segment, key)
      if (key !== undefined && key !== 0) mustHave(frameKeys, key, folder)
    }
    await Promise.all(numbers.slice(at, at + LOOK_AT_ONCE).map(look))
  }
  for (const segment of numbers) {
    if (segment < opening.from.segment && segment !== last) continue
    const file = await open(pathOf(folder, segment), 'r+')
    try {
      const start = segment === opening.from.segment ? opening.from.offset : 0
      const offset = await scanSegment(
        file,
        segment,
        segment < opening.from.segment ? 0 : start,
        opening.found,
      )
      if (segment === last) {
        await file.truncate(offset)
        // What a killed process left may not be on disk yet, and must be before the index names it.
        await file.datasync()
        end = { segment, offset }
        sizes.set(segment, offset)
      }
    } finally {
      await file.close()
    }
  }
  // A segment is under one key: what is written now begins a new one.
  if (end.offset > 0 && keyed.get(end.segment) !== (frameKeys.writing?.id ?? 0))
    end = { segment: end.segment + 1, offset: 0 }
  const { segmentBytesMax = SEGMENT_BYTES_MAX } = opening
  return new SegmentFiles(folder, end, { sizes, keyed, keys: frameKeys, segmentBytesMax })
}

const pathOf = (folder: string, segment: number): string =>
  join(folder, `${String(segment).padStart(8, '0')}.segment`)

class SegmentFiles implements Segments {
  readonly #folder: string
  readonly #segmentBytesMax: number
  readonly #keys: FrameKeys
  /** The key that the records of each segment are under; 0 for none. Not known of one whose beginning is damaged. */
  readonly #keyed: Map<number, number>
  readonly #files: OpenFiles
  #end: Position
  #writer: FileHandle | undefined
  /** Something of a failed write may lie past the end. */
  #torn = false
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  readonly #sizes: Map<number, number>
  /** Who waits for the last segment to be left, and that it is to be. */
  #sealers: Sealer[] = []
  #sealing = false

  constructor(
    folder: string,
    end: Position,
    found: {
      readonly sizes: Map<number, number>
      readonly keyed: Map<number, number>
      readonly keys: FrameKeys
      readonly segmentBytesMax: number
    },
  ) {
    this.#folder = folder
    this.#end = end
    this.#sizes = found.sizes
    this.#keyed = found.keyed
    this.#keys = found.keys
    this.#segmentBytesMax = found.segmentBytesMax
    this.#files = openFiles((segment) => pathOf(folder, segment))
  }

  append(id: ChunkId, frame: Uint8Array, chunkBytes: number): Promise<Place> {
    return new Promise((resolve, reject) => {
      const buffers = encodeRecord(id, frame, chunkBytes, this.#keys.writing)
      const bytes = buffers.reduce((sum, { length }) => sum + length, 0)
      this.#waiting.push({ buffers, bytes, chunkBytes, resolve, reject })
      this.#writing ??= this.#drain()
    })
  }

  async read(id: ChunkId, { segment, offset, frameBytes }: Place): Promise<Uint8Array | undefined> {
    const { buffer, byteLength } = lend(HEADER_BYTES + frameBytes)
    const record = Buffer.from(buffer, 0, byteLength)
    const read = await this.#files.read(segment, record, offset)
    const frame = read === record.length ? frameIn(record, id, this.#keys) : undefined
    // What was encrypted is in another buffer now.
    if (frame?.buffer !== buffer) giveBack(record)
    return frame
  }

  async sync(): Promise<Position> {
    const end = this.#end
    // Older segments were synced when they were left.
    await this.#writer?.datasync()
    return end
  }

  sizes(): ReadonlyMap<number, number> {
    return this.#sizes
  }

  frameBytes({ segment, frameBytes }: Place): number {
    return frameBytes - ((this.#keyed.get(segment) ?? 0) === 0 ? 0 : SEALED_BYTES)
  }

  recordBytes({ length }: Uint8Array): number {
    return HEADER_BYTES + length + (this.#keys.writing === undefined ? 0 : SEALED_BYTES)
  }

  isOutdated(segment: number): boolean {
    return this.#keyed.get(segment) !== (this.#keys.writing?.id ?? 0)
  }

  seal(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#sealers.push({ resolve, reject })
      this.#writing ??= this.#drain()
    })
  }

  async remove(segment: number): Promise<void> {
    await unlink(pathOf(this.#folder, segment))
    this.#sizes.delete(segment)
    this.#keyed.delete(segment)
    await this.#files.forget(segment)
    await syncFolder(this.#folder)
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#writer?.close()
    await this.#files.close()
  }

  async #drain(): Promise<void> {
    // What arrives in this turn of the loop goes in one write.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0 || this.#sealers.length > 0) {
      if (this.#sealers.length > 0) await this.#leave(this.#sealers.splice(0))
      if (this.#waiting.length === 0) continue
      let bytes = 0
      const over = this.#waiting.findIndex((each) => (bytes += each.bytes) > WRITE_BYTES_MAX)
      const group = this.#waiting.splice(0, over === -1 ? this.#waiting.length : Math.max(1, over))
      try {
        await this.#write(group)
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
    }
    this.#writing = undefined
  }

  async #leave(sealers: readonly Sealer[]): Promise<void> {
    try {
      this.#sealing = this.#end.offset > 0
      await this.#writable()
      for (const { resolve } of sealers) resolve(this.#end.segment)
    } catch (error) {
      for (const { reject } of sealers) reject(error)
    }
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const file = await this.#writable()
    const buffers = group.flatMap(({ buffers }) => buffers)
    try {
      await writeAll(file, buffers, this.#end.offset)
    } catch (error) {
      this.#torn = true
      await this.#cut(file).catch(() => {})
      throw error
    }
    let { segment, offset } = this.#end
    const places = group.map(({ bytes, chunkBytes }) => {
      const place = { segment, offset, frameBytes: bytes - HEADER_BYTES, chunkBytes }
      offset += bytes
      return place
    })
    this.#end = { segment, offset }
    this.#sizes.set(segment, offset)
    this.#keyed.set(segment, this.#keys.writing?.id ?? 0)
    for (const [i, { resolve }] of group.entries()) resolve(places[i] as Place)
  }

  /** The last segment, or the next one when it is full; the last one is on disk for good by then. */
  async #writable(): Promise<FileHandle> {
    if (this.#writer !== undefined && this.#torn) await this.#cut(this.#writer)
    const isFull = this.#sealing || this.#end.offset >= this.#segmentBytesMax
    if (this.#writer !== undefined && !isFull) return this.#writer
    if (isFull) {
      const left = this.#writer
      if (left !== undefined) await left.datasync()
      const next = this.#end.segment + 1
      this.#writer = await open(pathOf(this.#folder, next), 'w')
      this.#end = { segment: next, offset: 0 }
      this.#sealing = false
      await left?.close()
    } else {
      this.#writer = await open(pathOf(this.#folder, this.#end.segment), this.#end.offset === 0 ? 'w' : 'r+')
    }
    await syncFolder(this.#folder)
    return this.#writer
  }

  async #cut(file: FileHandle): Promise<void> {
    await file.truncate(this.#end.offset)
    this.#torn = false
  }
}

async function writeAll(file: FileHandle, buffers: readonly Uint8Array[], position: number): Promise<void> {
  let rest = [...buffers]
  let at = position
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest, at)
    at += bytesWritten
    rest = past(rest, bytesWritten)
  }
}

/** What is left of `buffers` after their first `bytes` bytes. */
function past(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  const first = buffers.findIndex((buffer) => {
    if (skip < buffer.length) return true
    skip -= buffer.length
    return false
  })
  return first === -1 ? [] : [(buffers[first] as Uint8Array).subarray(skip), ...buffers.slice(first + 1)]
}

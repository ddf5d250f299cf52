/** Block lists in memory and the work of blocks, on virtual time. A crash loses drafts; what is finished stays. */
import { constants, zstdDecompressSync } from 'node:zlib'
import { failureOf, GodwitError } from '../protocols/errors.ts'
import type { ChunkId, ImageId } from '../protocols/ids.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import type { BlockLists, ListDraft } from '../storage/images/block-lists.ts'
import type { BlockWork, Pressed, StoredChunk, Unpress } from '../storage/images/block-work.ts'
import { chunkIdOf, contentOf, pack } from '../storage/images/chunk-content.ts'
import { decoding, encodeDelta, refuseDelta } from '../storage/images/delta.ts'
import { BLOCK_BYTES, blockCount, FINGERPRINT_BYTES, fingerprintsOf } from '../storage/images/fingerprint.ts'
import { type Sketch, sketchOf } from '../storage/images/sketch.ts'
import type { World } from './world.ts'

const READ_MS = 0.3
const SYNC_MS = 4
/** One core: what the chunks of a second are. */
const WORK_BYTES_PER_MS = 200 * 1024

export class SimBlockLists implements BlockLists {
  readonly #world: World
  readonly #lists: Map<ImageId, Uint8Array>

  constructor(world: World, found: ReadonlyMap<ImageId, Uint8Array> = new Map()) {
    this.#world = world
    this.#lists = new Map(found)
  }

  list(): ImageId[] {
    return [...this.#lists.keys()].sort()
  }

  sketch(image: ImageId, done: Done<Sketch>): void {
    this.#answer(READ_MS, done, () => sketchOf(this.#found(image)))
  }

  read(image: ImageId, first: number, count: number, done: Done<Uint8Array>): void {
    this.#answer(READ_MS, done, () =>
      this.#found(image).slice(first * FINGERPRINT_BYTES, (first + count) * FINGERPRINT_BYTES),
    )
  }

  draft(chunkBytes: number): ListDraft {
    const told: [at: number, fingerprints: Uint8Array][] = []
    return {
      set: (index, fingerprints) =>
        told.push([((index * chunkBytes) / BLOCK_BYTES) * FINGERPRINT_BYTES, fingerprints]),
      finish: ({ image, bytes }, done) =>
        this.#answer(SYNC_MS, done, () => {
          const list = new Uint8Array(blockCount(bytes) * FINGERPRINT_BYTES)
          for (const [at, fingerprints] of told) list.set(fingerprints, at)
          this.#lists.set(image, list)
        }),
      drop: () => {},
    }
  }

  remove(image: ImageId, done: Done<void>): void {
    this.#answer(SYNC_MS, done, () => void this.#lists.delete(image))
  }

  reopen(): SimBlockLists {
    return new SimBlockLists(this.#world, this.#lists)
  }

  #found(image: ImageId): Uint8Array {
    const list = this.#lists.get(image)
    if (list === undefined) throw new GodwitError({ code: 'NOT_FOUND', what: 'block list', name: image })
    return list
  }

  #answer<T>(ms: number, done: Done<T>, run: () => T): void {
    answer(this.#world, ms, done, run)
  }
}

export class SimBlockWork implements BlockWork {
  readonly #world: World
  #freeAtMs = 0

  constructor(world: World) {
    this.#world = world
  }

  unpack(chunk: StoredChunk, done: Done<Uint8Array>): void {
    this.#work(chunk.frame.length, done, () => Uint8Array.from(contentOf(chunk)))
  }

  fingerprints(chunk: StoredChunk, done: Done<Uint8Array>): void {
    this.#work(chunk.frame.length, done, () => fingerprintsOf(contentOf(chunk)))
  }

  seal(id: ChunkId, content: Uint8Array, done: Done<Uint8Array | undefined>): void {
    this.#work(content.length, done, () => (chunkIdOf(content) === id ? pack(content) : undefined))
  }

  press({ literals, level, dictionary }: Pressed, done: Done<Uint8Array>): void {
    this.#work(literals.length, done, () =>
      encodeDelta(
        [literals],
        level,
        dictionary.map((chunk) => contentOf(chunk)),
      ),
    )
  }

  unpress(bytes: number, dictionary: readonly StoredChunk[]): Unpress {
    const parts: Uint8Array[] = []
    let given = 0
    let closed = false
    const read = (last: boolean): Uint8Array => {
      const options = decoding(
        bytes,
        dictionary.map((chunk) => contentOf(chunk)),
      )
      const finishFlush = last ? constants.ZSTD_e_end : constants.ZSTD_e_flush
      let content: Uint8Array
      try {
        content = zstdDecompressSync(Buffer.concat(parts), { ...options, finishFlush })
      } catch {
        return refuseDelta()
      }
      if (content.length > bytes || (last && content.length !== bytes)) return refuseDelta()
      const more = content.subarray(given)
      given = content.length
      return more
    }
    return {
      feed: (part, last, done) => {
        parts.push(part)
        this.#work(
          part.length,
          (outcome: Parameters<typeof done>[0]) => {
            if (!closed) done(outcome)
          },
          () => read(last),
        )
      },
      close: () => {
        closed = true
      },
    }
  }

  #work<T>(bytes: number, done: Done<T>, run: () => T): void {
    this.#freeAtMs = Math.max(this.#world.nowMs, this.#freeAtMs) + bytes / WORK_BYTES_PER_MS
    answer(this.#world, this.#freeAtMs - this.#world.nowMs, done, run)
  }
}

function answer<T>(world: World, ms: number, done: Done<T>, run: () => T): void {
  world.after(ms, () => {
    let value: T
    try {
      value = run()
    } catch (error) {
      return done(failed(failureOf(error)))
    }
    done(ok(value))
  })
}

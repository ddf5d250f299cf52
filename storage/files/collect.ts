/**
 * Garbage collection by segments (the cleaner of a log-structured file system: Rosenblum and Ousterhout, SOSP '91).
 *
 *   mark ─▶ checkpoint ─▶ count what each segment keeps ─▶ for each victim: copy ─▶ checkpoint ─▶ forget ─▶ unlink
 *
 * A victim is a segment that is written no more and keeps less than a given part of its bytes; those that keep nothing come
 * first, so that a full disk gets room before it has to give some. What a victim keeps is appended like any new frame.
 *
 * Invariants:
 * - A frame is on disk and the index names it there before the one it was copied from is unlinked: a crash leaves both or
 *   the new one. What is forgotten is gone from the index, synced, before the file is: the index names no missing file.
 * - Which chunks a victim holds is read in the index, not in the file: a header that the disk has changed hides none.
 * - What is seen while the collection runs is kept (storage/images/holds.ts). The decision to forget and the list that
 *   others wait for (`forgetting`) are made in one turn, so nobody hears `held` of a chunk that is then dropped.
 *
 * Bounds: VICTIM_CHUNKS_MAX places in memory, one frame in hand, `bytesPerSecondMax` read and written again. The index is
 * walked once to count, and once for each VICTIM_CHUNKS_MAX chunks of victims.
 */
import { GodwitError } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { ok, type Outcome } from '../../protocols/outcome.ts'
import type { ChunkNames } from '../images/chunk-names.ts'
import type { Collected, Collection } from '../images/chunk-store.ts'
import type { Holds } from '../images/holds.ts'
import type { ChunkIndex } from '../level/chunk-index.ts'
import { pace } from './pace.ts'
import { HEADER_BYTES, type Place } from './segment-frame.ts'
import type { Segments } from './segments.ts'

/** What the collector needs of the chunk store. */
export type Collecting = {
  readonly segments: Pick<Segments, 'isOutdated' | 'read' | 'recordBytes' | 'sizes' | 'seal' | 'remove'>
  readonly index: Pick<ChunkIndex, 'page'>
  readonly holds: Holds
  readonly checkpoint: () => Promise<void>
  /** Takes a frame that was read from this store, as if it were new. */
  readonly append: (id: ChunkId, frame: Uint8Array, chunkBytes: number) => Promise<void>
  /** Forgets chunks whose place is still in this segment; whoever asks for one of them meanwhile waits. Synced. */
  readonly forget: (ids: readonly ChunkId[], segment: number) => Promise<void>
  readonly isStopped: () => boolean
}

type Lying = readonly [ChunkId, Place]

const PAGE = 1_024
/** Places of victims held in memory: 10 MiB, about 25 segments. */
const VICTIM_CHUNKS_MAX = 64 * 1024
/** Chunks forgotten in one synced batch: 150 KiB of LevelDB's log, and those who ask wait for one of them. */
const FORGET_MAX = 4_096

/**
 * What marking failed with, if it did.
 *
 * @throws GodwitError CANCELLED when it is, or the store is closed, DISK_FULL, IO
 */
export async function collect(given: Collecting, collection: Collection): Promise<Outcome<Collected>> {
  const store: Collecting = {
    ...given,
    isStopped: () => given.isStopped() || collection.isCancelled?.() === true,
  }
  const { segments, holds } = store
  holds.begin()
  try {
    const marked = await new Promise<Outcome<ChunkNames>>((done) => collection.mark(done))
    if (!marked.ok) return marked
    const sweep = new Sweep(
      store,
      marked.value,
      pace(collection.bytesPerSecondMax, () => store.isStopped()),
    )
    await store.checkpoint()
    if (collection.dryRun === true) return ok(await sweep.garbage())
    const victims = await sweep.victims(collection)
    // The last segment is left when it is one of them; what it got since the checkpoint must be in the index too.
    if (victims.some(({ segment }) => segment === Math.max(...segments.sizes().keys()))) {
      await segments.seal()
      await store.checkpoint()
    }
    return ok(await sweep.run(victims))
  } finally {
    holds.end()
  }
}

const cancelled = (): GodwitError => new GodwitError({ code: 'CANCELLED', what: 'the collection of garbage' })

type Victim = { readonly segment: number; readonly keptBytes: number; readonly chunks: number }

class Sweep {
  readonly #store: Collecting
  readonly #marked: ChunkNames
  readonly #pace: (bytes: number) => Promise<void>
  #chunks = 0
  #copiedBytes = 0
  #removedBytes = 0

  constructor(store: Collecting, marked: ChunkNames, paced: (bytes: number) => Promise<void>) {
    this.#store = store
    this.#marked = marked
    this.#pace = paced
  }

  /** What nothing keeps, and what its frames take. */
  async garbage(): Promise<Collected> {
    let [chunks, bytes] = [0, 0]
    for await (const [id, { frameBytes }] of this.#places()) {
      if (this.#keeps(id)) continue
      chunks++
      bytes += HEADER_BYTES + frameBytes
    }
    return { chunks, bytes }
  }

  /** Those that keep the least first. */
  async victims({ liveMax, renew = false }: Collection): Promise<Victim[]> {
    const kept = new Map<number, { keptBytes: number; chunks: number }>()
    for await (const [id, { segment, frameBytes }] of this.#places()) {
      const count = kept.get(segment) ?? { keptBytes: 0, chunks: 0 }
      count.chunks++
      if (this.#keeps(id)) count.keptBytes += HEADER_BYTES + frameBytes
      kept.set(segment, count)
    }
    return [...this.#store.segments.sizes()]
      .filter(([, bytes]) => bytes > 0)
      .map(([segment, bytes]) => ({ segment, bytes, ...(kept.get(segment) ?? { keptBytes: 0, chunks: 0 }) }))
      .filter(
        ({ segment, bytes, keptBytes }) =>
          keptBytes < liveMax * bytes || (renew && this.#store.segments.isOutdated(segment)),
      )
      .toSorted((a, b) => a.keptBytes - b.keptBytes)
  }

  async run(victims: readonly Victim[]): Promise<Collected> {
    const rest = [...victims]
    while (rest.length > 0) {
      let chunks = 0
      const over = rest.findIndex((victim) => (chunks += victim.chunks) > VICTIM_CHUNKS_MAX)
      const some = rest.splice(0, over === -1 ? rest.length : Math.max(1, over))
      const lying = new Map<number, Lying[]>(some.map(({ segment }) => [segment, []]))
      for await (const each of this.#places()) lying.get(each[1].segment)?.push(each)
      for (const [segment, frames] of lying) await this.#clear(segment, frames)
    }
    return { chunks: this.#chunks, bytes: this.#removedBytes - this.#copiedBytes }
  }

  /** Copies what is kept of a segment, forgets the rest, and takes the file away. */
  async #clear(segment: number, frames: readonly Lying[]): Promise<void> {
    const { segments, checkpoint, forget } = this.#store
    let rest = frames.toSorted(([, a], [, b]) => a.offset - b.offset)
    while (rest.length > 0) {
      const some = rest.slice(0, FORGET_MAX)
      const kept = new Set(some.filter(([id]) => this.#keeps(id)))
      if (kept.size === 0) {
        await forget(
          some.map(([id]) => id),
          segment,
        )
        this.#chunks += some.length
        rest = rest.slice(some.length)
        continue
      }
      for (const each of kept) await this.#copy(each)
      await checkpoint()
      // Some of the others may have been asked for meanwhile: they are looked at again.
      rest = rest.filter((each) => !kept.has(each))
    }
    this.#removedBytes += segments.sizes().get(segment) ?? 0
    await segments.remove(segment)
  }

  async #copy([id, place]: Lying): Promise<void> {
    if (this.#store.isStopped()) throw cancelled()
    const frame = await this.#store.segments.read(id, place)
    // What the disk has changed is as good as gone: it can be fetched again.
    if (frame === undefined) return this.#store.forget([id], place.segment)
    await this.#store.append(id, frame, place.chunkBytes)
    const bytes = this.#store.segments.recordBytes(frame)
    this.#copiedBytes += bytes
    await this.#pace(bytes)
  }

  #keeps(id: ChunkId): boolean {
    return this.#marked.has(id) || this.#store.holds.keeps(id)
  }

  async *#places(): AsyncGenerator<Lying> {
    let past: ChunkId | '' = ''
    for (;;) {
      const page: Lying[] = await this.#store.index.page(past, PAGE)
      yield* page
      if (this.#store.isStopped()) throw cancelled()
      if (page.length < PAGE) return
      past = page.at(-1)?.[0] ?? ''
    }
  }
}

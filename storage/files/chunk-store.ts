/**
 * The chunk store in files: frames in segments, and an index of them (docs/decisions/0006-chunk-store.md).
 *
 * A chunk is held from the moment its frame is with the kernel: until the next checkpoint this process remembers where,
 * and after a crash the segments tell. A checkpoint first syncs the segments, then the index, so the index never
 * names what a power cut could take away.
 */
import { join } from 'node:path'
import { free } from '../../protocols/buffers.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { failed, ok, type Done, type Outcome } from '../../protocols/outcome.ts'
import { isRawChunk, unpack } from '../images/chunk-content.ts'
import type { ChunkStore, Collected, Collection, Packed, Scrub, Scrubbed } from '../images/chunk-store.ts'
import { type Hold, Holds } from '../images/holds.ts'
import { openChunkIndex, type ChunkIndex } from '../level/chunk-index.ts'
import { collect } from './collect.ts'
import { fileFailure } from './durable.ts'
import type { FrameKeys } from './frame-keys.ts'
import { pace } from './pace.ts'
import type { Place, Position } from './segment-frame.ts'
import { openSegments, type Segments } from './segments.ts'

export type FileChunkStore = ChunkStore & {
  /** After what is in hand, with a last checkpoint. Nothing may be asked after. */
  close(): Promise<void>
}

/**
 * Frames that only this process knows the place of. Past this a checkpoint begins, and past twice this writes wait for it:
 * what an opening after a crash reads again, at most three times this.
 */
const UNINDEXED_BYTES_MAX = 64 * 1024 * 1024
const UNINDEXED_MAX = 4_096
/** Chunks remembered as not held, because somebody asked: what is asked and missing is what is written next. 2 MiB. */
const ABSENT_MAX = 16_384
/** Frames unpacked at once: half of libuv's threads, so that Raft's fsync always finds one. */
const UNPACKING_MAX = 2

export type ChunkStoreOptions = { readonly segmentBytesMax?: number; readonly keys?: FrameKeys }

/** DATA_LOCKED, DATA_NEWER, DATA_CORRUPT, STORE_KEY, DISK_FULL or IO when the folder cannot be opened. */
export async function openChunkStore(
  folder: string,
  options: ChunkStoreOptions = {},
): Promise<Outcome<FileChunkStore>> {
  const index = await openChunkIndex(join(folder, 'index'))
  if (!index.ok) return index
  try {
    // What an older version cannot read it must not open: it would take it for damaged, and forget it.
    if (options.keys?.writing !== undefined) await index.value.markEncrypted()
    const unindexed = new Map<ChunkId, Place>()
    const segments = await openSegments(join(folder, 'segments'), {
      ...options,
      from: index.value.checkpoint,
      found: (id, place) => unindexed.set(id, place),
    })
    return ok(new SegmentedChunkStore(folder, segments, index.value, unindexed))
  } catch (error) {
    await index.value.close()
    return failed(fileFailure(error, folder))
  }
}

class SegmentedChunkStore implements FileChunkStore {
  readonly #folder: string
  readonly #segments: Segments
  readonly #index: ChunkIndex
  readonly #unindexed: Map<ChunkId, Place>
  #unindexedBytes = 0
  /** Neither here nor in the index: writing them needs no look-up. */
  readonly #absent = new Set<ChunkId>()
  #checkpoints = 0
  #checkpointing = false
  /** Writes in hand, by chunk. */
  readonly #writing = new Map<ChunkId, Promise<Outcome<void>>>()
  readonly #inHand = new Set<Promise<unknown>>()
  /** Changes of the index, one after the other. */
  #indexing: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined
  readonly #holds = new Holds()
  /** Chunks that a collection forgets at this moment: whoever asks for one of them waits until it is done. */
  #forgetting: { readonly ids: ReadonlySet<ChunkId>; readonly done: Promise<void> } | undefined
  #unpacking = 0
  readonly #waitToUnpack: (() => void)[] = []

  constructor(folder: string, segments: Segments, index: ChunkIndex, unindexed: Map<ChunkId, Place>) {
    this.#folder = folder
    this.#segments = segments
    this.#index = index
    this.#unindexed = unindexed
    for (const { frameBytes } of unindexed.values()) this.#unindexedBytes += frameBytes
  }

  has(ids: readonly ChunkId[], done: Done<boolean[]>): void {
    for (const id of ids) this.#holds.saw(id)
    this.#answer(done, async () => {
      if (ids.some((id) => this.#forgetting?.ids.has(id) === true)) await this.#forgetting?.done
      // What a checkpoint moves meanwhile is found at one place or the other.
      const here = ids.map((id) => this.#unindexed.has(id))
      const others = ids.filter((_, i) => here[i] !== true)
      const checkpoints = this.#checkpoints
      const indexed = await this.#index.has(others)
      // Without a checkpoint since, all that was written since is still among the unindexed.
      if (checkpoints === this.#checkpoints)
        this.#rememberAbsent(others.filter((_, i) => indexed[i] !== true))
      let at = 0
      return ok(here.map((held) => held || indexed[at++] === true))
    })
  }

  sizes(ids: readonly ChunkId[], done: Done<number[]>): void {
    this.#answer(done, async () => {
      if (ids.some((id) => this.#forgetting?.ids.has(id) === true)) await this.#forgetting?.done
      const here = ids.map((id) => this.#unindexed.get(id))
      const indexed = await this.#index.places(ids.filter((_, i) => here[i] === undefined))
      let at = 0
      return ok(
        here.map((unindexed) => {
          const place = unindexed ?? indexed[at++]
          return place === undefined ? 0 : this.#segments.frameBytes(place)
        }),
      )
    })
  }

  bytes(): number {
    let bytes = 0
    for (const size of this.#segments.sizes().values()) bytes += size
    return bytes
  }

  read(id: ChunkId, done: Done<Uint8Array>): void {
    this.#answer(done, async () => {
      const frame = await this.#frameOf(id)
      if (frame === 'missing') return failed({ code: 'CHUNK_MISSING', image: `with chunk ${id}`, chunks: 1 })
      if (frame === 'damaged') return failed({ code: 'CHUNK_CORRUPT', chunk: id, from: 'the disk' })
      return ok(frame)
    })
  }

  write(id: ChunkId, frame: Uint8Array, chunkBytes: number, done: Done<void>): void {
    this.#holds.saw(id)
    this.#answer(done, () => this.#writeOnce({ id, frame, chunkBytes }, false))
  }

  put(packed: readonly Packed[], done: Done<void>): void {
    for (const { id } of packed) this.#holds.saw(id)
    this.#answer(done, async () => {
      const outcomes = await Promise.all(packed.map((each) => this.#writeOnce(each, true)))
      return outcomes.find((outcome) => !outcome.ok) ?? ok(undefined)
    })
  }

  sync(done: Done<void>): void {
    const before = [...this.#writing.values()]
    this.#answer(done, async () => {
      await Promise.all(before)
      await this.#checkpoint()
      return ok(undefined)
    })
  }

  hold(): Hold {
    return this.#holds.hold()
  }

  collect(collection: Collection, done: Done<Collected>): void {
    this.#answer(done, () =>
      collect(
        {
          segments: this.#segments,
          index: this.#index,
          holds: this.#holds,
          checkpoint: () => this.#checkpoint(),
          append: (id, frame, chunkBytes) => this.#append(id, frame, chunkBytes),
          forget: (ids, segment) => this.#forget(ids, segment),
          isStopped: () => this.#closing !== undefined,
        },
        collection,
      ),
    )
  }

  scrub({ bytesMax, bytesPerSecondMax }: Scrub, done: Done<Scrubbed>): void {
    this.#answer(done, async () => {
      const damaged: ChunkId[] = []
      const paced = pace(bytesPerSecondMax, () => this.#closing !== undefined)
      let past = await this.#index.scrubbed()
      let [chunks, bytes] = [0, 0]
      // A walk goes through the index, and begins with all that is held in it.
      if (past === '') await this.#checkpoint()
      let wrapped = false
      while (bytes < bytesMax && !wrapped && this.#closing === undefined) {
        const [next] = await this.#index.page(past, 1)
        past = next?.[0] ?? ''
        wrapped = next === undefined
        if (next === undefined) continue
        if ((await this.#frameOf(past)) === 'damaged') damaged.push(past)
        chunks++
        bytes += next[1].frameBytes
        await paced(next[1].frameBytes)
      }
      await this.#oneByOne(() => this.#index.setScrubbed(past))
      return ok({ chunks, bytes, damaged, wrapped })
    })
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    await Promise.all(this.#inHand)
    // When there is no room for it the segments tell the next life.
    await this.#checkpoint().catch(() => {})
    await this.#segments.close()
    await this.#index.close()
  }

  /** Of those who write a chunk at once, the first whose frame is sound. */
  async #writeOnce(packed: Packed, isTrusted: boolean): Promise<Outcome<void>> {
    const { id } = packed
    for (let other = this.#writing.get(id); other !== undefined; other = this.#writing.get(id))
      if ((await other).ok) return ok(undefined)
    const mine = this.#outcome(() => this.#writeNew(packed, isTrusted))
    this.#writing.set(id, mine)
    const outcome = await mine
    this.#writing.delete(id)
    return outcome
  }

  async #writeNew({ id, frame, chunkBytes }: Packed, isTrusted: boolean): Promise<Outcome<void>> {
    if (!this.#absent.delete(id) && (await this.#placeOf(id)) !== undefined) return ok(undefined)
    if (!isTrusted && !(await this.#isSound(id, frame, chunkBytes)))
      return failed({ code: 'CHUNK_CORRUPT', chunk: id, from: 'its source' })
    await this.#append(id, frame, chunkBytes)
    return ok(undefined)
  }

  async #append(id: ChunkId, frame: Uint8Array, chunkBytes: number): Promise<void> {
    const place = await this.#segments.append(id, frame, chunkBytes)
    this.#unindexedBytes += place.frameBytes - (this.#unindexed.get(id)?.frameBytes ?? 0)
    this.#unindexed.set(id, place)
    if (this.#isUnindexedFull(2)) await this.#checkpoint(() => this.#isUnindexedFull(2))
    else if (this.#isUnindexedFull()) this.#beginCheckpoint()
  }

  /** What is damaged is no longer held when this resolves. */
  async #frameOf(id: ChunkId): Promise<Uint8Array | 'missing' | 'damaged'> {
    for (let place = await this.#placeOf(id); place !== undefined;) {
      const frame = await this.#segments.read(id, place)
      if (frame !== undefined) return frame
      const now = await this.#placeOf(id)
      if (now === undefined || !isSame(now, place)) {
        // Collected or copied elsewhere between the look-up and the read.
        place = now
        continue
      }
      await this.#drop(id, place)
      return 'damaged'
    }
    return 'missing'
  }

  #rememberAbsent(ids: readonly ChunkId[]): void {
    if (this.#absent.size + ids.length > ABSENT_MAX) this.#absent.clear()
    for (const id of ids.slice(0, ABSENT_MAX))
      if (!this.#unindexed.has(id) && !this.#writing.has(id)) this.#absent.add(id)
  }

  async #isSound(id: ChunkId, frame: Uint8Array, chunkBytes: number): Promise<boolean> {
    const raw = isRawChunk(id, frame, chunkBytes)
    if (raw !== undefined) return raw
    if (this.#unpacking < UNPACKING_MAX) this.#unpacking++
    else await new Promise<void>((resolve) => this.#waitToUnpack.push(resolve))
    const content = await unpack(id, frame, chunkBytes)
    if (content !== undefined) free(content)
    // The next one takes our place.
    const next = this.#waitToUnpack.shift()
    if (next === undefined) this.#unpacking--
    else next()
    return content !== undefined
  }

  async #placeOf(id: ChunkId): Promise<Place | undefined> {
    if (this.#forgetting?.ids.has(id) === true) await this.#forgetting.done
    return this.#unindexed.get(id) ?? this.#index.get(id)
  }

  #isUnindexedFull(times = 1): boolean {
    return (
      this.#unindexedBytes >= times * UNINDEXED_BYTES_MAX || this.#unindexed.size >= times * UNINDEXED_MAX
    )
  }

  /** Writes go on meanwhile: the disk syncs what is written as others are received. */
  #beginCheckpoint(): void {
    if (this.#checkpointing) return
    this.#checkpointing = true
    const over = (): void => {
      this.#checkpointing = false
    }
    // One that fails is begun again by the next write, and told to those that wait.
    this.#checkpoint(() => this.#isUnindexedFull()).then(over, over)
  }

  #checkpoint(isWanted: () => boolean = () => true): Promise<void> {
    return this.#oneByOne(async () => {
      if (!isWanted()) return
      const end = await this.#segments.sync()
      this.#checkpoints++
      const places = new Map([...this.#unindexed].filter(([, place]) => isBefore(place, end)))
      await this.#index.add(places, end)
      for (const [id, place] of places) {
        if (this.#unindexed.get(id) !== place) continue
        this.#unindexed.delete(id)
        this.#unindexedBytes -= place.frameBytes
      }
    })
  }

  /** What the disk has changed is no longer held, so that it can be fetched and written again. */
  #drop(id: ChunkId, bad: Place): Promise<void> {
    return this.#oneByOne(async () => {
      if (isSame(this.#unindexed.get(id), bad)) {
        this.#unindexed.delete(id)
        this.#unindexedBytes -= bad.frameBytes
      }
      if (isSame(await this.#index.get(id), bad)) await this.#index.drop([id], false)
    })
  }

  /** The decision stands from the call on, so that it must be made in the same turn. */
  async #forget(ids: readonly ChunkId[], segment: number): Promise<void> {
    const done = this.#oneByOne(async () => {
      const places = await Promise.all(ids.map((id) => this.#index.get(id)))
      const there = ids.filter((_, i) => places[i]?.segment === segment)
      await this.#index.drop(there, true)
    })
    // Who waits looks for itself whether it was forgotten.
    this.#forgetting = { ids: new Set(ids), done: done.catch(() => {}) }
    try {
      await done
    } finally {
      this.#forgetting = undefined
    }
  }

  #oneByOne(run: () => Promise<void>): Promise<void> {
    const next = this.#indexing.then(run)
    this.#indexing = next.catch(() => {})
    return next
  }

  #answer<T>(done: Done<T>, run: () => Promise<Outcome<T>>): void {
    const outcome = this.#outcome(run)
    this.#inHand.add(outcome)
    const tell = async (): Promise<void> => {
      const ended = await outcome
      this.#inHand.delete(outcome)
      done(ended)
    }
    void tell()
  }

  async #outcome<T>(run: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    try {
      return await run()
    } catch (error) {
      return failed(fileFailure(error, this.#folder))
    }
  }
}

const isBefore = (a: Position, b: Position): boolean =>
  a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset)
const isSame = (a: Place | undefined, b: Place): boolean => a?.segment === b.segment && a.offset === b.offset

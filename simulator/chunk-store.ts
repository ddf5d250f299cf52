/**
 * Chunks and manifests on virtual time, in memory, with the same checks as on disk. A crash is a power cut: chunks that
 * were synced are kept, and of those that came after a prefix that the seed chooses. Frames are shared, never copied:
 * fifty peers that hold an image cost one.
 */
import { GodwitError, failureOf, type Failure } from '../protocols/errors.ts'
import type { ChunkId, ImageId } from '../protocols/ids.ts'
import { failed, ok, type Done } from '../protocols/outcome.ts'
import { unpackSync } from '../storage/images/chunk-content.ts'
import type {
  ChunkStore,
  Collected,
  Collection,
  ManifestDraft,
  ManifestStore,
  Packed,
  Receiving,
  Scrub,
  Scrubbed,
} from '../storage/images/chunk-store.ts'
import { type Hold, Holds } from '../storage/images/holds.ts'
import {
  buildManifest,
  chunkCount,
  HASH_BYTES,
  invalidImage,
  type Manifest,
  partsOf,
  sizeFault,
  verifyManifest,
} from '../storage/images/manifest.ts'
import {
  type DiskSize,
  GROUP_CHUNKS,
  groupChunks,
  groupCount,
  isGroup,
  type Tree,
} from '../storage/images/merkle.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

/** A frame to or from the page cache or a fast disk. */
const CHUNK_MS = { min: 0.05, max: 0.5 }
/** An fsync of a small SSD. */
const SYNC_MS = { min: 1, max: 6 }

type Ms = { readonly min: number; readonly max: number }

/** What both twins share: latency, faults, and a power cut after which nothing is answered. */
class SimDisk {
  /** While set, every write fails: DISK_FULL. */
  full = false
  /** While set, every call fails with it. */
  fail: Failure | undefined
  readonly world: World
  readonly name: string
  readonly random: Random
  protected dead = false
  #freeAtMs = 0

  constructor(world: World, kind: string, name: string) {
    this.world = world
    this.name = name
    this.random = world.random(`${kind} ${name} ${world.nowMs}`)
  }

  /** Runs `run` and answers with what it returns or throws, after those that were asked before. */
  protected answer<T>({ min, max }: Ms, done: Done<T>, run: () => T): void {
    if (this.dead) return
    const ms = min + this.random() * (max - min)
    this.#freeAtMs = Math.max(this.world.nowMs, this.#freeAtMs) + ms
    this.world.after(this.#freeAtMs - this.world.nowMs, () => {
      if (this.dead) return
      try {
        if (this.fail !== undefined) throw new GodwitError(this.fail)
        const value = run()
        done(ok(value))
      } catch (error) {
        done(failed(failureOf(error)))
      }
    })
  }

  protected refuseWhenFull(): void {
    if (this.full) throw new GodwitError({ code: 'DISK_FULL', path: this.name })
  }
}

export class SimChunkStore extends SimDisk implements ChunkStore {
  readonly #held: Map<ChunkId, Uint8Array>
  readonly #holds = new Holds()
  #unsynced: ChunkId[] = []
  /** The chunk that was scrubbed last. */
  #scrubbed: ChunkId | ''

  constructor(
    world: World,
    name: string,
    found: ReadonlyMap<ChunkId, Uint8Array> = new Map(),
    scrubbed: ChunkId | '' = '',
  ) {
    super(world, 'chunks', name)
    this.#held = new Map(found)
    this.#scrubbed = scrubbed
  }

  has(ids: readonly ChunkId[], done: Done<boolean[]>): void {
    for (const id of ids) this.#holds.saw(id)
    this.answer(CHUNK_MS, done, () => ids.map((id) => this.#held.has(id)))
  }

  sizes(ids: readonly ChunkId[], done: Done<number[]>): void {
    this.answer(CHUNK_MS, done, () => ids.map((id) => this.#held.get(id)?.length ?? 0))
  }

  bytes(): number {
    return [...this.#held.values()].reduce((sum, frame) => sum + frame.length, 0)
  }

  read(id: ChunkId, done: Done<Uint8Array>): void {
    this.answer(CHUNK_MS, done, () => {
      const frame = this.#held.get(id)
      if (frame === undefined)
        throw new GodwitError({ code: 'CHUNK_MISSING', image: `with chunk ${id}`, chunks: 1 })
      if (frame !== DAMAGED) return frame
      this.#held.delete(id)
      throw new GodwitError({ code: 'CHUNK_CORRUPT', chunk: id, from: 'the disk' })
    })
  }

  write(id: ChunkId, frame: Uint8Array, chunkBytes: number, done: Done<void>): void {
    this.#holds.saw(id)
    this.answer(CHUNK_MS, done, () => {
      if (this.#held.has(id)) return
      if (unpackSync(id, frame, chunkBytes) === undefined)
        throw new GodwitError({ code: 'CHUNK_CORRUPT', chunk: id, from: 'its source' })
      this.refuseWhenFull()
      // Simulated channels lend nothing, so it may be kept.
      this.#held.set(id, frame)
      this.#unsynced.push(id)
    })
  }

  put(packed: readonly Packed[], done: Done<void>): void {
    for (const { id } of packed) this.#holds.saw(id)
    this.answer(CHUNK_MS, done, () => {
      this.refuseWhenFull()
      for (const { id, frame } of packed.filter(({ id }) => !this.#held.has(id))) {
        this.#held.set(id, frame)
        this.#unsynced.push(id)
      }
    })
  }

  sync(done: Done<void>): void {
    this.answer(SYNC_MS, done, () => {
      this.refuseWhenFull()
      this.#unsynced = []
    })
  }

  hold(): Hold {
    return this.#holds.hold()
  }

  /** As if every chunk lay in a file of its own: `liveMax` does not matter, and nothing is copied. */
  collect(collection: Collection, done: Done<Collected>): void {
    this.#holds.begin()
    collection.mark((marked) =>
      this.answer(SYNC_MS, done, () => {
        const kept = (id: ChunkId): boolean => !marked.ok || marked.value.has(id) || this.#holds.keeps(id)
        const gone = [...this.#held].filter(([id]) => !kept(id))
        this.#holds.end()
        if (!marked.ok) throw new GodwitError(marked.failure)
        if (collection.isCancelled?.() === true)
          throw new GodwitError({ code: 'CANCELLED', what: 'the collection of garbage' })
        if (collection.dryRun !== true) for (const [id] of gone) this.#held.delete(id)
        return { chunks: gone.length, bytes: gone.reduce((sum, [, frame]) => sum + frame.length, 0) }
      }),
    )
  }

  scrub({ bytesMax }: Scrub, done: Done<Scrubbed>): void {
    this.answer(CHUNK_MS, done, () => {
      const damaged: ChunkId[] = []
      let [chunks, bytes] = [0, 0]
      for (const id of [...this.#held.keys()].filter((each) => each > this.#scrubbed).sort()) {
        if (bytes >= bytesMax) return { chunks, bytes, damaged, wrapped: false }
        const frame = this.#held.get(id) ?? DAMAGED
        if (frame === DAMAGED) damaged.push(id)
        chunks++
        bytes += Math.max(1, frame.length)
        this.#scrubbed = id
        if (frame === DAMAGED) this.#held.delete(id)
      }
      if (bytes >= bytesMax) return { chunks, bytes, damaged, wrapped: false }
      this.#scrubbed = ''
      return { chunks, bytes, damaged, wrapped: true }
    })
  }

  /** Ids held, for checkers. */
  held(): ReadonlySet<ChunkId> {
    return new Set(this.#held.keys())
  }

  /** The disk changes a stored frame; the next read finds out. */
  damage(id: ChunkId): void {
    if (this.#held.has(id)) this.#held.set(id, DAMAGED)
  }

  crash(): void {
    if (this.dead) return
    this.dead = true
    const kept = this.random.below(this.#unsynced.length + 1)
    for (const id of this.#unsynced.slice(kept)) this.#held.delete(id)
  }

  /** The same disk, in the next life of its host. Without a crash before, nothing is lost. */
  reopen(): SimChunkStore {
    this.dead = true
    return new SimChunkStore(this.world, this.name, this.#held, this.#scrubbed)
  }
}

const DAMAGED = new Uint8Array()

export class SimManifestStore extends SimDisk implements ManifestStore {
  readonly #held: Map<ImageId, Manifest>
  readonly #damaged = new Set<ImageId>()
  /** Removed for all who ask, and not off the disk yet. */
  readonly #leaving = new Set<ImageId>()
  /** What came of manifests that are not whole yet. */
  readonly #drafts: Map<ImageId, { readonly tree: Tree; readonly hashes: Buffer }>

  constructor(
    world: World,
    name: string,
    found: ReadonlyMap<ImageId, Manifest> = new Map(),
    drafts: ReadonlyMap<ImageId, { readonly tree: Tree; readonly hashes: Buffer }> = new Map(),
  ) {
    super(world, 'manifests', name)
    this.#held = new Map(found)
    this.#drafts = new Map(drafts)
  }

  list(): ImageId[] {
    return [...this.#held.keys()].filter((image) => !this.#leaving.has(image)).sort()
  }

  damaged(): ImageId[] {
    return [...this.#damaged]
  }

  /** The disk changes it, and somebody has noticed. */
  damage(image: ImageId): void {
    this.#damaged.add(image)
  }

  get(image: ImageId, done: Done<Manifest>): void {
    this.answer(CHUNK_MS, done, () => {
      if (this.#damaged.has(image))
        throw new GodwitError({ code: 'DATA_CORRUPT', what: 'a manifest', why: 'the disk has changed it' })
      const manifest = this.#held.get(image)
      if (manifest === undefined) throw new GodwitError({ code: 'NOT_FOUND', what: 'image', name: image })
      return manifest
    })
  }

  put(manifest: Manifest, done: Done<void>): void {
    this.answer(SYNC_MS, done, () => {
      const why = verifyManifest(manifest)
      if (why !== undefined) throw new GodwitError({ code: 'IMAGE_INVALID', path: manifest.image, why })
      this.refuseWhenFull()
      this.#held.set(manifest.image, manifest)
      this.#damaged.delete(manifest.image)
    })
  }

  walk(image: ImageId, take: (part: Uint8Array) => void, done: Done<void>): void {
    this.get(image, (found) => {
      if (!found.ok) return done(found)
      try {
        for (const part of partsOf(found.value)) take(part)
      } catch (error) {
        return done(failed(failureOf(error)))
      }
      done(ok(undefined))
    })
  }

  begin(size: DiskSize, image: ImageId | undefined, done: Done<ManifestDraft>): void {
    this.answer(CHUNK_MS, done, () => {
      const fault = sizeFault(size)
      if (fault !== undefined) throw invalidImage('a new image', fault)
      const hashes = Buffer.alloc(chunkCount(size) * HASH_BYTES)
      return {
        set: (index, some) => hashes.set(some, index * HASH_BYTES),
        finish: (finished) => this.#finish(size, image, hashes, finished),
        drop: () => {},
      }
    })
  }

  receive(tree: Tree, done: Done<Receiving>): void {
    this.answer(CHUNK_MS, done, () => {
      const { image } = tree
      const hashes = this.#drafts.get(image)?.hashes ?? Buffer.alloc(chunkCount(tree) * HASH_BYTES)
      const missing: number[] = []
      for (let group = 0; group < groupCount(tree); group++) {
        const first = group * GROUP_CHUNKS
        const held = hashes.subarray(first * HASH_BYTES, (first + groupChunks(tree, group)) * HASH_BYTES)
        if (!isGroup(tree, group, held)) missing.push(group)
      }
      return {
        draft: {
          set: (index, some) => {
            hashes.set(some, index * HASH_BYTES)
            this.#drafts.set(image, { tree, hashes })
          },
          finish: (finished) => this.#finish(tree, image, hashes, finished),
          drop: () => {},
        },
        missing,
      }
    })
  }

  pending(image: ImageId, done: Done<Tree | undefined>): void {
    this.answer(CHUNK_MS, done, () => this.#drafts.get(image)?.tree)
  }

  #finish(size: DiskSize, image: ImageId | undefined, hashes: Buffer, done: Done<Manifest>): void {
    this.answer(SYNC_MS, done, () => {
      const manifest = buildManifest(size.bytes, size.chunkBytes, hashes)
      if (image !== undefined && manifest.image !== image)
        throw invalidImage(image, 'its Merkle root is another')
      this.refuseWhenFull()
      this.#held.set(manifest.image, manifest)
      this.#damaged.delete(manifest.image)
      this.#drafts.delete(manifest.image)
      return manifest
    })
  }

  remove(image: ImageId, done: Done<void>): void {
    this.#leaving.add(image)
    const settle: Done<void> = (outcome) => {
      this.#leaving.delete(image)
      done(outcome)
    }
    this.answer(SYNC_MS, settle, () => {
      if (!this.#held.delete(image)) throw new GodwitError({ code: 'NOT_FOUND', what: 'image', name: image })
    })
  }

  crash(): void {
    this.dead = true
  }

  /** The same disk, in the next life of its host: what was done is durable here. */
  reopen(): SimManifestStore {
    this.dead = true
    return new SimManifestStore(this.world, this.name, this.#held, this.#drafts)
  }
}

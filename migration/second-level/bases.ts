/**
 * The images held here whose blocks one download looks at: found by their sketches, read past what is wanted by their lists, and
 * by their chunks where something is copied.
 *
 * Bounds: sketches of CANDIDATES_MAX and BASES_MAX images at once; one piece of a list; CACHE_BYTES of unpacked chunks. So
 * memory does not grow with what the host holds.
 */
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import { BASES_MAX } from '../../protocols/limits.ts'
import { failed, ok, type Done, type Outcome } from '../../protocols/outcome.ts'
import type { BlockLists } from '../../storage/images/block-lists.ts'
import type { BlockWork, StoredChunk } from '../../storage/images/block-work.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import { BLOCK_BYTES } from '../../storage/images/fingerprint.ts'
import { readableChunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'
import { nearest, type Sketch } from '../../storage/images/sketch.ts'
import type { BaseChunk } from './batch.ts'
import { type Copy, type Plan, planOf, seek, windowOf } from './wanted.ts'

export type Blocks = {
  readonly lists: BlockLists
  readonly work: BlockWork
  /** Has lists made of images that came a moment ago (listing.ts). */
  readonly hurry?: (done: () => void) => void
}

export type BasePorts = Blocks & {
  readonly chunks: Pick<ChunkStore, 'read'>
  readonly manifests: Pick<ManifestStore, 'get'>
}

/** Sketches compared at once, beside those of the nearest so far: 4 MiB at most. */
const CANDIDATES_MAX = 28
/** Fewer fingerprints do not tell one image from another: where there are few images all of them are looked at. */
const SAMPLES_MIN = 4
/** Fingerprints of a list read at once: 1 ms of work. */
const PIECE_BLOCKS = 32 * 1024
/** Copies come in runs, from few chunks at a time. */
const CACHE_BYTES = 8 * 1024 ** 2

type Candidate = { readonly image: ImageId; readonly sketch: Sketch }

export class Bases {
  readonly #ports: BasePorts
  readonly #target: ImageId
  #bases: readonly Manifest[] = []
  /** Pieces of lists in which all is zeros: not read again. */
  readonly #empty: Set<number>[] = []
  readonly #contents = new Map<string, Uint8Array>()
  #contentBytes = 0
  readonly #reading = new Map<string, Done<Uint8Array>[]>()

  constructor(ports: BasePorts, target: ImageId) {
    this.#ports = ports
    this.#target = target
  }

  /** There are lists of other images: it may be worth asking for a sketch. */
  static areThere({ lists }: Blocks, target: ImageId): boolean {
    return lists.list().some((image) => image !== target)
  }

  /** The nearest, BASES_MAX at most; false when none is worth reading. */
  find(target: Sketch, done: (found: boolean) => void): void {
    const names = this.#ports.lists.list().filter((image) => image !== this.#target)
    if (target.fingerprints.length < SAMPLES_MIN && names.length <= BASES_MAX) return this.#open(names, done)
    let best: Candidate[] = []
    const next = (at: number, some: Candidate[]): void => {
      const image = names[at]
      if (image === undefined || some.length >= best.length + CANDIDATES_MAX) {
        const chosen = nearest(target, some)
        best = chosen.map((name) => some.find((each) => each.image === name) as Candidate)
        if (image === undefined) return this.#open(chosen, done)
        some = [...best]
      }
      this.#ports.lists.sketch(image, (read) =>
        next(at + 1, read.ok ? [...some, { image, sketch: read.value }] : some),
      )
    }
    next(0, [])
  }

  #open(names: readonly ImageId[], done: (found: boolean) => void): void {
    const bases: Manifest[] = []
    const next = (at: number): void => {
      const image = names[at]
      if (image === undefined) {
        this.#bases = bases
        for (const _ of bases) this.#empty.push(new Set())
        return done(bases.length > 0)
      }
      this.#ports.manifests.get(image, (manifest) => {
        if (manifest.ok) bases.push(manifest.value)
        next(at + 1)
      })
    }
    next(0)
  }

  /** How each chunk with these fingerprints is made, in their order. */
  plan(prints: readonly Uint8Array[], done: (plans: Plan[]) => void): void {
    const window = windowOf(prints)
    const read = (base: number, piece: number): void => {
      const manifest = this.#bases[base]
      if (manifest === undefined || window.left === 0) return done(prints.map((list) => planOf(window, list)))
      const first = piece * PIECE_BLOCKS
      if (first * BLOCK_BYTES >= manifest.bytes) return read(base + 1, 0)
      const empty = this.#empty[base]
      if (empty?.has(piece) === true) return read(base, piece + 1)
      this.#ports.lists.read(manifest.image, first, PIECE_BLOCKS, (list) => {
        // Removed since, or damaged: what it has is not looked at, or what was seen of it may be wrong; nothing rests on it.
        if (!list.ok) return read(base + 1, 0)
        if (list.value.every((byte) => byte === 0)) empty?.add(piece)
        else seek(window, base, list.value, first)
        read(base, piece + 1)
      })
    }
    read(0, 0)
  }

  /** The chunk at the same place of the nearest base. */
  sameIndex(index: number, chunkBytes: number): BaseChunk | undefined {
    const [base] = this.#bases
    if (base?.chunkBytes !== chunkBytes || index >= chunkCount(base)) return undefined
    return readableChunkAt(base, index) === undefined ? undefined : { base: 0, index }
  }

  blocksOfChunk(base: number): number {
    return (this.#bases[base]?.chunkBytes ?? BLOCK_BYTES) / BLOCK_BYTES
  }

  idOf({ base, index }: BaseChunk): ChunkId | undefined {
    const manifest = this.#bases[base]
    return manifest === undefined || index >= chunkCount(manifest)
      ? undefined
      : readableChunkAt(manifest, index)
  }

  /** As it is stored. */
  stored(id: ChunkId, done: Done<StoredChunk>): void {
    this.#ports.chunks.read(id, (read) => done(read.ok ? ok({ id, frame: read.value }) : read))
  }

  /** The blocks of a copy, one after the other. */
  read({ base, place, count }: Copy, done: Done<Uint8Array>): void {
    const blocksOfChunk = this.blocksOfChunk(base)
    const parts: Uint8Array[] = []
    const next = (at: number): void => {
      if (at >= place + count) return done(ok(Buffer.concat(parts)))
      const index = Math.floor(at / blocksOfChunk)
      const end = Math.min(place + count, (index + 1) * blocksOfChunk)
      this.#content({ base, index }, (content) => {
        if (!content.ok) return done(content)
        const first = index * blocksOfChunk
        parts.push(content.value.subarray((at - first) * BLOCK_BYTES, (end - first) * BLOCK_BYTES))
        next(end)
      })
    }
    next(place)
  }

  #content(chunk: BaseChunk, done: Done<Uint8Array>): void {
    const key = `${chunk.base}/${chunk.index}`
    const content = this.#contents.get(key)
    if (content !== undefined) {
      // The one used last is the last to go.
      this.#contents.delete(key)
      this.#contents.set(key, content)
      return done(ok(content))
    }
    const waiting = this.#reading.get(key)
    if (waiting !== undefined) return void waiting.push(done)
    this.#reading.set(key, [done])
    const over = (outcome: Outcome<Uint8Array>): void => {
      const dones = this.#reading.get(key) ?? []
      this.#reading.delete(key)
      if (outcome.ok) this.#keep(key, outcome.value)
      for (const each of dones) each(outcome)
    }
    const id = this.idOf(chunk)
    if (id === undefined) return over(failed({ code: 'NOT_FOUND', what: 'chunk', name: key }))
    this.stored(id, (stored) => {
      if (stored.ok) this.#ports.work.unpack(stored.value, over)
      else over(stored)
    })
  }

  #keep(key: string, content: Uint8Array): void {
    this.#contents.set(key, content)
    this.#contentBytes += content.length
    for (const [oldest, { length }] of this.#contents) {
      if (this.#contentBytes <= CACHE_BYTES || oldest === key) return
      this.#contents.delete(oldest)
      this.#contentBytes -= length
    }
  }
}

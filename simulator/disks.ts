/**
 * The disks of a simulated host: overlays of whole chunks on the images of its chunk store. What was done stays through a
 * crash of the peer and a power cut; only the peer's calls that are in hand are lost.
 */
import { hash } from 'node:crypto'
import type {
  CapturedDisk,
  DiskHandle,
  Disks,
  DiskSource,
  KeepingTerms,
  KeptCopy,
} from '../node/hypervisor.ts'
import { GodwitError, failureOf } from '../protocols/errors.ts'
import type { ChunkId, VmId } from '../protocols/ids.ts'
import { failed, ok, type Done } from '../protocols/outcome.ts'
import { pack, unpackSync } from '../storage/images/chunk-content.ts'
import type { ChunkStore, ManifestStore } from '../storage/images/chunk-store.ts'
import {
  buildManifest,
  chunkAt,
  chunkCount,
  chunkLength,
  HASH_BYTES,
  type Manifest,
  partsOf,
} from '../storage/images/manifest.ts'
import { COUNTER_CHUNK } from './guest.ts'
import type { World } from './world.ts'

/** Making overlays, renaming folders. */
const CHANGE_MS = 8
/** Materialising a base, for each of its chunks that is not zeros. */
const CHUNK_MS = 0.05

type Disk = {
  readonly base: Manifest
  readonly bytes: number
  /** What the base holds where guests count; the rest of it nobody looks at. */
  readonly counter: Uint8Array | undefined
  /** Chunks written since. */
  readonly written: Map<number, Uint8Array>
}

type Shelf = {
  readonly vms: Map<VmId, Disk[]>
  readonly kept: Map<string, { readonly disks: Disk[]; readonly terms: KeepingTerms }>
  /** VMs whose guest has the disks open. */
  readonly open: Set<VmId>
}

type Stores = { readonly chunks: ChunkStore; readonly manifests: ManifestStore }

export class SimDisks implements Disks {
  readonly #world: World
  readonly #stores: Stores
  readonly #shelf: Shelf
  #dead = false

  constructor(world: World, stores: Stores, found?: SimDisks) {
    this.#world = world
    this.#stores = stores
    this.#shelf = found?.shelf ?? { vms: new Map(), kept: new Map(), open: new Set() }
  }

  /** What outlives the peer. */
  get shelf(): Shelf {
    return this.#shelf
  }

  has(vm: VmId): boolean {
    return this.#shelf.vms.has(vm)
  }

  prepare(vm: VmId, sources: readonly DiskSource[], done: Done<DiskHandle[]>): void {
    const there = this.#shelf.vms.get(vm)
    if (there !== undefined) return this.#later(CHANGE_MS, done, () => handles(vm, there))
    this.#prepareAll(sources, [], (error, disks) => {
      if (error !== undefined) return this.#later(CHANGE_MS, done, () => raise(error))
      const chunks = disks.reduce((sum, { base }) => sum + chunkCount(base), 0)
      this.#later(CHANGE_MS + chunks * CHUNK_MS, done, () => {
        // Two that were asked for at once: the first stays.
        const first = this.#shelf.vms.get(vm) ?? disks
        this.#shelf.vms.set(vm, first)
        return handles(vm, first)
      })
    })
  }

  #prepareAll(
    sources: readonly DiskSource[],
    ready: Disk[],
    then: (error: GodwitError | undefined, disks: Disk[]) => void,
  ): void {
    const source = sources[ready.length]
    if (source === undefined) return then(undefined, ready)
    const { chunks, manifests } = this.#stores
    manifests.get(source.image, (found) => {
      if (!found.ok) return then(new GodwitError(found.failure), [])
      const base = found.value
      const ids = chunkIds(base)
      chunks.has(ids, (held) => {
        if (!held.ok) return then(new GodwitError(held.failure), [])
        const missing = held.value.filter((each) => !each).length
        if (missing > 0)
          return then(new GodwitError({ code: 'CHUNK_MISSING', image: base.image, chunks: missing }), [])
        this.#counterOf(base, (error, counter) => {
          if (error !== undefined) return then(error, [])
          const bytes = Math.max(source.bytes, base.bytes)
          this.#prepareAll(sources, [...ready, { base, bytes, counter, written: new Map() }], then)
        })
      })
    })
  }

  #counterOf(base: Manifest, then: (error: GodwitError | undefined, counter?: Uint8Array) => void): void {
    const id = COUNTER_CHUNK < chunkCount(base) ? chunkAt(base, COUNTER_CHUNK) : undefined
    if (id === undefined) return then(undefined)
    this.#stores.chunks.read(id, (read) => {
      if (!read.ok) return then(new GodwitError(read.failure))
      then(undefined, unpackSync(id, read.value, chunkLength(base, COUNTER_CHUNK)))
    })
  }

  capture(vm: VmId, done: Done<CapturedDisk[]>): void {
    const disks = this.#shelf.vms.get(vm)
    if (disks === undefined)
      return this.#fail(done, new GodwitError({ code: 'NOT_FOUND', what: 'disk', name: vm }))
    if (this.#shelf.open.has(vm)) return this.#fail(done, inUse(vm, 'captured'))
    const captured: CapturedDisk[] = []
    const hold = this.#stores.chunks.hold()
    const next = (): void => {
      const disk = disks[captured.length]
      if (disk === undefined) hold.release()
      if (disk === undefined) return this.#later(CHANGE_MS, done, () => captured)
      this.#captureOne(disk, (outcome) => {
        if (!outcome.ok) hold.release()
        if (!outcome.ok) return this.#fail(done, new GodwitError(outcome.failure))
        captured.push(outcome.value)
        next()
      })
    }
    next()
  }

  #captureOne({ base, bytes, written }: Disk, done: Done<CapturedDisk>): void {
    const { chunks, manifests } = this.#stores
    const { chunkBytes } = base
    const hashes = Buffer.alloc(chunkCount({ bytes, chunkBytes }) * HASH_BYTES)
    hashes.set(Buffer.concat([...partsOf(base)]))
    for (const index of written.keys()) hashes.fill(0, index * HASH_BYTES, (index + 1) * HASH_BYTES)
    const contents = [...written]
      .filter(([, content]) => content.some((byte) => byte !== 0))
      .map(([index, content]) => ({ index, content, id: hash('sha256', content) }))
    for (const { index, id } of contents) hashes.set(Buffer.from(id, 'hex'), index * HASH_BYTES)
    chunks.has(
      contents.map(({ id }) => id),
      (held) => {
        if (!held.ok) return done(held)
        const fresh = contents.filter((_, i) => held.value[i] !== true)
        const write = (at: number): void => {
          const one = fresh[at]
          if (one === undefined) return finish()
          chunks.write(one.id, pack(one.content), one.content.length, (outcome) =>
            outcome.ok ? write(at + 1) : done(outcome),
          )
        }
        const finish = (): void =>
          chunks.sync((synced) => {
            if (!synced.ok) return done(synced)
            const manifest = buildManifest(bytes, chunkBytes, hashes)
            manifests.put(manifest, (stored) => {
              const newBytes = fresh.reduce((sum, { content }) => sum + content.length, 0)
              done(stored.ok ? ok({ image: manifest.image, bytes, newBytes }) : stored)
            })
          })
        write(0)
      },
    )
  }

  setAside(vm: VmId, label: string, terms: KeepingTerms, done: Done<void>): void {
    this.#later(CHANGE_MS, done, () => {
      const { vms, kept, open } = this.#shelf
      const disks = vms.get(vm)
      if (disks === undefined) return
      if (open.has(vm)) throw inUse(vm, 'set aside')
      let name = `${vm}.${label}`
      for (let again = 2; kept.has(name); again++) name = `${vm}.${label}.${again}`
      vms.delete(vm)
      kept.set(name, { disks, terms })
    })
  }

  kept(): KeptCopy[] {
    const copies = [...this.#shelf.kept].map(([name, { disks, terms }]) => {
      const bases = [...new Set(disks.map(({ base }) => base.image))]
      return { name, vm: name.slice(0, name.indexOf('.')), bases, ...terms }
    })
    return copies.toSorted((one, other) => one.atMs - other.atMs)
  }

  weigh(name: string, done: Done<number>): void {
    this.#later(CHANGE_MS, done, () => {
      const disks = this.#shelf.kept.get(name)?.disks ?? []
      return disks
        .flatMap(({ written }) => [...written.values()])
        .reduce((sum, { length }) => sum + length, 0)
    })
  }

  drop(name: string, done: Done<void>): void {
    this.#later(CHANGE_MS, done, () => void this.#shelf.kept.delete(name))
  }

  remove(vm: VmId, done: Done<void>): void {
    this.#later(CHANGE_MS, done, () => {
      if (this.#shelf.open.has(vm)) throw inUse(vm, 'removed')
      this.#shelf.vms.delete(vm)
    })
  }

  // What guests do -----------------------------------------------------------------------------------------------

  /** The content of a chunk of the VM's first disk: what was written, else the base's where guests count. */
  readChunk(vm: VmId, index: number): Uint8Array | undefined {
    const disk = this.#shelf.vms.get(vm)?.[0]
    return disk?.written.get(index) ?? (index === COUNTER_CHUNK ? disk?.counter : undefined)
  }

  /** Bytes of a chunk of the VM's first disk; 0 when it has none there. */
  chunkLength(vm: VmId, index: number): number {
    const disk = this.#shelf.vms.get(vm)?.[0]
    if (disk === undefined) return 0
    const place = { bytes: disk.bytes, chunkBytes: disk.base.chunkBytes }
    return index < chunkCount(place) ? chunkLength(place, index) : 0
  }

  writeChunk(vm: VmId, index: number, content: Uint8Array): void {
    this.#shelf.vms.get(vm)?.[0]?.written.set(index, content)
  }

  hold(vm: VmId): void {
    this.#shelf.open.add(vm)
  }

  release(vm: VmId): void {
    this.#shelf.open.delete(vm)
  }

  // The host's life ----------------------------------------------------------------------------------------------

  /** The peer's process ends, now; nothing is answered any more. */
  crash(): void {
    this.#dead = true
  }

  /** The same disks in the peer's next life, over the stores of that life. */
  reopen(stores: Stores): SimDisks {
    this.#dead = true
    return new SimDisks(this.#world, stores, this)
  }

  #fail<T>(done: Done<T>, error: GodwitError): void {
    this.#later(CHANGE_MS, done, () => raise(error))
  }

  #later<T>(ms: number, done: Done<T>, run: () => T): void {
    this.#world.after(ms, () => {
      if (this.#dead) return
      let value: T
      try {
        value = run()
      } catch (error) {
        return done(failed(failureOf(error)))
      }
      done(ok(value))
    })
  }
}

const handles = (vm: VmId, disks: readonly Disk[]): DiskHandle[] =>
  disks.map((_, index) => ({ path: `sim:${vm}/${index}`, format: 'qcow2' }))

const inUse = (vm: VmId, wanted: string): GodwitError =>
  new GodwitError({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted })

function chunkIds(manifest: Manifest): ChunkId[] {
  const ids: ChunkId[] = []
  for (let index = 0; index < chunkCount(manifest); index++) {
    const id = chunkAt(manifest, index)
    if (id !== undefined) ids.push(id)
  }
  return ids
}

function raise(error: GodwitError): never {
  throw error
}

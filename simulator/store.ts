/**
 * The store on virtual time. A crash is a power cut: what was acknowledged as durable is kept, and of what came after it
 * a prefix that the seed chooses.
 */
import { failed, ok, type Done } from '../protocols/outcome.ts'
import type { Failure } from '../protocols/errors.ts'
import { pastPrefix } from '../storage/keyspace.ts'
import type { Op, Store } from '../storage/store.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

type Waiting = { readonly batch: readonly Op[]; readonly durable: boolean; readonly done: Done<void> }
type Pairs = Map<string, Uint8Array>

/** An fsync of a small SSD or an SD card. */
const SYNC_MS = { min: 1, max: 6 }
/** A write that stays in the page cache. */
const CACHE_MS = 0.1
/** Batches in the page cache that nobody syncs; past it the kernel writes the oldest back. */
const UNSYNCED_MAX = 256

export class SimStore implements Store {
  /** While set, every write fails: DISK_FULL. */
  full = false
  /** While set, every write fails with it. */
  fail: Failure | undefined
  readonly #world: World
  readonly #name: string
  readonly #random: Random
  /** What a power cut leaves for certain. */
  readonly #synced: Pairs
  /** Batches on their way or in the page cache, in order. */
  #unsynced: (readonly Op[])[] = []
  #waiting: Waiting[] = []
  #busy = false
  #crashed = false
  readonly #recovered: readonly (readonly [string, Uint8Array])[]

  constructor(world: World, name: string, found: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.#world = world
    this.#name = name
    this.#random = world.random(`store ${name} ${world.nowMs}`)
    this.#synced = new Map(found)
    this.#recovered = [...found].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  recovered(prefix: string): readonly (readonly [string, Uint8Array])[] {
    const end = pastPrefix(prefix)
    return this.#recovered.filter(([key]) => key >= prefix && key < end)
  }

  write(batch: readonly Op[], durable: boolean, done: Done<void>): void {
    if (this.#crashed) return
    this.#waiting.push({ batch: batch.map(copy), durable, done })
    if (this.#busy) return
    this.#busy = true
    this.#world.after(0, () => this.#flush())
  }

  /** The power goes: writes in flight get no answer, later ones neither. `reopen` shows what is left. */
  crash(): void {
    if (this.#crashed) return
    this.#crashed = true
    const kept = this.#random.below(this.#unsynced.length + 1)
    this.#world.say(`store ${this.#name} lost ${this.#unsynced.length - kept} of ${this.#unsynced.length}`)
    for (const batch of this.#unsynced.slice(0, kept)) apply(this.#synced, batch)
    this.#unsynced = []
    this.#waiting = []
  }

  /** What a power cut at this moment leaves for certain. */
  whatACrashLeaves(): Pick<Store, 'recovered'> {
    const pairs = [...this.#synced].sort(([a], [b]) => (a < b ? -1 : 1))
    return { recovered: (prefix) => pairs.filter(([key]) => key.startsWith(prefix)) }
  }

  /** The same disk, in the next life of its host. Without a crash before, nothing is lost. */
  reopen(): SimStore {
    for (const batch of this.#unsynced) apply(this.#synced, batch)
    this.#crashed = true
    return new SimStore(this.#world, this.#name, this.#synced)
  }

  #flush(): void {
    if (this.#crashed) return
    const merged = this.#waiting
    this.#waiting = []
    const durable = merged.some((each) => each.durable)
    const failure = this.fail ?? (this.full ? { code: 'DISK_FULL' as const, path: this.#name } : undefined)
    if (failure === undefined) this.#unsynced.push(...merged.map(({ batch }) => batch))
    const ms = durable ? SYNC_MS.min + this.#random() * (SYNC_MS.max - SYNC_MS.min) : CACHE_MS
    this.#world.after(ms, () => this.#flushed(merged, durable, failure))
  }

  #flushed(merged: readonly Waiting[], durable: boolean, failure: Failure | undefined): void {
    if (this.#crashed) return
    if (failure === undefined && durable) {
      for (const batch of this.#unsynced) apply(this.#synced, batch)
      this.#unsynced = []
    }
    for (const batch of this.#unsynced.splice(0, Math.max(0, this.#unsynced.length - UNSYNCED_MAX)))
      apply(this.#synced, batch)
    // Those behind a failed batch fail with it, as in storage/level/store.ts.
    const told = failure === undefined ? merged : [...merged, ...this.#waiting.splice(0)]
    for (const { done } of told) done(failure === undefined ? ok(undefined) : failed(failure))
    this.#busy = this.#waiting.length > 0
    if (this.#busy) this.#flush()
  }
}

/** Keeps a caller that reuses its buffer from changing our disk. */
const copy = (op: Op): Op => (op.kind === 'put' ? { ...op, value: Uint8Array.from(op.value) } : op)

function apply(pairs: Pairs, batch: readonly Op[]): void {
  for (const op of batch) {
    if (op.kind === 'put') pairs.set(op.key, op.value)
    else if (op.kind === 'del') pairs.delete(op.key)
    else for (const key of pairs.keys()) if (key >= op.gte && key < op.lt) pairs.delete(key)
  }
}

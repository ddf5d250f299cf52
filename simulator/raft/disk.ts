/**
 * The disk of one simulated host: what is durable and what is pending are kept apart. Records are the product's own
 * (storage/raft-log.ts), checksums included, so damage is found by the code that has to find it. Beside the bytes stands
 * the truth, the values that were made durable: what a member says of its disk is held against it, and so is what a
 * restart reads from the bytes.
 *
 * Writes complete in order; those that come up while one is on its way share the next fsync. A crash keeps a prefix of
 * what was pending; the batch at the tear is dropped whole, as the store promises, or leaves a torn record (`tear`).
 */
import assert from 'node:assert/strict'
import type { Entry, HardState, RaftEffect, Recovered, Snapshot } from '../../protocols/raft/types.ts'
import type { MemberId } from '../../protocols/raft/member.ts'
import { beginOps, recover, recoverOwner, storeOps } from '../../storage/raft-log.ts'
import { key } from '../../storage/keyspace.ts'
import type { Op } from '../../storage/store.ts'
import type { Random } from '../random.ts'
import type { Timeline } from './timeline.ts'

export type StoreEffect = Extract<RaftEffect, { kind: 'store' }>

/** What is durable of one group. */
export type Durable = {
  hardState: HardState
  snapshot: Snapshot
  entries: Entry[]
}

type Slot = {
  readonly bytes: Map<string, Uint8Array>
  /** Under a record, what it took the place of. */
  readonly under: Map<string, Uint8Array>
  readonly first: readonly Op[]
  readonly truth: Durable
}
type Write = {
  readonly group: string
  readonly effect: StoreEffect
  readonly ops: readonly Op[]
  readonly done: (ok: boolean) => void
}

export type DiskRates = {
  /** An fsync takes at least `minUs`, and `meanUs` more on average. */
  minUs: number
  meanUs: number
}

export class RaftDisk {
  /** `failing`: every write fails, as a full or a dying disk does; nothing of it is lost for certain, nor kept. */
  failing = false
  readonly rates: DiskRates
  readonly #timeline: Timeline
  readonly #dice: Random
  readonly #slots = new Map<string, Slot>()
  #waiting: Write[] = []
  #flying: Write[] = []
  /** Raised by each write, and by a crash: what a raised one would have ended is over. */
  #flight = 0

  constructor(timeline: Timeline, dice: Random, rates: DiskRates) {
    this.#timeline = timeline
    this.#dice = dice
    this.rates = rates
  }

  /** A log begins; its first records go to the disk with its first write, and until then cost nothing to lose. */
  begin(group: string, member: MemberId, { hardState, snapshot, entries }: Recovered): void {
    const first = beginOps(group, { member, generation: 0 }, { hardState, snapshot, entries })
    const truth = { hardState, snapshot, entries: [...entries] }
    this.#slots.set(group, { bytes: new Map(), under: new Map(), first, truth })
  }

  write(group: string, effect: StoreEffect, done: (ok: boolean) => void): void {
    this.#waiting.push({ group, effect, ops: storeOps(group, effect), done })
    if (this.#flying.length === 0) this.#fly()
  }

  /** Faults end: it is as good as new, and a write that was slow is not any more. */
  calm(rates: DiskRates): void {
    this.failing = false
    Object.assign(this.rates, rates)
    if (this.#flying.length > 0) this.#landLater()
  }

  /** How many records a group has. */
  bytesOf(group: string): number {
    return this.#slot(group).bytes.size
  }

  get pending(): number {
    return this.#waiting.length + this.#flying.length
  }

  durable(group: string): Durable {
    return this.#slot(group).truth
  }

  /** The power goes. @returns How many pending writes were lost. */
  crash(tear: boolean): number {
    this.#flight++
    const pending = [...this.#flying, ...this.#waiting]
    this.#flying = []
    this.#waiting = []
    const kept = this.#dice.below(pending.length + 1)
    for (const write of pending.slice(0, kept)) this.#make(write)
    const torn = pending[kept]
    if (tear && torn !== undefined) this.#tear(torn)
    return pending.length - kept
  }

  /** @throws GodwitError DATA_CORRUPT when the log is damaged. */
  recover(group: string): Recovered | undefined {
    const pairs = [...this.#slot(group).bytes].sort(([a], [b]) => (a < b ? -1 : 1))
    const store = { recovered: (prefix: string) => pairs.filter(([key]) => key.startsWith(prefix)) }
    recoverOwner(store, group)
    return recover(store, group)
  }

  /** One bit of one record is not what it was. @returns The record, if there is any. */
  flip(group: string): string | undefined {
    const { bytes } = this.#slot(group)
    if (bytes.size === 0) return undefined
    const place = this.#dice.pick([...bytes.keys()])
    const value = Uint8Array.from(bytes.get(place) as Uint8Array)
    const at = this.#dice.below(value.length)
    value[at] = (value[at] as number) ^ (1 << this.#dice.below(8))
    bytes.set(place, value)
    return place
  }

  /** One record is not there any more. */
  cut(group: string): string | undefined {
    const { bytes } = this.#slot(group)
    const place = this.#dice.pick([...bytes.keys()])
    bytes.delete(place)
    return place
  }

  /**
   * A record was written where another is: that one is gone, and where the record should be is what was there before. On
   * another group's log only an entry goes: nothing but the entries around it says that it should be here.
   * @returns The two places, if there are two.
   */
  misdirect(group: string, onto: string): string | undefined {
    const [here, there] = [this.#slot(group), this.#slot(onto)]
    const strays = [...here.bytes.keys()].filter((place) => group === onto || isEntry(place))
    if (strays.length === 0) return undefined
    const from = this.#dice.pick(strays)
    const places = [...there.bytes.keys()].filter(
      (place) => place !== from && (group === onto || isEntry(place)),
    )
    if (places.length === 0) return undefined
    const to = this.#dice.pick(places)
    there.bytes.set(to, here.bytes.get(from) as Uint8Array)
    const before = here.under.get(from)
    if (before === undefined) here.bytes.delete(from)
    else here.bytes.set(from, before)
    return `${from} written to ${to}`
  }

  #slot(group: string): Slot {
    const slot = this.#slots.get(group)
    assert(slot !== undefined, `no log of ${group} has begun here`)
    return slot
  }

  #fly(): void {
    this.#flying = this.#waiting
    this.#waiting = []
    this.#landLater()
  }

  #landLater(): void {
    const { minUs, meanUs } = this.rates
    const flight = ++this.#flight
    this.#timeline.after(minUs + meanUs * -Math.log(1 - this.#dice()), () => {
      if (flight === this.#flight) this.#land()
    })
  }

  #land(): void {
    const landed = this.#flying
    this.#flying = []
    if (this.failing) {
      // Those behind a failed write fail with it. Part of it may be on the disk all the same; a retry says it again.
      const failed = [...landed, ...this.#waiting.splice(0)]
      for (const { done } of failed) done(false)
    } else {
      for (const write of landed) this.#make(write)
      for (const { done } of landed) done(true)
    }
    if (this.#flying.length === 0 && this.#waiting.length > 0) this.#fly()
  }

  #make({ group, effect, ops }: Write): void {
    const slot = this.#slot(group)
    const { first, truth } = slot
    if (slot.bytes.size === 0) for (const op of first) apply(slot, op)
    for (const op of ops) apply(slot, op)
    const { hardState, snapshot, entries, compactTo, dropFrom } = effect
    if (compactTo !== undefined) truth.entries = truth.entries.filter(({ index }) => index > compactTo)
    if (dropFrom !== undefined) truth.entries = truth.entries.filter(({ index }) => index < dropFrom)
    if (snapshot !== undefined) truth.snapshot = snapshot
    for (const entry of entries) truth.entries.push(entry)
    if (hardState !== undefined) truth.hardState = hardState
  }

  /** Half of one record of the batch is there, and nothing else of it. */
  #tear({ group, ops }: Write): void {
    const { bytes } = this.#slot(group)
    const puts = ops.filter((op) => op.kind === 'put')
    if (puts.length === 0) return
    const { key, value } = this.#dice.pick(puts)
    bytes.set(key, value.slice(0, this.#dice.below(value.length)))
  }
}

function apply({ bytes, under }: Pick<Slot, 'bytes' | 'under'>, op: Op): void {
  if (op.kind === 'put') {
    const before = bytes.get(op.key)
    if (before === undefined) under.delete(op.key)
    else under.set(op.key, before)
    bytes.set(op.key, op.value)
  } else if (op.kind === 'del') bytes.delete(op.key)
  else for (const key of bytes.keys()) if (key >= op.gte && key < op.lt) bytes.delete(key)
}

const isEntry = (at: string): boolean => at.startsWith(key('raftEntry', ''))

/** Whether a disk holds the entry: as an entry, or inside its snapshot. `term` undefined: whatever its term. */
export function holds({ snapshot, entries }: Durable, index: number, term: number | undefined): boolean {
  if (snapshot.index >= index) return true
  const first = entries[0]
  const found = first === undefined ? undefined : entries[index - first.index]
  return found !== undefined && (term === undefined || found.term === term)
}

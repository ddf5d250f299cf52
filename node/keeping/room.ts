/**
 * Room for images on this peer: what the chunk store and kept copies of moved VMs take is held against a quota and against what
 * is free on the disk. Who brings something asks first, so that it is refused before, not in the middle:
 *
 *   want ─fits─▶ reserved ─release─▶ …
 *     └─short─▶ collect garbage ─▶ evict kept copies, the oldest first, if they can make up for it ─▶ collect ─▶ reserved, or QUOTA
 *
 * How much will come is an estimate; what came is measured. A reservation counts less by what the store has grown since, and
 * whoever brings more than was thought is stopped when the quota is full (`watch`). One `want` makes room at a time.
 */
import type { Failure } from '../../protocols/errors.ts'
import {
  COLLECT_LIVE_MAX,
  DISK_RESERVE_SHARE,
  FRAME_SHARE,
  PRUNE_BYTES_PER_SECOND,
} from '../../protocols/limits.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { ChunkStore } from '../../storage/images/chunk-store.ts'
import type { RoomView } from '../views.ts'
import type { Collecting } from './collecting.ts'
import type { KeptCopies } from './kept-copies.ts'

type Ports = {
  readonly chunks: Pick<ChunkStore, 'bytes'>
  /** Of the file system that the data folder lies on. */
  readonly disk: () => { readonly totalBytes: number; readonly freeBytes: number }
  /** Of bytes, or of the disk; undefined: the disk alone bounds it. */
  readonly quota: Quota | undefined
}
export type Quota = { readonly bytes: number } | { readonly share: number }
export type Reservation = { release(): void }
type Watch = Reservation & {
  /** Called as more comes. */
  look(): void
  /** Called as often as it is known; only the first amount counts. */
  expects(contentBytes: number): void
}

type Reserved = { readonly bytes: number; readonly storeBytes: number }

export class Room {
  readonly #ports: Ports
  readonly #kept: KeptCopies
  readonly #collecting: Collecting
  readonly #reserved = new Set<Reserved>()
  readonly #waiting: (() => void)[] = []
  #making = false

  constructor(ports: Ports, kept: KeptCopies, collecting: Collecting) {
    this.#ports = ports
    this.#kept = kept
    this.#collecting = collecting
  }

  view(): RoomView {
    const { freeBytes } = this.#ports.disk()
    return {
      usedBytes: this.#usedBytes(),
      keptBytes: this.#kept.bytes(),
      reservedBytes: this.#reservedBytes(),
      quotaBytes: this.#quotaBytes() ?? null,
      diskFreeBytes: freeBytes,
    }
  }

  /** `bytes` more are to come here for `what`. */
  want(what: string, bytes: number, done: Done<Reservation>): void {
    const make = (): void => {
      this.#making = true
      this.#make(what, bytes, (outcome) => {
        this.#making = false
        done(outcome)
        this.#waiting.shift()?.()
      })
    }
    if (this.#freeBytes() >= bytes) return done(ok(this.#reserve(bytes)))
    if (this.#making) this.#waiting.push(make)
    else make()
  }

  /**
   * Room for what is brought here while it is told how much content that is: `stop` is called, once, when there is none, before
   * or after all.
   */
  watch(what: string, stop: (failure: Failure) => void): Watch {
    let state: 'idle' | 'expecting' | 'over' = 'idle'
    let reservation: Reservation | undefined
    let content = 0
    const end = (failure: Failure): void => {
      if (state !== 'over') stop(failure)
      state = 'over'
    }
    const look = (): void => {
      const full = this.#over(what, content)
      if (full !== undefined) end(full)
    }
    return {
      look,
      expects: (contentBytes) => {
        content = contentBytes
        look()
        if (state !== 'idle') return
        state = 'expecting'
        this.want(what, contentBytes * FRAME_SHARE, (outcome) => {
          if (!outcome.ok) return end(outcome.failure)
          reservation = outcome.value
          if (state === 'over') reservation.release()
        })
      },
      release: () => {
        state = 'over'
        reservation?.release()
      },
    }
  }

  /** The quota is full, and more comes than was thought. */
  #over(what: string, contentBytes: number): Failure | undefined {
    const overBytes = this.#usedBytes() - (this.#quotaBytes() ?? Infinity)
    // It did not compress, then: it takes what it is.
    return overBytes > 0 ? this.#refusal(what, Math.max(contentBytes, overBytes)) : undefined
  }

  /** Whether it could come, were it to come now; nothing is reserved, and nothing goes. */
  fits(what: string, bytes: number, done: Done<void>): void {
    if (this.#freeBytes() >= bytes) return done(ok(undefined))
    this.#kept.spare((_, most) =>
      done(this.#freeBytes() + most >= bytes ? ok(undefined) : failed(this.#refusal(what, bytes))),
    )
  }

  #make(what: string, bytes: number, done: Done<Reservation>): void {
    const settle = (): void =>
      done(this.#freeBytes() >= bytes ? ok(this.#reserve(bytes)) : failed(this.#refusal(what, bytes)))
    this.#collect(() => {
      if (this.#freeBytes() >= bytes) return settle()
      this.#kept.spare((copies, most) => {
        // None goes for nothing.
        if (this.#freeBytes() + most < bytes) return settle()
        const next = (index: number): void => {
          const copy = copies[index]
          if (copy === undefined || this.#freeBytes() >= bytes) return settle()
          this.#kept.evict(copy, () => this.#collect(() => next(index + 1)))
        }
        next(0)
      })
    })
  }

  #collect(done: () => void): void {
    const terms = { liveMax: COLLECT_LIVE_MAX, bytesPerSecondMax: PRUNE_BYTES_PER_SECOND }
    this.#collecting.collect(terms, () => done())
  }

  #reserve(bytes: number): Reservation {
    const reserved = { bytes, storeBytes: this.#ports.chunks.bytes() }
    this.#reserved.add(reserved)
    return { release: () => void this.#reserved.delete(reserved) }
  }

  #usedBytes(): number {
    return this.#ports.chunks.bytes() + this.#kept.bytes()
  }

  /** What has not come yet of what is to come. */
  #reservedBytes(): number {
    const stored = this.#ports.chunks.bytes()
    let bytes = 0
    for (const each of this.#reserved)
      bytes += Math.max(0, each.bytes - Math.max(0, stored - each.storeBytes))
    return bytes
  }

  #quotaBytes(): number | undefined {
    const { disk, quota } = this.#ports
    if (quota === undefined) return undefined
    if ('bytes' in quota) return quota.bytes
    const { totalBytes } = disk()
    // A disk that says nothing of itself bounds nothing.
    return totalBytes === 0 ? undefined : Math.floor(totalBytes * quota.share)
  }

  #freeBytes(): number {
    const { disk, quota } = this.#left()
    return Math.min(disk, quota) - this.#reservedBytes()
  }

  /** Of the disk and of the quota. */
  #left(): { readonly disk: number; readonly quota: number } {
    const { totalBytes, freeBytes } = this.#ports.disk()
    return {
      disk: totalBytes === 0 ? Infinity : freeBytes - totalBytes * DISK_RESERVE_SHARE,
      quota: (this.#quotaBytes() ?? Infinity) - this.#usedBytes(),
    }
  }

  #refusal(what: string, bytes: number): Failure {
    const { disk, quota } = this.#left()
    return {
      code: 'QUOTA',
      what,
      neededBytes: Math.ceil(bytes),
      freeBytes: Math.max(0, Math.floor(this.#freeBytes())),
      usedBytes: this.#usedBytes(),
      quotaBytes: quota < disk ? (this.#quotaBytes() ?? null) : null,
    }
  }
}

/** `200GiB`, `80%`, `off`; undefined for what is none of these. */
export function parseQuota(text: string): Quota | 'off' | undefined {
  if (text === 'off') return 'off'
  const [, number = '', unit = ''] = /^(\d{1,12}(?:\.\d{1,3})?)(%|B|KiB|MiB|GiB|TiB)$/.exec(text) ?? []
  const value = Number(number)
  if (unit === '' || value <= 0) return undefined
  if (unit === '%') return value <= 100 ? { share: value / 100 } : undefined
  return { bytes: Math.floor(value * 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(unit)) }
}

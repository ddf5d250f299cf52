/**
 * What a peer does for its chunk store when nobody asks: it reads it all again, slowly, fetches what the disk has changed from
 * others, and drops what no manifest names any more.
 *
 *   resting ──HOUSEKEEPING_MS──▶ scrubbing a part ──▶ finding images of what was damaged ──▶ fetching them ──▶ resting
 *                                      └── all was read, and COLLECT_MS since the last time ──▶ collecting ──▶ resting
 *
 * Promises: one thing at a time; a part is SCRUB_BYTES, so this peer reads at most HOUSEKEEPING_BYTES_PER_SECOND; an image whose
 * damage nobody can make good is asked for again every REPAIR_RETRY_MS as long as this peer runs, and is damaged, not
 * gone, until then: whoever needs it fetches it too. Of an image whose manifest is damaged the manifest is fetched, and of its
 * chunks what was damaged. A chunk that no manifest names is not fetched.
 */
import type { ImageId } from '../protocols/ids.ts'
import {
  COLLECT_LIVE_MAX,
  COLLECT_MS,
  HOUSEKEEPING_BYTES_PER_SECOND,
  HOUSEKEEPING_MS,
  REPAIR_RETRY_MS,
  SCRUB_BYTES,
} from '../protocols/limits.ts'
import type { Clock } from '../protocols/clock.ts'
import { missingOf } from '../migration/swarm/missing.ts'
import { ChunkNames } from '../storage/images/chunk-names.ts'
import type { ChunkStore, ManifestStore } from '../storage/images/chunk-store.ts'
import { imagesWith } from '../storage/images/mark.ts'
import type { Journal } from '../storage/journal.ts'
import type { Counts } from './figures.ts'
import type { Collecting } from './keeping/collecting.ts'
import type { Pull } from './moving/around.ts'
import { Timers } from './timers.ts'

type Ports = {
  readonly clock: Clock
  readonly chunks: Pick<ChunkStore, 'has' | 'scrub'>
  readonly manifests: ManifestStore
  readonly journal: Pick<Journal, 'append'>
}

/** `bytes`: of an image of which chunks are damaged; undefined when its manifest is. */
type Broken = { readonly bytes: number | undefined; retryAtMs: number }

export class Housekeeping {
  readonly #ports: Ports
  readonly #collecting: Pick<Collecting, 'collect'>
  readonly #pull: Pull
  readonly #counts: Counts
  readonly #timers: Timers
  /** Images with chunks that the disk has changed: no more than there are manifests. */
  readonly #broken = new Map<ImageId, Broken>()
  /** Chunks found damaged in this life. */
  #damaged = 0
  #collectAtMs: number
  #failing = false
  #stopped = false

  constructor(ports: Ports, collecting: Pick<Collecting, 'collect'>, pull: Pull, counts: Counts) {
    this.#ports = ports
    this.#collecting = collecting
    this.#pull = pull
    this.#counts = counts
    this.#timers = new Timers(ports.clock)
    this.#collectAtMs = ports.clock.nowMs()
  }

  start(): void {
    this.#timers.after(HOUSEKEEPING_MS, () => this.#scrub())
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
  }

  #rest(): void {
    if (!this.#stopped) this.start()
  }

  #scrub(): void {
    const part = { bytesMax: SCRUB_BYTES, bytesPerSecondMax: HOUSEKEEPING_BYTES_PER_SECOND }
    this.#ports.chunks.scrub(part, (outcome) => {
      if (this.#stopped) return
      if (!outcome.ok) {
        // Once, not every minute while the disk is as it is.
        if (!this.#failing) this.#note('chunks', `reading the store again failed: ${outcome.failure.code}`)
        this.#failing = true
        return this.#rest()
      }
      this.#failing = false
      const { bytes, damaged, wrapped } = outcome.value
      this.#counts.grow('godwit_store_scrubbed_bytes_total', bytes)
      this.#counts.grow('godwit_store_damaged_chunks_total', damaged.length)
      this.#damaged += damaged.length
      const isDue = wrapped && this.#ports.clock.nowMs() >= this.#collectAtMs
      const then = (): void => (isDue ? this.#collect() : this.#rest())
      if (damaged.length === 0) return this.#repair(then)
      const chunks = new ChunkNames()
      for (const id of damaged) chunks.add(id)
      imagesWith(chunks, this.#ports.manifests, (found) => {
        if (this.#stopped) return
        const images = found.ok ? found.value : []
        this.#note('chunks', `the disk has changed ${damaged.length} chunks, of ${images.length} images`)
        for (const { image, bytes: size } of images) this.#broken.set(image, { bytes: size, retryAtMs: 0 })
        this.#repair(then)
      })
    })
  }

  /** One image after the other; what a download finds missing is what was forgotten. */
  #repair(then: () => void): void {
    const nowMs = this.#ports.clock.nowMs()
    for (const image of this.#ports.manifests.damaged()) {
      if (this.#broken.get(image)?.bytes === undefined && this.#broken.has(image)) continue
      this.#note(image, 'the disk has changed the manifest of this image')
      this.#broken.set(image, { bytes: undefined, retryAtMs: 0 })
    }
    const due = [...this.#broken].find(([, { retryAtMs }]) => retryAtMs <= nowMs)
    if (due === undefined) return then()
    const [image, broken] = due
    if (broken.bytes === undefined) return this.#fetchManifest(image, broken, () => this.#repair(then))
    this.#isInPart(image, (inPart) => {
      if (this.#stopped) return
      if (!inPart) return this.#fetch(image, broken, () => this.#repair(then))
      this.#broken.delete(image)
      this.#repair(then)
    })
  }

  /** More of it is missing than was ever damaged: it never was whole here, and is not fetched because a part was lost. */
  #isInPart(image: ImageId, done: (inPart: boolean) => void): void {
    const { chunks, manifests } = this.#ports
    manifests.get(image, (manifest) => {
      if (!manifest.ok) return done(true)
      missingOf(manifest.value, chunks, (missing) => done(missing.ok && missing.value.count > this.#damaged))
    })
  }

  #fetch(image: ImageId, broken: Broken, then: () => void): void {
    this.#pull(
      [{ image, bytes: broken.bytes ?? 0 }],
      [],
      () => {},
      (outcome) => {
        if (this.#stopped) return
        if (outcome.ok) this.#broken.delete(image)
        else broken.retryAtMs = this.#ports.clock.nowMs() + REPAIR_RETRY_MS
        const how = outcome.ok
          ? `was made whole with ${outcome.value.dedupBytes} bytes from ${outcome.value.sources} peers`
          : `stays damaged: ${outcome.failure.code}`
        this.#note(image, `the image ${how}`)
        then()
      },
    )
  }

  #fetchManifest(image: ImageId, broken: Broken, then: () => void): void {
    this.#pull(
      [{ image, bytes: 0, only: 'manifest' }],
      [],
      () => {},
      (outcome) => {
        if (this.#stopped) return
        // Chunks of it may have been found damaged meanwhile, when nobody could say whose they were.
        if (outcome.ok) this.#broken.set(image, { bytes: 0, retryAtMs: 0 })
        else broken.retryAtMs = this.#ports.clock.nowMs() + REPAIR_RETRY_MS
        const how = outcome.ok
          ? `was fetched again, ${outcome.value.wireBytes} bytes`
          : `stays damaged: ${outcome.failure.code}`
        this.#note(image, `the manifest of this image ${how}`)
        then()
      },
    )
  }

  #collect(): void {
    this.#collectAtMs = this.#ports.clock.nowMs() + COLLECT_MS
    this.#collecting.collect(
      {
        liveMax: COLLECT_LIVE_MAX,
        bytesPerSecondMax: HOUSEKEEPING_BYTES_PER_SECOND,
        renew: true,
        yields: true,
      },
      (outcome) => {
        if (this.#stopped) return
        if (outcome.ok) {
          const { bytes, chunks: gone } = outcome.value
          this.#counts.grow('godwit_store_collected_bytes_total', bytes)
          if (gone > 0)
            this.#note('chunks', `${gone} chunks that no image names were dropped: ${bytes} bytes`)
        } else if (outcome.failure.code === 'CANCELLED') this.#collectAtMs = this.#ports.clock.nowMs()
        else this.#note('chunks', `collecting garbage failed: ${outcome.failure.code}`)
        this.#rest()
      },
    )
  }

  #note(subject: string, text: string): void {
    this.#ports.journal.append({ atMs: this.#ports.clock.wallMs(), kind: 'store', subject, text })
  }
}

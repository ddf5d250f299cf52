/**
 * Collections of garbage, one at a time, whoever asks for them: the store takes no second one while one runs. The daily one takes
 * hours, and gives way to one that somebody waits for.
 */
import type { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { ChunkStore, Collected, ManifestStore } from '../../storage/images/chunk-store.ts'
import { markAll } from '../../storage/images/mark.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { ImageId } from '../../protocols/ids.ts'

type Terms = {
  readonly liveMax: number
  readonly bytesPerSecondMax: number
  /** As of a Collection. */
  readonly renew?: boolean
  /** Ends with CANCELLED when another is asked for. */
  readonly yields?: boolean
  /** Counts what would go without these images, and drops nothing. */
  readonly dryRunWithout?: ReadonlySet<ImageId>
}

export class Collecting {
  readonly #chunks: Pick<ChunkStore, 'collect'>
  readonly #manifests: ManifestStore
  readonly #waiting: (() => void)[] = []
  #running = false

  constructor(chunks: Pick<ChunkStore, 'collect'>, manifests: ManifestStore) {
    this.#chunks = chunks
    this.#manifests = manifests
  }

  /** Drops what no manifest names, once those before have ended. */
  collect({ dryRunWithout, yields = false, ...rest }: Terms, done: Done<Collected>): void {
    const run = (): void => {
      this.#running = true
      const mark = (marked: Done<ChunkNames>): void => markAll(this.#manifests, marked, dryRunWithout)
      const isCancelled = (): boolean => yields && this.#waiting.length > 0
      const terms = { mark, ...rest, isCancelled, dryRun: dryRunWithout !== undefined }
      this.#chunks.collect(terms, (outcome) => {
        this.#running = false
        done(outcome)
        if (!this.#running) this.#waiting.shift()?.()
      })
    }
    if (this.#running) this.#waiting.push(run)
    else run()
  }
}

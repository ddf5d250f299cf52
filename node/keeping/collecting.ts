/** Collections of garbage, one at a time, whoever asks for them: the store takes no second one while one runs. */
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
  collect({ dryRunWithout, ...rest }: Terms, done: Done<Collected>): void {
    const run = (): void => {
      this.#running = true
      const mark = (marked: Done<ChunkNames>): void => markAll(this.#manifests, marked, dryRunWithout)
      const terms = { mark, ...rest, dryRun: dryRunWithout !== undefined }
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

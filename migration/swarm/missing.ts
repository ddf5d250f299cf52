/** Which chunks of an image are not held: each content once, by the first index that has it; zeros never. */
import { failureOf } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import { isSet, set } from '../../protocols/swarm/have-map.ts'
import type { ChunkStore } from '../../storage/images/chunk-store.ts'
import { chunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'
import { Distinct } from './distinct.ts'

/** Ids asked of the store at once. */
const ASK_IDS = 4_096

/** A bit for each chunk of the image: a list would take 64 times that of a terabyte that is not here at all. */
export class Missing {
  readonly #bits: Uint8Array
  count = 0

  constructor(chunks: number) {
    this.#bits = new Uint8Array(Math.ceil(chunks / 8))
  }

  add(index: number): void {
    set(this.#bits, index)
    this.count++
  }

  /** In order. */
  *[Symbol.iterator](): Generator<number> {
    for (const [byte, bits] of this.#bits.entries()) {
      if (bits === 0) continue
      for (let index = byte * 8; index < byte * 8 + 8; index++) if (isSet(this.#bits, index)) yield index
    }
  }
}

/** DATA_CORRUPT when the disk has changed the manifest. */
export function missingOf(manifest: Manifest, chunks: Pick<ChunkStore, 'has'>, done: Done<Missing>): void {
  const count = chunkCount(manifest)
  const missing = new Missing(count)
  const seen = new Distinct((index) => chunkAt(manifest, index))
  const ask = (from: number): void => {
    const indexes: number[] = []
    const ids: ChunkId[] = []
    let at = from
    const took = guarded(done, () => {
      for (; at < count && ids.length < ASK_IDS; at++) {
        const id = chunkAt(manifest, at)
        if (id === undefined) continue
        indexes.push(at)
        ids.push(id)
      }
    })
    if (!took) return
    chunks.has(ids, (outcome) => {
      if (!outcome.ok) return done(outcome)
      const noted = guarded(done, () => {
        for (const [i, index] of indexes.entries())
          if (outcome.value[i] === false && seen.add(index, ids[i] as ChunkId)) missing.add(index)
      })
      if (!noted) return
      if (at < count) ask(at)
      else done(ok(missing))
    })
  }
  ask(0)
}

function guarded(done: Done<never>, run: () => void): boolean {
  try {
    run()
    return true
  } catch (error) {
    done(failed(failureOf(error)))
    return false
  }
}

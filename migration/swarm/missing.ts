/** Which chunks of an image are not held: each content once, by the first index that has it; zeros never. */
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, ok } from '../../protocols/outcome.ts'
import type { ChunkStore } from '../../storage/images/chunk-store.ts'
import { chunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'

/** Ids asked of the store at once. */
const ASK_IDS = 4_096

export function missingOf(manifest: Manifest, chunks: Pick<ChunkStore, 'has'>, done: Done<number[]>): void {
  const count = chunkCount(manifest)
  const seen = new Set<ChunkId>()
  const missing: number[] = []
  const ask = (from: number): void => {
    const indexes: number[] = []
    const ids: ChunkId[] = []
    let at = from
    for (; at < count && ids.length < ASK_IDS; at++) {
      const id = chunkAt(manifest, at)
      if (id === undefined || seen.has(id)) continue
      seen.add(id)
      indexes.push(at)
      ids.push(id)
    }
    chunks.has(ids, (outcome) => {
      if (!outcome.ok) return done(outcome)
      outcome.value.forEach((held, i) => {
        if (!held) missing.push(indexes[i] as number)
      })
      if (at < count) ask(at)
      else done(ok(missing))
    })
  }
  ask(0)
}

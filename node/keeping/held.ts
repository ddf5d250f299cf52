/** What of an image this peer's store holds: each content once. */
import { failureOf } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { ChunkStore } from '../../storage/images/chunk-store.ts'
import { chunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'

export type Held = {
  /** Contents that are not held. */
  readonly missing: number
  /** Of the frames of those that are. */
  readonly bytes: number
}

/** Ids asked of the store at once. */
const ASK_IDS = 4_096

/** DATA_CORRUPT when the disk has changed the manifest. */
export function heldOf(manifest: Manifest, chunks: Pick<ChunkStore, 'sizes'>, done: Done<Held>): void {
  const seen = new ChunkNames()
  const count = chunkCount(manifest)
  let [missing, bytes] = [0, 0]
  const ask = (from: number): void => {
    let batch: { readonly ids: ChunkId[]; readonly next: number }
    try {
      batch = batchOf(manifest, from, seen)
    } catch (error) {
      return done(failed(failureOf(error)))
    }
    chunks.sizes(batch.ids, (outcome) => {
      if (!outcome.ok) return done(outcome)
      for (const each of outcome.value) {
        if (each === 0) missing++
        bytes += each
      }
      if (batch.next < count) ask(batch.next)
      else done(ok({ missing, bytes }))
    })
  }
  ask(0)
}

function batchOf(manifest: Manifest, from: number, seen: ChunkNames): { ids: ChunkId[]; next: number } {
  const ids: ChunkId[] = []
  let next = from
  for (; next < chunkCount(manifest) && ids.length < ASK_IDS; next++) {
    const id = chunkAt(manifest, next)
    if (id === undefined || seen.has(id)) continue
    seen.add(id)
    ids.push(id)
  }
  return { ids, next }
}

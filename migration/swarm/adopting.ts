/**
 * Missing chunks that lie in the base of a disk on this host are put into the store from there, instead of over a wire. The store
 * then has its own: the base goes when its last disk does.
 */
import { failureOf } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { Bases } from '../../storage/images/bases.ts'
import type { ChunkStore } from '../../storage/images/chunk-store.ts'
import { chunkAt, chunkCount, chunkLength, type Manifest } from '../../storage/images/manifest.ts'
import { Missing } from './missing.ts'

type Stores = {
  readonly chunks: Pick<ChunkStore, 'write'>
  readonly bases: Bases
  /** Nobody waits for it any more. */
  readonly isStopped: () => boolean
}
type Found = { readonly index: number; readonly id: ChunkId }

/** Ids asked of bases at once. */
const ASK_IDS = 4_096
/** Chunks read, packed and written at once. */
const AT_ONCE = 4

/** What is still missing then. DISK_FULL and what else the store fails with; a base that fails only leaves its chunks missing. */
export function adopt(manifest: Manifest, missing: Missing, stores: Stores, done: Done<Missing>): void {
  const rest = new Missing(chunkCount(manifest))
  const indexes = missing[Symbol.iterator]()
  const next = (): void => {
    const batch: Found[] = []
    try {
      for (let each = indexes.next(); each.done !== true; each = indexes.next()) {
        batch.push({ index: each.value, id: chunkAt(manifest, each.value) as ChunkId })
        if (batch.length === ASK_IDS) break
      }
    } catch (error) {
      return done(failed(failureOf(error)))
    }
    if (batch.length === 0) return done(ok(rest))
    const ids = batch.map(({ id }) => id)
    stores.bases.find(ids, (found) => {
      const there: Found[] = []
      for (const [at, each] of batch.entries())
        if (found.ok && (found.value[at] ?? 0) > 0) there.push(each)
        else rest.add(each.index)
      take(manifest, there, stores, rest, (outcome) => (outcome.ok ? next() : done(outcome)))
    })
  }
  next()
}

function take(
  manifest: Manifest,
  found: Found[],
  { bases, chunks, isStopped }: Stores,
  rest: Missing,
  done: Done<void>,
): void {
  let working = Math.min(AT_ONCE, found.length)
  let failure: Parameters<typeof failed>[0] | undefined
  const end = (): void => {
    if (--working > 0) return
    done(failure === undefined ? ok(undefined) : failed(failure))
  }
  const work = (): void => {
    if (isStopped()) failure = { code: 'CANCELLED', what: 'taking over what a base holds' }
    const next = failure === undefined ? found.pop() : undefined
    if (next === undefined) return end()
    bases.read(next.id, (frame) => {
      if (!frame.ok) {
        rest.add(next.index)
        return work()
      }
      chunks.write(next.id, frame.value, chunkLength(manifest, next.index), (written) => {
        if (!written.ok && written.failure.code !== 'CHUNK_CORRUPT') failure = written.failure
        else if (!written.ok) rest.add(next.index)
        work()
      })
    })
  }
  if (working === 0) return done(ok(undefined))
  for (let begun = working; begun > 0; begun--) work()
}

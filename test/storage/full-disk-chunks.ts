/**
 * Run by full-disk.test.ts in a mount namespace, with a small file system of its own as its argument: fills it through
 * the chunk store, makes room, and prints what the store answered and what it holds in the next life.
 */
import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ChunkId } from '../../protocols/ids.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { openChunkStore, type FileChunkStore } from '../../storage/files/chunk-store.ts'
import { pack } from '../../storage/images/chunk-content.ts'
import { outcomeOf, realUntil } from '../contracts/until.ts'

const [, , folder = ''] = process.argv
const CHUNK_BYTES = 256 * 1024

async function opened(): Promise<FileChunkStore> {
  const outcome = await openChunkStore(join(folder, 'chunks'))
  assert(outcome.ok, JSON.stringify(outcome))
  return outcome.value
}

/** Writes a new chunk; its id when it was taken, else the failure's code. */
async function write(store: FileChunkStore): Promise<{ id: ChunkId; failure: string | undefined }> {
  const content = randomBytes(CHUNK_BYTES)
  const id = hash('sha256', content)
  const outcome = await outcomeOf<void>(realUntil, (done) =>
    store.write(id, pack(content), CHUNK_BYTES, done),
  )
  return { id, failure: outcome.ok ? undefined : outcome.failure.code }
}

async function readable(store: FileChunkStore, ids: readonly ChunkId[]): Promise<number> {
  let count = 0
  for (const id of ids) {
    const outcome: Outcome<Uint8Array> = await outcomeOf(realUntil, (done) => store.read(id, done))
    if (outcome.ok) count++
  }
  return count
}

const ballast = join(folder, 'ballast')
await writeFile(ballast, randomBytes(16 * 1024 * 1024))
const store = await opened()
const held: ChunkId[] = []
const refused: string[] = []
while (refused.length < 6) {
  const written = await Promise.all([write(store), write(store), write(store)])
  for (const { id, failure } of written) {
    if (failure === undefined) held.push(id)
    else refused.push(failure)
  }
}
const { size } = await stat(join(folder, 'chunks/segments/00000001.segment'))
const readWhenFull = (await readable(store, held)) === held.length
await outcomeOf<void>(realUntil, (done) => store.sync(done))
await rm(ballast)
const after = await write(store)
const synced = await outcomeOf<void>(realUntil, (done) => store.sync(done))
const ids = [...held, after.id]
await store.close()
const next = await opened()
const readLater = (await readable(next, ids)) === ids.length
await next.close()
console.log(
  JSON.stringify({
    refused: [...new Set(refused)],
    some: held.length > 4,
    // 52 bytes of header and a frame of random bytes each: nothing of the refused ones is left.
    whole: size < held.length * (CHUNK_BYTES + 600) && size >= held.length * CHUNK_BYTES,
    readWhenFull,
    after: after.failure ?? 'ok',
    synced: synced.ok,
    readLater,
  }),
)

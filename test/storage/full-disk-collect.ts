/**
 * Run by full-disk.test.ts in a mount namespace: fills a small file system through the chunk store, then collects what half
 * of it was, without making room first; prints what came of it.
 */
import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, ok, type Outcome } from '../../protocols/outcome.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { frameKeyOf, frameKeys } from '../../storage/files/frame-keys.ts'
import { pack } from '../../storage/images/chunk-content.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { Collected } from '../../storage/images/chunk-store.ts'

const [, , folder = ''] = process.argv
const CHUNK_BYTES = 256 * 1024

const keys = frameKeys([frameKeyOf(Buffer.alloc(32, 1))])
const opened = await openChunkStore(join(folder, 'chunks'), { segmentBytesMax: 2 * 1024 * 1024, keys })
assert(opened.ok, JSON.stringify(opened))
const store = opened.value
const asked = <T>(call: (done: Done<T>) => void): Promise<Outcome<T>> =>
  new Promise((resolve) => call(resolve))

async function write(): Promise<{ id: ChunkId; failure: string | undefined }> {
  const content = randomBytes(CHUNK_BYTES)
  const id = hash('sha256', content)
  const outcome = await asked<void>((done) => store.write(id, pack(content), CHUNK_BYTES, done))
  return { id, failure: outcome.ok ? undefined : outcome.failure.code }
}

const held: ChunkId[] = []
let failure: string | undefined
while (failure === undefined) {
  const written = await write()
  failure = written.failure
  if (failure === undefined) held.push(written.id)
}

const kept = held.slice(0, held.length / 2)
const collect = (dryRun: boolean): Promise<Outcome<Collected>> => {
  const marked = new ChunkNames()
  for (const id of kept) marked.add(id)
  const mark = (done: Done<ChunkNames>): void => done(ok(marked))
  return asked((done) => store.collect({ mark, liveMax: 1, bytesPerSecondMax: 1e9, dryRun }, done))
}
const counted = await collect(true)
const collected = await collect(false)
const after = await asked<boolean[]>((done) => store.has(held, done))
const again = await write()
await store.close()

process.stdout.write(
  JSON.stringify({
    failure,
    counted: counted.ok ? counted.value.chunks === held.length - kept.length : counted.failure.code,
    collected: collected.ok ? collected.value.chunks === held.length - kept.length : collected.failure.code,
    kept: after.ok && kept.every((_, at) => after.value[at] === true),
    gone: after.ok && after.value.filter(Boolean).length === kept.length,
    again: again.failure ?? 'ok',
  }),
)

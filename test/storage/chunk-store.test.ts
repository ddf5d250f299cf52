import { fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, open, readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { ChunkId } from '../../protocols/ids.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { openChunkStore, type FileChunkStore } from '../../storage/files/chunk-store.ts'
import { openManifestStore } from '../../storage/files/manifest-store.ts'
import { contract, type Opened } from '../contracts/chunk-store.ts'
import { chunk } from '../contracts/chunk.ts'
import { outcomeOf, realUntil } from '../contracts/until.ts'
import { folderOf } from './folder.ts'

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}

async function opened(
  t: ExecutionContext,
  folder: string,
  segmentBytesMax = 10_000,
): Promise<FileChunkStore> {
  const store = valueOf(await openChunkStore(folder, { segmentBytesMax }))
  t.teardown(() => store.close())
  return store
}

const segmentsOf = async (folder: string): Promise<string[]> =>
  (await readdir(join(folder, 'segments'))).sort().map((name) => join(folder, 'segments', name))

/** Flips a bit in the middle of the frame of a chunk, wherever it lies. */
async function damage(folder: string, id: ChunkId): Promise<void> {
  for (const path of await segmentsOf(folder)) {
    const at = (await readFile(path)).indexOf(Buffer.from(id, 'hex'))
    if (at === -1) continue
    const file = await open(path, 'r+')
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, at + 50)
    await file.write(Buffer.from([byte.readUInt8() ^ 4]), 0, 1, at + 50)
    await file.close()
  }
}

async function lives(t: ExecutionContext, folder: string): Promise<Opened> {
  const chunks = await opened(t, folder)
  return {
    chunks,
    manifests: valueOf(await openManifestStore(join(folder, 'manifests'))),
    until: realUntil,
    damage: (id) => damage(folder, id),
    reopen: async () => {
      await chunks.close()
      return lives(t, folder)
    },
  }
}

contract('the chunk store in files', async (t) => lives(t, await folderOf(t)))

const write = (store: FileChunkStore, n: number): Promise<Outcome<void>> =>
  outcomeOf(realUntil, (done) => store.write(chunk(n).id, chunk(n).frame, 4096, done))
const held = async (store: FileChunkStore, count: number): Promise<boolean[]> => {
  const ids = Array.from({ length: count }, (_, n) => chunk(n).id)
  return valueOf(await outcomeOf<boolean[]>(realUntil, (done) => store.has(ids, done)))
}
const sync = (store: FileChunkStore): Promise<Outcome<void>> =>
  outcomeOf(realUntil, (done) => store.sync(done))
const all = (count: number): boolean[] => Array.from({ length: count }, () => true)

test('a lost index is made anew from the segments', async (t) => {
  const folder = await folderOf(t)
  const store = await opened(t, folder, 1000)
  for (let n = 0; n < 40; n++) await write(store, n)
  await store.close()
  t.true((await segmentsOf(folder)).length > 3, 'there are several segments')
  await rm(join(folder, 'index'), { recursive: true })
  const next = await opened(t, folder)
  t.deepEqual(await held(next, 40), all(40))
  t.deepEqual(await write(next, 40), { ok: true, value: undefined })
})

/** What may stand at the end of the last segment after a crash; `at` is where the last whole frame ends. */
const tails: [what: string, spoil: (path: string, at: number) => Promise<void>][] = [
  ['half a header', (path, at) => append(path, Buffer.alloc(20, 'GWCF'), at)],
  ['zeros', (path, at) => append(path, Buffer.alloc(5000), at)],
  [
    'a header without its frame',
    async (path, at) => append(path, (await readFile(path)).subarray(0, 60), at),
  ],
  [
    'a frame of zeros',
    async (path, at) =>
      append(path, Buffer.concat([(await readFile(path)).subarray(0, 52), Buffer.alloc(4000)]), at),
  ],
]

async function append(path: string, bytes: Uint8Array, at: number): Promise<void> {
  const file = await open(path, 'r+')
  await file.write(bytes, 0, bytes.length, at)
  await file.close()
}

for (const [what, spoil] of tails) {
  test(`a torn tail is cut off: ${what}`, async (t) => {
    const folder = await folderOf(t)
    const store = await opened(t, folder, 1_000_000)
    for (let n = 0; n < 3; n++) await write(store, n)
    await store.close()
    const [path = ''] = await segmentsOf(folder)
    const { size } = await stat(path)
    await spoil(path, size)
    const next = await opened(t, folder, 1_000_000)
    t.is((await stat(path)).size, size)
    await write(next, 3)
    await next.close()
    await rm(join(folder, 'index'), { recursive: true })
    t.deepEqual(await held(await opened(t, folder), 4), all(4))
  })
}

test('a segment shorter than the index says costs its last frames and nothing else', async (t) => {
  const folder = await folderOf(t)
  const store = await opened(t, folder, 1_000_000)
  for (let n = 0; n < 4; n++) await write(store, n)
  await sync(store)
  await store.close()
  const [path = ''] = await segmentsOf(folder)
  await truncate(path, (await stat(path)).size - 10)
  const next = await opened(t, folder, 1_000_000)
  const outcome = await outcomeOf<Uint8Array>(realUntil, (done) => next.read(chunk(3).id, done))
  t.like(outcome, { ok: false, failure: { code: 'CHUNK_CORRUPT' } })
  for (const n of [3, 4]) t.true((await write(next, n)).ok)
  await next.close()
  t.deepEqual(await held(await opened(t, folder), 5), all(5))
})

test('a damaged frame costs that frame alone when the index is lost too', async (t) => {
  const folder = await folderOf(t)
  const store = await opened(t, folder, 1_000_000)
  for (let n = 0; n < 4; n++) await write(store, n)
  await store.close()
  await damage(folder, chunk(1).id)
  await rm(join(folder, 'index'), { recursive: true })
  t.deepEqual(await held(await opened(t, folder), 4), [true, false, true, true])
})

test('a folder is opened by one process at a time', async (t) => {
  const folder = await folderOf(t)
  await opened(t, folder)
  t.like(await openChunkStore(folder), { ok: false, failure: { code: 'DATA_LOCKED' } })
})

test('after kill -9 nothing that was acknowledged is lost', async (t) => {
  const folder = await folderOf(t)
  let from = 0
  for (const most of [40, 300, 5]) {
    const child = fork(join(import.meta.dirname, 'write-chunks.ts'), [folder, String(from)])
    let acknowledged = from
    child.on('message', (n) => {
      acknowledged = Number(n) + 1
      if (acknowledged >= from + most) child.kill('SIGKILL')
    })
    await once(child, 'exit', { signal: AbortSignal.timeout(30_000) })
    t.is(child.signalCode, 'SIGKILL')
    const store = await opened(t, folder)
    t.deepEqual(await held(store, acknowledged), all(acknowledged))
    for (let n = from; n < acknowledged; n += 7) {
      const outcome = await outcomeOf<Uint8Array>(realUntil, (done) => store.read(chunk(n).id, done))
      t.true(outcome.ok)
    }
    await store.close()
    from = acknowledged
  }
})

test('version 1 of a segment is still read', async (t) => {
  const folder = await folderOf(t)
  await mkdir(join(folder, 'segments'), { recursive: true })
  await copyFile(
    join(import.meta.dirname, '../fixtures/stores/v1.segment'),
    join(folder, 'segments', '00000001.segment'),
  )
  const store = await opened(t, folder)
  t.deepEqual(await held(store, 3), all(3))
  for (let n = 0; n < 3; n++) {
    const outcome = await outcomeOf<Uint8Array>(realUntil, (done) => store.read(chunk(n).id, done))
    t.true(outcome.ok)
  }
})

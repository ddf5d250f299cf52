/** A chunk store that is encrypted, in part or anew: what it keeps, what it refuses, and what lies on its disk. */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fc, testProp } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import { type Done, ok, type Outcome } from '../../protocols/outcome.ts'
import { openChunkStore, type FileChunkStore } from '../../storage/files/chunk-store.ts'
import {
  type FrameKeys,
  frameKeyOf,
  frameKeys,
  keyName,
  openFrame,
  readFrameKeys,
  sealFrame,
} from '../../storage/files/frame-keys.ts'
import { openManifestStore } from '../../storage/files/manifest-store.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { Collected } from '../../storage/images/chunk-store.ts'
import { openDatabase } from '../../storage/level/database.ts'
import { contract, type Opened } from '../contracts/chunk-store.ts'
import { chunk } from '../contracts/chunk.ts'
import { realUntil } from '../contracts/until.ts'
import { folderOf } from './folder.ts'

const one = frameKeyOf(Buffer.alloc(32, 1))
const two = frameKeyOf(Buffer.alloc(32, 2))
const ONE = frameKeys([one])

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}
const asked = async <T>(call: (done: Done<T>) => void): Promise<T> =>
  valueOf(await new Promise<Outcome<T>>((resolve) => call(resolve)))

async function opened(
  t: ExecutionContext,
  folder: string,
  keys: FrameKeys,
  segmentBytesMax = 3_000,
): Promise<FileChunkStore> {
  const store = valueOf(await openChunkStore(folder, { segmentBytesMax, keys }))
  t.teardown(() => store.close())
  return store
}

const write = (store: FileChunkStore, n: number): Promise<void> =>
  asked<void>((done) => store.write(chunk(n).id, chunk(n).frame, 4096, done))

/** All of the chunks come back as they went in. */
async function reads(t: ExecutionContext, store: FileChunkStore, from: number, until: number): Promise<void> {
  for (let n = from; n < until; n++) {
    const frame = await asked<Uint8Array>((done) => store.read(chunk(n).id, done))
    t.true(Buffer.from(frame).equals(chunk(n).frame), `chunk ${n}`)
  }
}

const segmentsOf = async (folder: string): Promise<string[]> =>
  (await readdir(join(folder, 'segments'))).sort().map((name) => join(folder, 'segments', name))

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  await file.write(Buffer.from([byte.readUInt8() ^ 4]), 0, 1, at)
  await file.close()
}

async function lives(t: ExecutionContext, folder: string): Promise<Opened> {
  const chunks = await opened(t, folder, ONE, 10_000)
  return {
    chunks,
    manifests: valueOf(await openManifestStore(join(folder, 'manifests'))),
    until: realUntil,
    damage: async (id) => {
      for (const path of await segmentsOf(folder)) {
        const at = (await readFile(path)).indexOf(Buffer.from(id, 'hex'))
        if (at !== -1) await flip(path, at + 50)
      }
    },
    reopen: async () => {
      await chunks.close()
      return lives(t, folder)
    },
  }
}

contract('an encrypted chunk store', async (t) => lives(t, await folderOf(t)))

test('no frame lies on the disk as it is, and none twice alike', async (t) => {
  const folder = await folderOf(t)
  for (const name of ['a', 'b']) {
    const store = await opened(t, join(folder, name), ONE)
    for (let n = 0; n < 5; n++) await write(store, n)
    await store.close()
  }
  const [a, b] = await Promise.all(
    ['a', 'b'].map(async (name) => readFile((await segmentsOf(join(folder, name)))[0] as string)),
  )
  for (let n = 0; n < 5; n++) t.is(a?.indexOf(chunk(n).frame.subarray(0, 16)), -1)
  t.is(a?.length, b?.length)
  t.false(a?.equals(b as Buffer))
})

test('a key that is not given, or another, ends the start with what is needed', async (t) => {
  const folder = await folderOf(t)
  const store = await opened(t, folder, ONE)
  for (let n = 0; n < 5; n++) await write(store, n)
  await store.close()
  const wanted = keyName(one.id)
  const refused = (keys: FrameKeys | undefined): Promise<unknown> =>
    openChunkStore(folder, keys === undefined ? {} : { keys })
  t.like(await refused(undefined), { ok: false, failure: { code: 'STORE_KEY', wanted, given: [] } })
  t.like(await refused(frameKeys([two])), {
    ok: false,
    failure: { code: 'STORE_KEY', wanted, given: [keyName(two.id)] },
  })
  await reads(t, await opened(t, folder, frameKeys([two, one])), 0, 5)
})

test('a bit of a segment’s beginning that the disk has changed is damage, not another key', async (t) => {
  const folder = await folderOf(t)
  const store = await opened(t, folder, ONE, 1_000_000)
  for (let n = 0; n < 3; n++) await write(store, n)
  await store.close()
  const [path = ''] = await segmentsOf(folder)
  await flip(path, 6)
  const next = await opened(t, folder, ONE, 1_000_000)
  await reads(t, next, 1, 3)
  const outcome = await new Promise((resolve) => next.read(chunk(0).id, resolve))
  t.like(outcome, { ok: false, failure: { code: 'CHUNK_CORRUPT' } })
})

test('versions that know of no encryption do not open an encrypted store, others they do', async (t) => {
  const folder = await folderOf(t)
  const asBefore = (name: string): Promise<Outcome<unknown>> =>
    openDatabase<Uint8Array>(join(folder, name, 'index'), {
      keyEncoding: 'view',
      versionKey: Buffer.from('format'),
      version: 1,
    })
  await (await opened(t, join(folder, 'plain'), frameKeys([]))).close()
  await (await opened(t, join(folder, 'encrypted'), ONE)).close()
  t.like(await asBefore('encrypted'), { ok: false, failure: { code: 'DATA_NEWER' } })
  const plain = await asBefore('plain')
  t.true(plain.ok)
  if (plain.ok) await (plain.value as { close(): Promise<void> }).close()
})

test('version 2 of a segment is still read', async (t) => {
  const folder = await folderOf(t)
  await mkdir(join(folder, 'segments'), { recursive: true })
  const fixture = join(import.meta.dirname, '../fixtures/stores/v2.segment')
  await copyFile(fixture, join(folder, 'segments', '00000001.segment'))
  await reads(t, await opened(t, folder, ONE), 0, 3)
})

const sets: readonly FrameKeys[] = [
  frameKeys([one, two]),
  frameKeys([two, one]),
  frameKeys([one, two], false),
]

testProp(
  'written under one key, another and none, cut short in between, all of it is read; a collection renews what is not as it is to be',
  [
    fc.array(fc.record({ keys: fc.constantFrom(0, 1, 2), count: fc.integer({ min: 0, max: 9 }) }), {
      maxLength: 5,
    }),
  ],
  async (t, lifetimes) => {
    const folder = await folderOf(t)
    let until = 0
    for (const { keys, count } of lifetimes) {
      const store = await opened(t, folder, sets[keys] as FrameKeys)
      for (let n = until; n < until + count; n++) await write(store, n)
      until += count
      await reads(t, store, 0, until)
      await store.close()
      if (count % 2 === 1) await rm(join(folder, 'index'), { recursive: true })
    }
    const store = await opened(t, folder, sets[0] as FrameKeys)
    const marked = new ChunkNames()
    for (let n = 0; n < until; n++) marked.add(chunk(n).id)
    const collection = {
      mark: (done: Done<ChunkNames>) => done(ok(marked)),
      liveMax: 0.1,
      bytesPerSecondMax: 1e9,
    }
    await asked<Collected>((done) => store.collect({ ...collection, renew: true }, done))
    await store.close()
    // Now the first key alone will do.
    t.pass()
    await reads(t, await opened(t, folder, ONE), 0, until)
  },
  { numRuns: 15 },
)

test('after kill -9 nothing that was acknowledged is lost of an encrypted store', async (t) => {
  const folder = await folderOf(t)
  const words = [folder, '0', '01'.repeat(32)]
  const child = fork(join(import.meta.dirname, 'write-chunks.ts'), words)
  let acknowledged = 0
  child.on('message', (n) => {
    acknowledged = Number(n) + 1
    if (acknowledged >= 150) child.kill('SIGKILL')
  })
  await once(child, 'exit', { signal: AbortSignal.timeout(30_000) })
  t.is(child.signalCode, 'SIGKILL')
  await reads(t, await opened(t, folder, ONE), 0, acknowledged)
})

test('a sealed frame opens under its key and about what it was sealed, or not at all', (t) => {
  const about = Buffer.from('a header')
  const frame = randomBytes(500)
  const sealed = Buffer.concat(sealFrame(one, about, frame))
  t.true(frame.equals(openFrame(one, about, sealed) as Uint8Array))
  t.is(openFrame(two, about, sealed), undefined)
  t.is(openFrame(one, Buffer.from('another'), sealed), undefined)
  for (const at of [0, 11, 12, 300, sealed.length - 1]) {
    const bad = Buffer.from(sealed)
    bad[at] = (bad[at] as number) ^ 1
    t.is(openFrame(one, about, bad), undefined, `byte ${at}`)
  }
  for (const length of [0, 12, 27, 28, sealed.length - 1])
    t.is(openFrame(one, about, sealed.subarray(0, length)), undefined, `${length} bytes`)
  t.true(
    Buffer.from(openFrame(one, about, Buffer.concat(sealFrame(one, about, new Uint8Array()))) ?? [1]).equals(
      Buffer.alloc(0),
    ),
  )
})

test('key files: 32 bytes or 64 hex digits that nobody else may read', async (t) => {
  const folder = await folderOf(t)
  const file = async (name: string, content: string | Uint8Array, mode = 0o600): Promise<string> => {
    const path = join(folder, name)
    await writeFile(path, content)
    await chmod(path, mode)
    return path
  }
  const raw = await file('raw', Buffer.alloc(32, 1))
  const hex = await file('hex', `${'02'.repeat(32)}\n`)
  const read = valueOf(await readFrameKeys([raw, hex]))
  t.deepEqual([read.writing, [...read.byId.keys()]], [one, [one.id, two.id]])
  t.is(valueOf(await readFrameKeys(['plain', raw])).writing, undefined)
  t.is(valueOf(await readFrameKeys([])).writing, undefined)
  const rows: [path: string, why: string][] = [
    [join(folder, 'none'), 'missing'],
    [await file('open', Buffer.alloc(32, 1), 0o644), 'readable'],
    [await file('short', Buffer.alloc(31, 1)), 'malformed'],
    [await file('long', Buffer.alloc(5_000, 1)), 'malformed'],
    [await file('text', 'x'.repeat(64)), 'malformed'],
  ]
  for (const [path, why] of rows)
    t.like(await readFrameKeys([raw, path]), { ok: false, failure: { code: 'KEY_FILE', path, why } })
})

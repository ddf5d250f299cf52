/** Manifests on disk: read a part at a time, never wrong, whatever the disk does to their files. */
import { hash } from 'node:crypto'
import { open, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fc, testProp } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import { failureOf } from '../../protocols/errors.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { openManifestStore } from '../../storage/files/manifest-store.ts'
import { asked } from '../../storage/images/asked.ts'
import type { ManifestDraft, ManifestStore, Receiving } from '../../storage/images/chunk-store.ts'
import {
  buildManifest,
  chunkAt,
  chunkCount,
  dataBytesOf,
  groupOf,
  HASH_BYTES,
  type Manifest,
  partsOf,
  verifyManifest,
} from '../../storage/images/manifest.ts'
import { encodeManifest, formBytes } from '../../storage/images/manifest-form.ts'
import { folderOf } from './folder.ts'

const CHUNK = 4 * 1024

async function storeIn(folder: string): Promise<ManifestStore> {
  const opened = await openManifestStore(folder)
  if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
  return opened.value
}

/** Chunk i has SHA-256 of i, or zeros where `isZero` says so. */
function hashesOf(chunks: number, isZero: (index: number) => boolean): Buffer {
  const hashes = Buffer.alloc(chunks * HASH_BYTES)
  for (let index = 0; index < chunks; index++)
    if (!isZero(index)) hash('sha256', String(index), 'buffer').copy(hashes, index * HASH_BYTES)
  return hashes
}

const idsOf = (manifest: Manifest): (ChunkId | undefined)[] =>
  Array.from({ length: chunkCount(manifest) }, (_, index) => chunkAt(manifest, index))

const get = (store: ManifestStore, manifest: Manifest): Promise<Manifest> =>
  asked((done) => store.get(manifest.image, done))
const put = (store: ManifestStore, manifest: Manifest): Promise<void> =>
  asked((done) => store.put(manifest, done))

const images = fc
  .record({
    chunks: fc.oneof(
      { weight: 12, arbitrary: fc.integer({ min: 1, max: 1_500 }) },
      { weight: 6, arbitrary: fc.constantFrom(255, 256, 257, 512) },
      { weight: 1, arbitrary: fc.constantFrom(65_536, 65_537) },
    ),
    short: fc.integer({ min: 0, max: CHUNK - 1 }),
    /** Runs of chunks with content and of zeros, over and over. */
    content: fc.integer({ min: 1, max: 700 }),
    zeros: fc.integer({ min: 0, max: 700 }),
  })
  .map(({ chunks, short, content, zeros }) => {
    const hashes = hashesOf(chunks, (index) => index % (content + zeros) >= content)
    return { hashes, manifest: buildManifest(chunks * CHUNK - short, CHUNK, hashes) }
  })

testProp(
  'hashes set in any order make the manifest, in this life and the next',
  [images, fc.infiniteStream(fc.integer({ min: 1, max: 600 })), fc.boolean()],
  async (t, { hashes, manifest }, lengths, backwards) => {
    const folder = await folderOf(t)
    const store = await storeIn(folder)
    const draft = await asked<ManifestDraft>((done) => store.begin(manifest, manifest.image, done))
    const pieces: [at: number, length: number][] = []
    for (let at = 0; at < chunkCount(manifest);) {
      const length = Number(lengths.next().value)
      pieces.push([at, length])
      at += length
    }
    for (const [at, length] of backwards ? pieces.toReversed() : pieces)
      draft.set(at, hashes.subarray(at * HASH_BYTES, (at + length) * HASH_BYTES))
    const finished = await asked<Manifest>((done) => draft.finish(done))
    for (const read of [finished, await get(store, manifest), await get(await storeIn(folder), manifest)]) {
      t.deepEqual(idsOf(read), idsOf(manifest))
      t.is(verifyManifest(read), undefined)
      t.is(dataBytesOf(read), dataBytesOf(manifest))
      const form = Buffer.concat([...encodeManifest(read)])
      t.deepEqual(form, Buffer.concat([...encodeManifest(manifest)]))
      t.is(formBytes(read.hashes.runs), form.length)
    }
    t.deepEqual(await readdir(folder), [`${manifest.image}.manifest`])
  },
  { numRuns: 8 },
)

/** Every hash is read as it was, or refused as changed; returns how many reads were refused. */
function readAll(t: ExecutionContext, read: Manifest, manifest: Manifest): number {
  let refused = 0
  for (let index = 0; index < chunkCount(manifest); index += 100)
    try {
      t.is(chunkAt(read, index), chunkAt(manifest, index))
    } catch (error) {
      t.is(failureOf(error).code, 'DATA_CORRUPT')
      refused++
    }
  return refused
}

const harms = fc.oneof(
  fc.record({
    how: fc.constant('a flipped bit' as const),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  }),
  fc.record({
    how: fc.constant('a torn end' as const),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  }),
  fc.record({
    how: fc.constant('a page of zeros' as const),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  }),
)

testProp(
  'what the disk has changed is refused, and made good by putting the manifest again',
  [images, fc.array(harms, { minLength: 1, maxLength: 4 })],
  async (t, { manifest }, changes) => {
    const folder = await folderOf(t)
    await put(await storeIn(folder), manifest)
    const store = await storeIn(folder)
    const before = await get(store, manifest)
    const path = join(folder, `${manifest.image}.manifest`)
    const size = (await readFile(path)).length
    for (const { how, at } of changes) {
      const position = Math.floor(at * size)
      if (how === 'a torn end') await truncate(path, position)
      const file = await open(path, 'r+')
      const byte = Buffer.alloc(how === 'a page of zeros' ? 4096 : 1)
      if (how === 'a flipped bit') {
        await file.read(byte, 0, 1, position)
        byte[0] = (byte[0] as number) ^ 16
      }
      if (how !== 'a torn end') await file.write(byte, 0, byte.length, position)
      await file.close()
    }
    const refused = readAll(t, before, manifest)
    const again = await asked<Manifest>((done) => store.get(manifest.image, done)).catch((error: unknown) => {
      t.is(failureOf(error).code, 'DATA_CORRUPT')
      return undefined
    })
    if (refused > 0) t.is(again, undefined, 'one that is damaged is not given out')
    t.deepEqual(store.list(), [manifest.image], 'its chunks are no garbage')
    await put(store, manifest)
    t.is(readAll(t, before, manifest), 0, 'whoever has it reads on')
    t.deepEqual(idsOf(await get(store, manifest)), idsOf(manifest))
  },
  { numRuns: 12 },
)

const small = buildManifest(
  5 * CHUNK - 7,
  CHUNK,
  hashesOf(5, (index) => index === 1 || index === 4),
)
/** Where the file of an image with one part has something; the rest of it is zeros. */
const PLACES: [from: number, until: number][] = [
  [0, 60],
  [4096, 4096 + 64],
  [8192, 8192 + 5 * HASH_BYTES],
]
const golden = new URL('../fixtures/manifests/v2.hex', import.meta.url)

test('version 2 keeps its bytes, and is read', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, `${small.image}.manifest`)
  await put(await storeIn(folder), small)
  const bytes = await readFile(path)
  const pieces = PLACES.map(([from, until]) => bytes.toString('hex', from, until))
  if (process.env['GODWIT_WRITE_FRAMES'] === '1') await writeFile(golden, `${pieces.join('\n')}\n`)
  const kept = (await readFile(golden, 'utf8')).trim().split('\n')
  t.deepEqual(pieces, kept)
  const made = Buffer.alloc(PLACES.at(-1)?.[1] ?? 0)
  PLACES.forEach(([from], i) => made.write(kept[i] as string, from, 'hex'))
  t.true(bytes.equals(made))
  t.deepEqual(idsOf(await get(await storeIn(folder), small)), idsOf(small))
})

test('what was received of a manifest is there in the next life, less what the disk has changed', async (t) => {
  const folder = await folderOf(t)
  const chunks = 2 * 65_536 + 300
  const hashes = hashesOf(chunks, (index) => index % 5 === 0)
  const manifest = buildManifest(chunks * CHUNK, CHUNK, hashes)
  const { image, bytes, chunkBytes, hashes: held } = manifest
  const tree = { image, bytes, chunkBytes, tops: held.tops }
  const receive = (store: ManifestStore): Promise<Receiving> => asked((done) => store.receive(tree, done))
  const first = await storeIn(folder)
  t.is(await asked((done) => first.pending(manifest.image, done)), undefined)
  const begun = await receive(first)
  t.deepEqual(begun.missing, [0, 1, 2])
  for (const group of [2, 0]) begun.draft.set(group * 65_536, groupOf(manifest, group))
  begun.draft.drop()

  const second = await storeIn(folder)
  t.deepEqual(second.list(), [], 'it is not held before it is whole')
  t.like(await asked((done) => second.pending(manifest.image, done)), tree)
  const again = await receive(second)
  t.deepEqual(again.missing, [1])
  again.draft.drop()
  const [name = ''] = await readdir(folder)
  const file = await open(join(folder, name), 'r+')
  await file.write(Buffer.of(1), 0, 1, 6 * 4096 + 77)
  await file.close()

  const third = await storeIn(folder)
  const last = await receive(third)
  t.deepEqual(last.missing, [0, 1])
  for (const group of last.missing) last.draft.set(group * 65_536, groupOf(manifest, group))
  const finished = await asked<Manifest>((done) => last.draft.finish(done))
  t.is(verifyManifest(finished), undefined)
  t.deepEqual(await readdir(folder), [`${manifest.image}.manifest`])
})

test('a manifest many times the cache is read at random', async (t) => {
  const chunks = 300_000
  const hashes = hashesOf(1_000, () => false)
  const all = Buffer.concat(Array.from({ length: chunks / 1_000 }, () => hashes))
  const manifest = buildManifest(chunks * CHUNK, CHUNK, all)
  const store = await storeIn(await folderOf(t))
  await put(store, manifest)
  const read = await get(store, manifest)
  const wrong = Array.from({ length: 5_000 }, (_, i) => (i * 7_919 * 31) % chunks).filter(
    (index) => chunkAt(read, index) !== chunkAt(manifest, index),
  )
  t.deepEqual(wrong, [])
  let bytes = 0
  for (const part of partsOf(read)) bytes += part.length
  t.is(bytes, all.length)
})

for (const [what, chunks] of [
  ['small', 600],
  ['large', 40_000],
] as const)
  test(`a ${what} file of version 1 is read, and refused when it is damaged`, async (t) => {
    const folder = await folderOf(t)
    const manifest = buildManifest(
      chunks * CHUNK,
      CHUNK,
      hashesOf(chunks, (index) => index % 9 === 0),
    )
    const path = join(folder, `${manifest.image}.manifest`)
    const form = Buffer.concat([...encodeManifest(manifest)])
    await writeFile(path, form)
    t.deepEqual(idsOf(await get(await storeIn(folder), manifest)), idsOf(manifest))
    t.deepEqual(idsOf(await get(await storeIn(folder), manifest)), idsOf(manifest))
    form[form.length - 40] = (form[form.length - 40] as number) ^ 1
    await writeFile(path, form)
    await t.throwsAsync(get(await storeIn(folder), manifest), { message: /changed|name says/ })
    t.deepEqual(await readdir(folder), [`${manifest.image}.manifest`])
  })

test('a draft that becomes another image, or is dropped, leaves nothing', async (t) => {
  const folder = await folderOf(t)
  const store = await storeIn(folder)
  const size = { bytes: 10 * CHUNK, chunkBytes: CHUNK }
  const manifest = buildManifest(
    size.bytes,
    CHUNK,
    hashesOf(10, () => false),
  )
  const draft = await asked<ManifestDraft>((done) => store.begin(size, manifest.image, done))
  draft.set(
    0,
    hashesOf(9, () => false),
  )
  const failure = await t.throwsAsync(asked<Manifest>((done) => draft.finish(done)))
  t.is(failureOf(failure).code, 'IMAGE_INVALID')
  t.deepEqual(await readdir(folder), [])
  t.deepEqual(store.list(), [])
})

import { hash, randomBytes } from 'node:crypto'
import { open, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { testProp, fc } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import { GodwitError } from '../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { materialise, verifyImage } from '../../storage/files/export.ts'
import { importImage, ingestRanges, type Stores } from '../../storage/files/ingest.ts'
import { claim } from '../../storage/files/image-source.ts'
import { openManifestStore } from '../../storage/files/manifest-store.ts'
import { asked } from '../../storage/images/asked.ts'
import { chunkIdOf, unpackSync } from '../../storage/images/chunk-content.ts'
import { ChunkSet } from '../../storage/images/chunk-set.ts'
import { fingerprintsOf } from '../../storage/images/fingerprint.ts'
import type { Extent, ImageReader } from '../../storage/images/image-reader.ts'
import { chunkAt, chunkCount, type Manifest } from '../../storage/images/manifest.ts'
import { folderOf } from './folder.ts'

const KIB = 1024

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}

async function storesIn(t: ExecutionContext, folder: string): Promise<Stores> {
  const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
  t.teardown(() => chunks.close())
  return { chunks, manifests: valueOf(await openManifestStore(join(folder, 'manifests'))) }
}

/** Reads raw files of which the test knows the extents; everything may hold data unless told. */
const rawReader = (extents?: readonly Extent[]): ImageReader => ({
  async open(source) {
    const { path } = source as { path: string }
    const { size: bytes } = await stat(path)
    const all = extents ?? [{ start: 0, length: bytes }]
    return ok({ bytes, content: { path }, extents: async (each) => all.forEach(each), close: async () => {} })
  },
})

/** A sparse file of `bytes` with random bytes at the extents. */
async function sparse(path: string, bytes: number, extents: readonly Extent[]): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(bytes)
  for (const { start, length } of extents) await file.write(randomBytes(length), 0, length, start)
  await file.close()
}

test('a sparse disk comes back byte for byte, and as sparse', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const path = join(folder, 'disk.raw')
  const bytes = 64 * 1024 * KIB + 512
  const extents = [
    { start: 4 * KIB, length: 300 * KIB },
    { start: 10 * 1024 * KIB - 1, length: 2 },
    { start: 64 * 1024 * KIB, length: 512 },
  ]
  await sparse(path, bytes, extents)
  const seen: [number, number][] = []
  const onProgress = (done: number, all: number): void => void seen.push([done, all])
  const first = valueOf(
    await importImage({ path, format: 'auto' }, rawReader(extents), stores, { onProgress }),
  )
  // Five chunks of 256 KiB, the last of them cut short by the disk's end.
  t.is(first.dataBytes, 4 * 256 * KIB + 512)
  t.is(first.newBytes, first.dataBytes)
  t.deepEqual(seen.at(-1), [first.dataBytes, first.dataBytes])

  const out = join(folder, 'out.raw')
  t.deepEqual(await materialise(first.manifest, stores.chunks, out), ok(undefined))
  t.true((await readFile(path)).equals(await readFile(out)))
  t.true((await stat(out)).blocks * 512 <= 4 * 256 * KIB + 4 * KIB, 'zeros take no room')
  t.like(valueOf(await verifyImage(first.manifest, stores.chunks)), { chunks: 5, missing: 0, corrupt: 0 })

  const again = valueOf(await importImage({ path, format: 'raw' }, rawReader(), stores))
  t.deepEqual(again.manifest.image, first.manifest.image, 'extents do not change the name')
  t.is(again.newBytes, 0)
})

for (const chunksOfPiece of [1, 64])
  test(`the pass tells fingerprints of blocks and pieces of ${chunksOfPiece} chunks, held or not`, async (t) => {
    const folder = await folderOf(t)
    const stores = await storesIn(t, folder)
    const path = join(folder, 'disk.raw')
    const bytes = 20 * 1024 * KIB + 512
    await sparse(path, bytes, [
      { start: 4 * KIB, length: 300 * KIB },
      { start: 7 * 1024 * KIB - 1, length: 2 },
      { start: 20 * 1024 * KIB, length: 512 },
    ])
    const disk = await readFile(path)
    const pieceBytes = chunksOfPiece * 256 * KIB
    const cut = (size: number): Buffer[] =>
      Array.from({ length: Math.ceil(bytes / size) }, (_, i) => disk.subarray(i * size, (i + 1) * size))
    for (const time of ['first', 'second']) {
      const lists = new Map<number, Uint8Array>()
      const sums = new Map<number, string>()
      valueOf(
        await importImage({ path, format: 'raw' }, rawReader(), stores, {
          onFingerprints: (index, list) => void lists.set(index, list),
          pieces: {
            bytes: pieceBytes,
            onPiece: (i, sha1) => void sums.set(i, Buffer.from(sha1).toString('hex')),
          },
        }),
      )
      for (const [i, chunk] of cut(256 * KIB).entries())
        t.deepEqual(
          lists.get(i) && Buffer.from(lists.get(i) as Uint8Array),
          chunk.some((byte) => byte !== 0) ? Buffer.from(fingerprintsOf(chunk)) : undefined,
          `${time}: chunk ${i}`,
        )
      for (const [i, piece] of cut(pieceBytes).entries()) {
        const told = sums.get(i)
        if (told !== undefined) t.is(told, hash('sha1', piece), `${time}: piece ${i}`)
        else
          t.true(
            piece.every((byte) => byte === 0),
            `${time}: piece ${i} is of zeros`,
          )
      }
    }
  })

test('chunks are packed at the level that the store is given, and are the same chunks', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  // Words of text: what levels differ in.
  const words = Array.from({ length: 512 }, () => randomBytes(3).toString('hex'))
  const text = Array.from({ length: 60_000 }, (_, i) => words[(i * i * 31 + (i >> 3)) % 512]).join(' ')
  await writeFile(path, Buffer.alloc(256 * KIB, text))
  const sizes: number[] = []
  const images = new Set<string>()
  for (const level of [1, 19]) {
    const stores = await storesIn(t, join(folder, `${level}`))
    const { manifest } = valueOf(
      await importImage({ path, format: 'raw' }, rawReader(), { ...stores, level }),
    )
    images.add(manifest.image)
    const id = chunkAt(manifest, 0) as string
    const frame = await asked<Uint8Array>((done) => stores.chunks.read(id, done))
    t.true(unpackSync(id, frame, 256 * KIB) !== undefined)
    sizes.push(frame.length)
  }
  t.is(images.size, 1)
  t.true((sizes[1] as number) < (sizes[0] as number), sizes.join(' and '))
})

test('a chunk that occurs twice is stored and counted once', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const path = join(folder, 'disk.raw')
  await writeFile(path, Buffer.concat(Array.from({ length: 40 }, () => Buffer.alloc(256 * KIB, 7))))
  const { dataBytes, newBytes } = valueOf(await importImage({ path, format: 'raw' }, rawReader(), stores))
  t.deepEqual([dataBytes, newBytes], [40 * 256 * KIB, 256 * KIB])
})

test('what is missing or damaged is told, and leaves no file', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const path = join(folder, 'disk.raw')
  await sparse(path, 1024 * KIB, [{ start: 0, length: 1024 * KIB }])
  const { manifest } = valueOf(await importImage({ path, format: 'raw' }, rawReader(), stores))
  const [segment = ''] = await readdir(join(folder, 'chunks/segments'))
  const id = chunkAt(manifest, 2) ?? ''
  const file = join(folder, 'chunks/segments', segment)
  const bytes = await readFile(file)
  bytes[bytes.indexOf(Buffer.from(id, 'hex')) + 1000]! ^= 1
  await writeFile(file, bytes)

  const out = join(folder, 'out', 'disk.raw')
  t.like(await materialise(manifest, stores.chunks, out), { failure: { code: 'IO', path: out } })
  t.deepEqual(valueOf(await verifyImage(manifest, stores.chunks)), {
    chunks: 4,
    missing: 0,
    corrupt: 1,
    bad: [id],
  })
  // Found damaged, it is no longer held.
  t.like(valueOf(await verifyImage(manifest, stores.chunks)), { missing: 1, corrupt: 0, bad: [id] })
  const lacking = { ok: false, failure: { code: 'CHUNK_MISSING', image: manifest.image, chunks: 1 } } as const
  const files = await readdir(folder)
  t.deepEqual(await materialise(manifest, stores.chunks, join(folder, 'out.raw')), lacking)
  t.deepEqual(await readdir(folder), files)
})

const qcow2 = (change: (head: Buffer) => void): Buffer => {
  const head = Buffer.alloc(1024)
  head.write('QFI\xfb', 'latin1')
  head.writeUInt32BE(3, 4)
  head.writeBigUInt64BE(1024n * 1024n, 24)
  change(head)
  return head
}

const lies: [what: string, format: 'auto' | 'raw' | 'qcow2', bytes: Buffer, why: RegExp][] = [
  ['an empty file', 'auto', Buffer.alloc(0), /empty/],
  ['a raw disk of half a sector', 'raw', Buffer.alloc(700), /multiple of 512/],
  ['an unknown file of odd size', 'auto', Buffer.alloc(1), /multiple of 512/],
  ['a raw disk called qcow2', 'qcow2', Buffer.alloc(1024), /no qcow2 header/],
  ['half a qcow2 header', 'auto', qcow2(() => {}).subarray(0, 80), /cut short/],
  ['qcow2 of version 4', 'auto', qcow2((head) => head.writeUInt32BE(4, 4)), /version 4/],
  ['qcow2 of an empty disk', 'auto', qcow2((head) => head.fill(0, 24, 32)), /empty/],
  ['qcow2 with a backing file', 'auto', qcow2((head) => head.writeUInt8(1, 15)), /backing file/],
  ['qcow2 that is encrypted', 'auto', qcow2((head) => head.writeUInt8(1, 35)), /encrypted/],
  ['qcow2 with its data elsewhere', 'auto', qcow2((head) => head.writeUInt8(4, 79)), /another file/],
]

for (const [what, format, bytes, why] of lies) {
  test(`import refuses ${what} before any tool sees it`, async (t) => {
    const folder = await folderOf(t)
    const stores = await storesIn(t, folder)
    const path = join(folder, 'disk')
    await writeFile(path, bytes)
    const never: ImageReader = { open: async () => Promise.reject(new Error('a tool saw it')) }
    const outcome = await importImage({ path, format }, never, stores)
    t.like(outcome, { ok: false, failure: { code: 'IMAGE_INVALID', path } })
    t.regex(outcome.ok || outcome.failure.code !== 'IMAGE_INVALID' ? '' : outcome.failure.why, why)
    t.deepEqual(stores.manifests.list(), [])
  })
}

const names: [what: string, path: string, format: 'auto' | 'qcow2', why: RegExp][] = [
  ['a folder', '/tmp', 'auto', /no file and no block device/],
  ['a device that is no disk', '/dev/null', 'auto', /no file and no block device/],
  ['an NBD server of another kind', 'nbd://host/disk', 'auto', /nbd\+unix/],
  ['an NBD export on a host', 'nbd+unix://host/disk?socket=/s', 'auto', /nbd\+unix/],
  ['an NBD export without a socket', 'nbd+unix:///disk', 'auto', /nbd\+unix/],
  ['an NBD export whose name is garbled', 'nbd+unix:///%ff?socket=/s', 'auto', /nbd\+unix/],
  ['an NBD export as qcow2', 'nbd+unix:///disk?socket=/s', 'qcow2', /its server reads the format/],
]

for (const [what, path, format, why] of names)
  test(`import does not take ${what}`, async (t) => {
    const error = await t.throwsAsync(() => claim(path, format), { instanceOf: GodwitError })
    t.is(error?.failure.code, 'IMAGE_INVALID')
    t.regex(error?.message ?? '', why)
  })

test('an NBD export is named as qemu-img names it', async (t) => {
  const uri = 'nbd+unix:///a%20disk?socket=/run/nbd%3F'
  const { source } = await claim(uri, 'auto')
  t.deepEqual(source, { kind: 'export', uri, name: 'a disk', socketPath: '/run/nbd?' })
})

testProp(
  'the chunks to be read are those that the extents lie in, each once, in order',
  [
    fc.integer({ min: 1, max: 200 }),
    fc.array(fc.record({ start: fc.nat({ max: 220 }), length: fc.integer({ min: 1, max: 60 }) }), {
      maxLength: 5,
    }),
    fc.integer({ min: 1, max: 9 }),
    fc.constantFrom(1, 2, 8),
  ],
  (t, bytes, extents, each, together) => {
    const set = new ChunkSet({ bytes, chunkBytes: 4 })
    for (const extent of extents) set.touch(extent)
    const book = Array.from({ length: Math.ceil(bytes / 4) }, (_, index) => index).filter((index) =>
      extents.some(
        ({ start, length }) => start < Math.min(index * 4 + 4, bytes) && start + length > index * 4,
      ),
    )
    const batches = [...set.batches(each, together)]
    t.deepEqual(batches.flat(), book)
    t.true(batches.slice(0, -1).every(({ length }) => length >= each && length < each + together))
    const groups = batches.map((batch) => new Set(batch.map((index) => Math.floor(index / together))))
    t.is(
      groups.reduce((sum, { size }) => sum + size, 0),
      new Set(groups.flatMap((some) => [...some])).size,
    )
    t.is(set.count, book.length)
    t.is(
      set.bytes,
      book.reduce((sum, index) => sum + Math.min(4, bytes - index * 4), 0),
    )
  },
)

test('import passes on what the tool says, and what the disk says', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const path = join(folder, 'disk')
  await writeFile(path, Buffer.alloc(4096, 1))
  const refused = { code: 'IMAGE_INVALID', path, why: 'the tool does not like it' } as const
  const reader: ImageReader = { open: async () => failed(refused) }
  t.deepEqual(await importImage({ path, format: 'raw' }, reader, stores), failed(refused))
  const missing = await importImage({ path: join(folder, 'none'), format: 'raw' }, reader, stores)
  t.like(missing, { ok: false, failure: { code: 'IO', path: join(folder, 'none') } })
  const cut: ImageReader = {
    async open(source) {
      const opened = valueOf(await rawReader([{ start: 0, length: 4096 }]).open(source))
      await truncate(path, 512)
      return ok(opened)
    },
  }
  const outcome = await importImage({ path, format: 'raw' }, cut, stores)
  t.like(outcome, { failure: { code: 'IO', path, why: 'it became shorter while it was read' } })
})

test('import stops when it is told to, with the reason', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const path = join(folder, 'disk.raw')
  await sparse(path, 8 * 1024 * KIB, [{ start: 0, length: 8 * 1024 * KIB }])
  const stop = new AbortController()
  const failure = { code: 'STOPPING', peer: 'a' } as const
  const outcome = await importImage({ path, format: 'raw' }, rawReader(), stores, {
    signal: stop.signal,
    onProgress: () => stop.abort(new GodwitError(failure)),
  })
  t.deepEqual(outcome, { ok: false, failure })
  t.deepEqual(stores.manifests.list(), [])
})

/** The manifest of a disk by the book: every chunk hashed. */
function expected(disk: Uint8Array, chunkBytes: number): (string | undefined)[] {
  return Array.from({ length: Math.ceil(disk.length / chunkBytes) }, (_, i) => {
    const chunk = disk.subarray(i * chunkBytes, (i + 1) * chunkBytes)
    return chunk.every((byte) => byte === 0) ? undefined : chunkIdOf(chunk)
  })
}

const ids = (manifest: Manifest): (string | undefined)[] =>
  Array.from({ length: chunkCount(manifest) }, (_, i) => chunkAt(manifest, i))

const change = fc.record({
  start: fc.integer({ min: 0, max: 39 * KIB }),
  length: fc.integer({ min: 1, max: 9 * KIB }),
  value: fc.integer({ min: 0, max: 2 }),
})

testProp(
  'the image of a changed disk is what a whole import would make, at the price of the change',
  [fc.array(change, { maxLength: 4 }), fc.integer({ min: 1, max: 80 })],
  async (t, changes, sectors) => {
    const folder = await folderOf(t)
    const stores = await storesIn(t, folder)
    const path = join(folder, 'disk.raw')
    const before = Buffer.alloc(40 * KIB + 512, 1)
    await writeFile(path, before)
    const base = valueOf(
      await importImage({ path, format: 'raw', chunkBytes: 4 * KIB }, rawReader(), stores),
    ).manifest

    const after = Buffer.alloc(sectors * 512 * 2)
    before.copy(after)
    const changed = changes
      .filter(({ start, length }) => start + length <= after.length)
      .sort((a, b) => a.start - b.start)
      .filter(({ start }, i, all) => i === 0 || start >= (all[i - 1]?.start ?? 0) + (all[i - 1]?.length ?? 0))
    for (const { start, length, value } of changed) after.fill(value, start, start + length)
    const read: number[] = []
    const outcome = await ingestRanges(
      { base, bytes: after.length, changed: async (each) => changed.forEach(each) },
      async (position, into) => {
        for (let at = position; at < position + into.length; at += 4 * KIB) read.push(at / (4 * KIB))
        into.set(after.subarray(position, position + into.length))
      },
      stores,
    )
    const { manifest } = valueOf(outcome)
    t.deepEqual(ids(manifest), expected(after, 4 * KIB))
    const touched = changed.flatMap(({ start, length }) => {
      const first = Math.floor(start / (4 * KIB))
      const count = Math.floor((start + length - 1) / (4 * KIB)) - first + 1
      return Array.from({ length: count }, (_, i) => first + i)
    })
    t.true(read.length <= new Set(touched).size + 2, 'only what changed is read, and the ends')
    t.deepEqual(await materialise(manifest, stores.chunks, join(folder, 'out')), ok(undefined))
    t.true(after.equals(await readFile(join(folder, 'out'))))
  },
  { numRuns: 12 },
)

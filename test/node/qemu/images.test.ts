import { execFileSync } from 'node:child_process'
import { constants, open, readFile, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { qemuImageReader } from '../../../node/qemu/images.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import { importImage, type Ingested, type Stores } from '../../../storage/files/ingest.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import type { Extent, ImageFormat, ImageSource } from '../../../storage/images/image-reader.ts'
import { buildGuestImage } from '../../guest/guest.ts'
import { folderOf } from '../../storage/folder.ts'
import { serve } from './nbd-server.ts'
import { failureOf, valueOf } from './outcome.ts'

const MIB = 1024 * 1024
const img = (...args: string[]): Buffer => execFileSync('qemu-img', args)

async function storesIn(t: ExecutionContext): Promise<Stores> {
  const folder = await folderOf(t)
  const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
  t.teardown(() => chunks.close())
  return { chunks, manifests: valueOf(await openManifestStore(join(folder, 'manifests'))) }
}

test('one disk as raw, as qcow2, compressed, and behind an NBD server is one image, of which holes are not read', async (t) => {
  const [folder, scratch] = [await folderOf(t), await folderOf(t)]
  const [raw, qcow2] = [join(folder, 'disk.raw'), join(folder, 'disk,1.qcow2')]
  await buildGuestImage(raw, { bytes: 64 * MIB, randomBytes: 2 * MIB, seed: 3 })
  img('convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, qcow2)
  const socketPath = serve(t, folder, ['--format=qcow2', '--read-only', qcow2])
  const uri = `nbd+unix:///?socket=${socketPath}`
  const reader = qemuImageReader(scratch)
  const stores = await storesIn(t)

  const sources: ImageSource[] = [
    { kind: 'file', path: raw, format: 'raw' },
    { kind: 'file', path: qcow2, format: 'qcow2' },
    { kind: 'export', uri, socketPath, name: '' },
  ]
  for (const source of sources) {
    const opened = valueOf(await reader.open(source))
    const extents: Extent[] = []
    await opened.extents((extent) => void extents.push(extent))
    await opened.close()
    t.is(opened.bytes, 64 * MIB)
    const covered = extents.reduce((sum, { length }) => sum + length, 0)
    t.true(covered >= 2 * MIB && covered < 3 * MIB, `${source.kind}: ${covered} bytes in extents`)
  }

  const images: Ingested[] = []
  for (const path of [raw, qcow2, uri]) {
    const totals: number[] = []
    const onProgress = (_: number, total: number): void => void totals.push(total)
    images.push(valueOf(await importImage({ path, format: 'auto' }, reader, stores, { onProgress })))
    t.true((totals.at(-1) ?? 0) < 4 * MIB, 'progress is told of what is to be read')
  }
  t.is(new Set(images.map(({ manifest }) => manifest.image)).size, 1)
  t.deepEqual(
    images.slice(1).map(({ newBytes }) => newBytes),
    [0, 0],
  )
  t.deepEqual(await readdir(scratch), [])
})

/** What this process has read by system calls, its worker threads included; nothing else may run in it meanwhile. */
const readBytes = async (): Promise<number> =>
  Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1])

test.serial('100 GiB with 3 MiB of data cost 3 MiB of reading', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t)
  for (const format of ['raw', 'qcow2'] as const) {
    const path = join(folder, `disk.${format}`)
    img('create', '-q', '-f', format, path, '100G')
    const writes = ['0', '50G', '99G'].flatMap((at, i) => ['-c', `write -q -P ${i + 1} ${at} 1M`])
    execFileSync('qemu-io', ['-f', format, ...writes, path])
    const seen: [number, number][] = []
    const onProgress = (...figures: [number, number]): void => void seen.push(figures)
    const before = await readBytes()
    const taken = valueOf(
      await importImage({ path, format }, qemuImageReader(folder), stores, { onProgress }),
    )
    // And the programs of the workers, 13 MiB of them.
    const read = (await readBytes()) - before
    t.true(read < 32 * MIB, `${format}: ${read}`)
    t.is(taken.manifest.bytes, 100 * 1024 * MIB)
    t.deepEqual([taken.dataBytes, seen.at(-1)], [3 * MIB, [3 * MIB, 3 * MIB]], format)
  }
})

test('a disk that somebody writes to is refused', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  img('create', '-q', '-f', 'raw', path, '1M')
  serve(t, folder, ['--format=raw', path])
  const outcome = await importImage({ path, format: 'raw' }, qemuImageReader(folder), await storesIn(t))
  t.deepEqual(failureOf(outcome), { code: 'IMAGE_INVALID', path, why: 'somebody writes to it' })
})

// Only root may make a block device.
const asRoot = process.getuid?.() === 0 ? test : test.skip

asRoot('a block device is the image of its bytes, and is refused while it is in use', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  await buildGuestImage(path, { bytes: 16 * MIB, randomBytes: 2 * MIB, seed: 4 })
  const device = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim()
  t.teardown(() => void execFileSync('losetup', ['--detach', device]))
  const [reader, stores] = [qemuImageReader(folder), await storesIn(t)]

  const ofFile = valueOf(await importImage({ path, format: 'raw' }, reader, stores))
  const ofDevice = valueOf(await importImage({ path: device, format: 'auto' }, reader, stores))
  t.is(ofDevice.manifest.image, ofFile.manifest.image)
  const asQcow2 = failureOf(await importImage({ path: device, format: 'qcow2' }, reader, stores))
  t.like(asQcow2, { code: 'IMAGE_INVALID', why: 'a block device is read as raw' })

  // As a mount holds it.
  const holder = await open(device, constants.O_RDONLY | constants.O_EXCL)
  const inUse = failureOf(await importImage({ path: device, format: 'auto' }, reader, stores))
  t.like(inUse, { code: 'IMAGE_INVALID', path: device })
  await holder.close()
  t.true((await importImage({ path: device, format: 'auto' }, reader, stores)).ok, 'and it was let go of')
})

// What must be refused before any of it is read.
const refused: [
  what: string,
  make: (path: string, folder: string) => void | Promise<void>,
  format: ImageFormat,
  why: RegExp,
][] = [
  [
    'a backing file',
    (path, folder) => {
      img('create', '-q', '-f', 'raw', join(folder, 'secret'), '1M')
      img('create', '-q', '-f', 'qcow2', '-b', join(folder, 'secret'), '-F', 'raw', path)
    },
    'qcow2',
    /backing file/,
  ],
  [
    'a data file',
    (path, folder) =>
      void img('create', '-q', '-f', 'qcow2', '-o', `data_file=${join(folder, 'data')}`, path, '1M'),
    'qcow2',
    /another file/,
  ],
  [
    'half a qcow2 file',
    async (path) => {
      img('create', '-q', '-f', 'qcow2', path, '1M')
      await truncate(path, 40)
    },
    'qcow2',
    /./,
  ],
  ['text that says it is qcow2', (path) => writeFile(path, 'hello, world'), 'qcow2', /./],
]

for (const [what, make, format, why] of refused) {
  test(`import refuses ${what}`, async (t) => {
    const folder = await folderOf(t)
    const path = join(folder, 'image')
    await make(path, folder)
    const failure = failureOf(await importImage({ path, format }, qemuImageReader(folder), await storesIn(t)))
    t.is(failure.code, 'IMAGE_INVALID')
    if (failure.code === 'IMAGE_INVALID') t.regex(failure.why, why)
  })
}

test('what a header cannot show, qemu-nbd refuses, and leaves nothing', async (t) => {
  const [folder, scratch] = [await folderOf(t), await folderOf(t)]
  const path = join(folder, 'image')
  img('create', '-q', '-f', 'qcow2', path, '1M')
  const file = await open(path, 'r+')
  await file.write(Buffer.of(63), 0, 1, 23)
  await file.close()
  const reader = qemuImageReader(scratch)
  const failure = failureOf(await reader.open({ kind: 'file', path, format: 'qcow2' }))
  t.is(failure.code, 'IMAGE_INVALID')
  t.deepEqual(await readdir(scratch), [])
})

test('a raw disk whose guest wrote a qcow2 header stays raw', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  img('create', '-q', '-f', 'qcow2', path, '512M')
  const { length } = await readFile(path)
  const opened = valueOf(await qemuImageReader(folder).open({ kind: 'file', path, format: 'raw' }))
  t.is(opened.bytes, Math.ceil(length / 512) * 512)
  await opened.close()
})

import { execFileSync } from 'node:child_process'
import { readFile, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { dataExtents, qemuImageReader, type MapEntry } from '../../../node/qemu/images.ts'
import type { ImageFormat } from '../../../storage/images/image-reader.ts'
import { buildGuestImage } from '../../guest/guest.ts'
import { failureOf, valueOf } from './outcome.ts'
import { folderOf } from '../../storage/folder.ts'

const MIB = 1024 * 1024
const img = (...args: string[]): Buffer => execFileSync('qemu-img', args)

test('a raw and a qcow2 file of one disk read the same, without holes', async (t) => {
  const folder = await folderOf(t)
  const [raw, qcow2] = [join(folder, 'disk.raw'), join(folder, 'disk,1.qcow2')]
  await buildGuestImage(raw, { bytes: 64 * MIB, randomBytes: 2 * MIB, seed: 3 })
  img('convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, qcow2)
  const reader = qemuImageReader(folder)

  for (const [path, format] of [
    [raw, 'raw'],
    [qcow2, 'qcow2'],
  ] as const) {
    t.deepEqual(await reader.probe(path, format), { ok: true, value: { bytes: 64 * MIB } })
    const extents = valueOf(await reader.extents(path, format))
    const covered = extents.reduce((sum, { length }) => sum + length, 0)
    t.true(covered >= 2 * MIB && covered < 3 * MIB, `${format}: ${covered} bytes in extents`)
    for (const at of [0, MIB, 16 * MIB, 18 * MIB - 1])
      t.true(
        extents.some(({ start, length }) => start <= at && at < start + length),
        `${format} ${at}`,
      )

    const opened = valueOf(await reader.open(path, format))
    t.true((await readFile(opened.path)).equals(await readFile(raw)), format)
    await opened.close()
  }
  t.deepEqual((await readdir(folder)).sort(), ['disk,1.qcow2', 'disk.raw'])
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
  test(`the reader refuses ${what}`, async (t) => {
    const folder = await folderOf(t)
    const path = join(folder, 'image')
    await make(path, folder)
    const reader = qemuImageReader(folder)
    for (const call of ['probe', 'extents', 'open'] as const) {
      const failure = failureOf(await reader[call](path, format))
      t.is(failure.code, 'IMAGE_INVALID')
      if (failure.code === 'IMAGE_INVALID') t.regex(failure.why, why)
    }
  })
}

test('a raw disk whose guest wrote a qcow2 header stays raw', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  img('create', '-q', '-f', 'qcow2', path, '512M')
  const { length } = await readFile(path)
  t.deepEqual(await qemuImageReader(folder).probe(path, 'raw'), {
    ok: true,
    value: { bytes: Math.ceil(length / 512) * 512 },
  })
})

const entry = (start: number, length: number, kind: 'data' | 'zero'): MapEntry => ({
  start,
  length,
  depth: 0,
  present: true,
  zero: kind === 'zero',
  data: kind === 'data',
})

const merges: [what: string, entries: MapEntry[], extents: [number, number][]][] = [
  ['nothing', [], []],
  ['only zeros', [entry(0, 10, 'zero')], []],
  [
    'neighbours',
    [entry(0, 10, 'data'), entry(10, 5, 'data'), entry(15, 5, 'zero'), entry(20, 1, 'data')],
    [
      [0, 15],
      [20, 1],
    ],
  ],
  ['an empty extent', [entry(0, 0, 'data')], []],
]

for (const [what, entries, extents] of merges) {
  test(`extents of ${what}`, (t) => {
    t.deepEqual(
      dataExtents(entries),
      extents.map(([start, length]) => ({ start, length })),
    )
  })
}

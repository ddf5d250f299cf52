/** Image files that are not what they say, formats, and a disk that is full. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import test from 'ava'
import type { ImageView } from '../../node/views.ts'
import { buildGuestImage } from '../guest/guest.ts'
import { Mesh, must, names, type Peer } from './support.ts'

const MIB = 1024 ** 2
const mesh = new Mesh()
let crane: Peer

test.before(async () => {
  crane = await mesh.peer('crane', 'harbour')
  await mesh.form(crane)
})
test.after.always(() => mesh.close())

const images = (): Promise<ImageView[]> => mesh.ask<ImageView[]>(crane, 'image.list')
const file = (name: string): string => join(mesh.folder, name)

const bad: [what: string, format: string, make: (path: string) => void, why: RegExp][] = [
  [
    'a qcow2 header on garbage',
    'auto',
    (path) =>
      writeFileSync(path, Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), randomBytes(MIB)])),
    /./,
  ],
  ['a raw file of odd size', 'raw', (path) => writeFileSync(path, Buffer.alloc(1_000, 7)), /512/],
  ['an empty file', 'auto', (path) => writeFileSync(path, ''), /./],
  [
    'text that is said to be qcow2',
    'qcow2',
    (path) => writeFileSync(path, 'hello, world'.repeat(512)),
    /qcow2/,
  ],
  ['a folder', 'auto', (path) => mkdirSync(path), /no file/],
  [
    'a qcow2 file on top of another',
    'auto',
    (path) => {
      writeFileSync(`${path}.base`, Buffer.alloc(MIB))
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', `${path}.base`, '-F', 'raw', path])
    },
    /backing file/,
  ],
]

test.serial('what is no image is refused before anything is stored', async (t) => {
  for (const [index, [what, format, make, why]] of bad.entries()) {
    const path = file(`bad${index}`)
    make(path)
    const ran = await mesh.godwit(crane, [
      'image',
      'import',
      `bad${index}`,
      path,
      '--format',
      format,
      '-o',
      'json',
    ])
    t.is(ran.code, 2, `${what}: ${ran.err}`)
    t.like(ran.error, { code: 'IMAGE_INVALID', exit: 2 }, what)
    t.regex(ran.error?.message ?? '', why, what)
    t.true(ran.error?.message.includes(path), what)
  }
  t.deepEqual(await images(), [])
  t.deepEqual(names(join(crane.folder, 'manifests')), [])
  t.deepEqual(names(join(crane.folder, 'scratch')), [])
})

test.serial('a file that is not there is named', async (t) => {
  const ran = await mesh.godwit(crane, ['image', 'import', 'gone', file('gone'), '-o', 'json'])
  t.is(ran.code, 1)
  t.true(ran.error?.message.includes(file('gone')), ran.err)
})

test.serial('qcow2 is imported, and exported byte-identical as raw', async (t) => {
  const [raw, qcow2, out] = [file('disk.raw'), file('disk.qcow2'), file('out.raw')]
  await buildGuestImage(raw, { bytes: 48 * MIB, randomBytes: 3 * MIB, seed: 5 })
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, qcow2])
  must(await mesh.godwit(crane, ['image', 'import', 'from-qcow2', qcow2]))
  must(await mesh.godwit(crane, ['image', 'import', 'from-raw', raw]))
  must(await mesh.godwit(crane, ['image', 'export', 'from-qcow2', out]))
  t.true(readFileSync(out).equals(readFileSync(raw)))
  const [a, b] = await images()
  t.is(a?.id, b?.id)
  must(await mesh.godwit(crane, ['image', 'verify', 'from-qcow2']))
})

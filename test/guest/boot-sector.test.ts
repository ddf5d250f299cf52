import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { folderOf } from '../storage/folder.ts'
import { bootSector } from './boot-sector.ts'
import { buildGuestImage, heartbeats, readCounter } from './guest.ts'

const MIB = 1024 * 1024

test('the boot sector is a sector, signed, and free where a partition table would be', (t) => {
  const sector = Buffer.from(bootSector())
  t.is(sector.length, 512)
  t.is(sector.readUInt16LE(510), 0xaa55)
  t.true(sector.subarray(446, 510).every((byte) => byte === 0))
  t.true(sector.includes('godwit-guest '))
})

test('an image is sparse, and the same for the same seed', async (t) => {
  const folder = await folderOf(t)
  const image = { bytes: 64 * MIB, randomBytes: MIB + 512, seed: 5, count: 41 }
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string]
  await Promise.all([
    buildGuestImage(a, image),
    buildGuestImage(b, image),
    buildGuestImage(c, { ...image, seed: 6 }),
  ])
  const bytes = await readFile(a)
  t.is(bytes.length, image.bytes)
  t.true(bytes.equals(await readFile(b)))
  t.false(bytes.equals(await readFile(c)))
  t.true((await stat(a)).blocks * 512 < 2 * MIB)
  t.is(await readCounter(a), 41)
})

test('heartbeats are told from what the BIOS says', (t) => {
  const lines = [
    'SeaBIOS (version 1.16)',
    'godwit-guest boot count=4',
    'godwit-guest count=5\r',
    'godwit-guest count=',
  ]
  t.deepEqual(heartbeats([...lines, 'godwit-guest off count=5']), [
    { kind: 'boot', count: 4 },
    { kind: 'count', count: 5 },
    { kind: 'off', count: 5 },
  ])
})

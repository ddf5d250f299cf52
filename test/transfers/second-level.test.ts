/**
 * An image that was built again, pulled over a slow link right after the one before: everything in it lies elsewhere, and little
 * is new. What crosses is what is new.
 */
import { createHash, randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Mesh, must, type Peer } from '../e2e/support.ts'
import { openLab } from '../lab/lab.ts'
import { findMeans } from '../lab/link.ts'

const MIB = 1024 ** 2
const BLOCK = 4_096
const LINK = { rateMbit: 20, rttMs: 60 }
/** Does not compress. */
const IMAGE_MIB = 40
/** Blocks in front of all others, and in the middle. */
const NEW_BLOCKS = [3, 125] as const
/** Fingerprints and messages (a fifth of a percent each), and what peers of a mesh say meanwhile. */
const OVERHEAD_BYTES = 0.01 * IMAGE_MIB * MIB + MIB / 2

const means = findMeans()
const LONG = process.env['GODWIT_LONG'] === '1'
const withLink = LONG && means.kind !== 'loopback' ? test.serial : test.serial.skip

withLink('an image that was built again costs what is new in it', async (t) => {
  t.timeout(600_000)
  const sites = [
    { name: 'harbour', peers: ['crane'] },
    { name: 'hill', peers: ['mast'] },
  ]
  const lab = await openLab({ ...LINK, sites })
  t.teardown(() => lab.close())
  const mesh = new Mesh()
  t.teardown(() => mesh.close())
  const peer = (site: string, name: string): Promise<Peer> =>
    mesh.peer(name, site, { address: lab.address(site, name), prefix: lab.exec(site, name) })
  const [crane, mast] = [await peer('harbour', 'crane'), await peer('hill', 'mast')]
  await mesh.form(crane, mast)

  const path = (name: string): string => join(mesh.folder, name)
  const one = randomFillSync(Buffer.alloc(IMAGE_MIB * MIB))
  const [front, middle] = NEW_BLOCKS.map((blocks) => randomFillSync(Buffer.alloc(blocks * BLOCK)))
  const half = one.length / 2
  const two = Buffer.concat([front as Buffer, one.subarray(0, half), middle as Buffer, one.subarray(half)])
  writeFileSync(path('one'), one)
  writeFileSync(path('two'), two)
  const crossed = async (name: string): Promise<number> => {
    const before = (await lab.stats())['hill']?.in.bytes ?? 0
    must(await mesh.godwit(mast, ['image', 'pull', `harbour/${name}`]))
    return ((await lab.stats())['hill']?.in.bytes ?? 0) - before
  }

  for (const name of ['one', 'two']) must(await mesh.godwit(crane, ['image', 'import', name, path(name)]))
  const first = await crossed('one')
  t.true(first > one.length)
  const second = await crossed('two')
  t.log(`${(first / MIB).toFixed(2)} MiB, then ${(second / MIB).toFixed(2)} MiB`)
  t.true(second < (NEW_BLOCKS[0] + NEW_BLOCKS[1]) * BLOCK * 1.1 + OVERHEAD_BYTES, `${second} bytes`)

  must(await mesh.godwit(mast, ['image', 'export', 'two', path('out')]))
  const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
  t.is(sum(readFileSync(path('out'))), sum(two))
})

/** The base under a disk as a source, between real peers whose stores are lost. */
import { createHash } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ImageView, JobView } from '../../node/views.ts'
import { itemOf, Mesh, must } from '../e2e/support.ts'
import { buildGuestImage } from '../guest/guest.ts'

const MIB = 1024 ** 2
const long = process.env['GODWIT_LONG'] === '1' ? test.serial : test.serial.skip
const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

long('chunks that only the base under a disk holds are served, and taken over by its own host', async (t) => {
  t.timeout(300_000)
  const mesh = new Mesh()
  t.teardown(() => mesh.close())
  const [crane, mast] = [await mesh.peer('crane', 'harbour'), await mesh.peer('mast', 'hill')]
  await mesh.form(crane, mast)
  const [disk, again] = [join(mesh.folder, 'disk.raw'), join(mesh.folder, 'again.raw')]
  await buildGuestImage(disk, { bytes: 96 * MIB, randomBytes: 24 * MIB, seed: 9 })
  must(await mesh.godwit(crane, ['image', 'import', 'disk', disk]))
  const id = (await mesh.ask<ImageView[]>(crane, 'image.list'))[0]?.id ?? ''
  // What materialising a base for a VM writes.
  must(await mesh.godwit(crane, ['image', 'export', 'disk', join(crane.folder, 'disks/bases', `${id}.raw`)]))
  await mesh.end(crane, 'SIGTERM')
  rmSync(join(crane.folder, 'chunks'), { recursive: true })
  await mesh.up(crane)
  const job = itemOf<JobView>(must(await mesh.godwit(mast, ['image', 'pull', 'disk', '-o', 'json'])))
  t.true(job.wireBytes > 24 * MIB, String(job.wireBytes))
  must(await mesh.godwit(mast, ['image', 'export', 'disk', again]))
  t.is(digest(again), digest(disk))
  const own = itemOf<JobView>(must(await mesh.godwit(crane, ['image', 'pull', 'disk', '-o', 'json'])))
  t.is(own.dedupBytes, 0)
  t.like((await mesh.ask<ImageView[]>(crane, 'image.list'))[0], { missing: 0 })
})

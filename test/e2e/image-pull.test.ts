/** Images that come from other sites and from several peers, as an operator asks for them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ImageView, JobView, LocationView, PlanView } from '../../node/views.ts'
import { buildGuestImage } from '../guest/guest.ts'
import { itemOf, Mesh, must, type Peer } from './support.ts'

const MIB = 1024 ** 2
const mesh = new Mesh()
let [crane, heron, mast]: Peer[] = []
const file = (name: string): string => join(mesh.folder, name)
const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

test.before(async () => {
  crane = await mesh.peer('crane', 'harbour')
  heron = await mesh.peer('heron', 'harbour')
  mast = await mesh.peer('mast', 'hill')
  await mesh.form(crane, heron, mast)
  await buildGuestImage(file('disk.raw'), { bytes: 96 * MIB, randomBytes: 24 * MIB, seed: 9 })
  must(await mesh.godwit(crane, ['image', 'import', 'disk', file('disk.raw')]))
})
test.after.always(() => mesh.close())

const pull = (peer: Peer | undefined, ...args: string[]): ReturnType<Mesh['godwit']> =>
  mesh.godwit(peer as Peer, ['image', 'pull', ...args, '-o', 'json'])

test.serial(
  'an image of another site comes by its name, at the cost that was told, and is named here',
  async (t) => {
    const ran = must(await mesh.godwit(mast as Peer, ['image', 'pull', 'disk', '--dry-run', '-o', 'json']))
    const plan = itemOf<PlanView>(ran)
    t.like(plan, { name: 'disk', nowhere: 0, silent: [], unable: [] })
    t.deepEqual(
      plan.links.map(({ site, near, peers }) => [site, near, peers]),
      [['harbour', false, 1]],
    )
    t.deepEqual(await mesh.ask<ImageView[]>(mast as Peer, 'image.list'), [])
    const job = itemOf<JobView>(must(await pull(mast, 'disk')))
    t.like(job, { kind: 'image-pull', state: 'done', subject: 'disk', sources: 1 })
    const error = (plan.wireBytes - job.wireBytes) / job.wireBytes
    t.log(`predicted ${plan.wireBytes}, crossed ${job.wireBytes}: ${(error * 100).toFixed(3)} % off`)
    t.true(Math.abs(error) < 0.05)
    t.true(job.wireBytes > 24 * MIB && job.wireBytes < 27 * MIB, String(job.wireBytes))
    must(await mesh.godwit(mast as Peer, ['image', 'export', 'disk', file('out.raw')]))
    t.is(digest(file('out.raw')), digest(file('disk.raw')))
    const [image] = await mesh.ask<ImageView[]>(mast as Peer, 'image.list')
    t.like(image, { name: 'disk', missing: 0 })
    const again = itemOf<JobView>(must(await pull(mast, 'harbour/disk')))
    t.is(again.wireBytes, 0)
  },
)

test.serial('what a peer of the site holds comes from there, and --from asks nobody else', async (t) => {
  const refused = await pull(heron, 'disk', '--from', 'nobody')
  t.is(refused.code, 8)
  const job = itemOf<JobView>(must(await pull(heron, 'disk', '--from', 'mast')))
  t.is(job.sources, 1)
  t.true(job.wireBytes > 24 * MIB, String(job.wireBytes))
})

test.serial('locations say who holds how much, and who does not answer', async (t) => {
  const where = async (image: string): Promise<{ code: number; items: LocationView[] }> => {
    const ran = await mesh.godwit(heron as Peer, ['image', 'locations', image, '-o', 'json'])
    return { code: ran.code, items: (JSON.parse(ran.out) as { items: LocationView[] }).items }
  }
  const all = await where('disk')
  t.is(all.code, 0)
  t.deepEqual(
    all.items.map(({ peer, site, near, holds, share, manifest }) => [
      peer,
      site,
      near,
      holds,
      share,
      manifest,
    ]),
    [
      ['heron', 'harbour', true, 'all', 1, true],
      ['crane', 'harbour', true, 'all', 1, true],
      ['mast', 'hill', false, 'all', 1, true],
    ],
  )
  const [own, ...others] = all.items
  for (const other of others) t.is(other.storedBytes, own?.storedBytes ?? 0)
  await mesh.kill(mast as Peer)
  const some = await where('disk')
  t.is(some.code, 7)
  const last = some.items.at(-1)
  t.like(last, { peer: 'mast', holds: 'all' })
  t.true((last?.ageMs ?? 0) > 0 && last?.why !== '')
  await mesh.up(mast as Peer)
})

test.serial('what nobody names is not found, and a name that is taken is refused', async (t) => {
  t.like(await pull(mast, 'gone'), { code: 8 })
  await buildGuestImage(file('other.raw'), { bytes: 8 * MIB, randomBytes: MIB, seed: 10 })
  must(await mesh.godwit(mast as Peer, ['image', 'import', 'other', file('other.raw')]))
  const ran = await pull(crane, 'hill/other', '--as', 'disk')
  t.like(ran, { code: 4 })
  t.like(ran.error, { code: 'NAME_TAKEN' })
  const id = (await mesh.ask<ImageView[]>(mast as Peer, 'image.list')).find(
    ({ name }) => name === 'other',
  )?.id
  const byId = itemOf<JobView>(must(await pull(crane, id ?? '', '--as', 'mine')))
  t.deepEqual(byId.result, { image: id, name: 'mine' })
})

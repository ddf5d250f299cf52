/** What a peer has acknowledged is there after kill -9 at any moment: tokens, VMs and images, in rounds. */
import { randomBytes, randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { ImageView, JobView, TokenView, VmView } from '../../node/views.ts'
import { finished, importGuest } from './guests.ts'
import { Mesh, type Peer } from './support.ts'

const ROUNDS = 3
/** From the first moment on to well into the work; a peer that is asked all the time acknowledges every few ms. */
const KILL_MS = { least: 100, most: 1_000 }
const IMAGE_BYTES = 1024 ** 2
/** As many as a mesh remembers in a day, with room for others. */
const TOKENS = 200

type Acknowledged = { tokens: Set<string>; vms: Set<string>; images: Map<string, string> }

const mesh = new Mesh()
let crane: Peer

test.before(async () => {
  // VMs are created, never started: a driver is all it takes.
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg', cpus: 1_024, memoryMiB: 1024 * 1024 })
  await mesh.form(crane)
  await importGuest(mesh, crane, 'guest')
})
test.after.always(() => mesh.close())

test('nothing acknowledged is lost by kill -9 at any moment', async (t) => {
  const known: Acknowledged = { tokens: new Set(), vms: new Set(), images: new Map() }
  const [guest] = await mesh.ask<ImageView[]>(crane, 'image.list')
  known.images.set('guest', guest?.id ?? '')
  for (let round = 0; round < ROUNDS; round++) {
    const before = { tokens: known.tokens.size, vms: known.vms.size, images: known.images.size }
    const killMs = randomInt(KILL_MS.least, KILL_MS.most)
    const work = [tokens, vms, images].map(async (each) => {
      for (let turn = 0; await each(known, `${round}-${turn}`); turn++);
    })
    await sleep(killMs)
    await mesh.kill(crane)
    await Promise.all(work)
    await mesh.up(crane)

    const where = `round ${round}, killed after ${killMs} ms; before it ${JSON.stringify(before)}`
    const [tokenList, vmList, imageList] = [
      await mesh.ask<TokenView[]>(crane, 'token.list'),
      await mesh.ask<VmView[]>(crane, 'vm.list'),
      await mesh.ask<ImageView[]>(crane, 'image.list'),
    ]
    t.deepEqual(
      [...known.tokens].filter((id) => !tokenList.some((each) => each.id === id)),
      [],
      where,
    )
    t.deepEqual(
      [...known.vms].filter((id) => !vmList.some((each) => each.id === id)),
      [],
      where,
    )
    const held = new Map(imageList.map((each) => [each.name, each]))
    for (const [name, id] of known.images) t.like(held.get(name), { id, missing: 0 }, `${name}, ${where}`)
    for (const { name } of imageList) {
      const verified = await mesh.ask<{ job: string }>(crane, 'image.verify', { name })
      t.is((await finished(mesh, crane, verified.job)).error, '', `${name}, ${where}`)
    }
  }
  t.log(`${known.tokens.size} tokens, ${known.vms.size} VMs, ${known.images.size} images`)
  // A run that acknowledged nothing proves nothing.
  t.true(known.tokens.size >= ROUNDS && known.vms.size >= ROUNDS)
})

/** Each does one thing and notes it once it is acknowledged; false when the peer is gone. */
async function tokens({ tokens }: Acknowledged): Promise<boolean> {
  if (tokens.size >= TOKENS) return false
  const made = await mesh.try<{ id: string }>(crane, 'token.create', {})
  if (made.ok) tokens.add(made.value.id)
  return made.ok
}

async function vms({ vms }: Acknowledged, turn: string): Promise<boolean> {
  const spec = { name: `vm-${turn}`, memory: '16MiB', disks: [{ image: 'guest' }] }
  const made = await mesh.try<{ id: string }>(crane, 'vm.create', { spec, start: false })
  if (made.ok) vms.add(made.value.id)
  return made.ok
}

async function images({ images }: Acknowledged, turn: string): Promise<boolean> {
  const [name, path] = [`image-${turn}`, join(mesh.folder, `image-${turn}.raw`)]
  writeFileSync(path, randomBytes(IMAGE_BYTES))
  const begun = await mesh.try<{ job: string }>(crane, 'image.import', { name, path })
  if (!begun.ok) return false
  for (;;) {
    const job = await mesh.try<JobView>(crane, 'job.show', { name: begun.value.job })
    if (!job.ok || job.value.state === 'failed') return false
    if (job.value.state !== 'done') continue
    images.set(name, job.value.result['image'] ?? '')
    return true
  }
}

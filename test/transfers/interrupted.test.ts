/**
 * A pull over a slow link that is interrupted again and again, at moments that a seed chooses: both ends are killed, the
 * link is cut, the source stands still. What comes out is the image, byte for byte, and what was verified never crosses again.
 * `GODWIT_SEED=N npm run test:transfers` runs another sequence.
 */
import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import type { StatusView } from '../../node/views.ts'
import { random, type Random } from '../../simulator/random.ts'
import { Mesh, must, type Peer, type Ran, until } from '../e2e/support.ts'
import { type Lab, openLab } from '../lab/lab.ts'
import { findMeans } from '../lab/link.ts'

const MIB = 1024 ** 2
const SEED = Number(process.env['GODWIT_SEED'] ?? 1)
const LINK = { rateMbit: 12, rttMs: 60 }
const IMAGE_MIB = 48
const INTERRUPTIONS = 12
/**
 * What an interruption may cost: a chunk that was cut in the middle, what was on the link and in its queue (100 ms), and the
 * handshakes and maps of the next try.
 */
const COST_BYTES = 256 * 1024 + ((LINK.rttMs + 100) / 1_000) * ((LINK.rateMbit * 1e6) / 8) + 128 * 1024

const means = findMeans()
const LONG = process.env['GODWIT_LONG'] === '1'
if (LONG && means.kind === 'loopback') console.warn(`transfers: tests of real links skipped: ${means.why}`)
const withLink = LONG && means.kind !== 'loopback' ? test.serial : test.serial.skip

withLink('a pull that is killed, cut and stopped again and again sends nothing twice', async (t) => {
  t.timeout(900_000)
  const lab = await openLab({
    ...LINK,
    sites: [
      { name: 'harbour', peers: ['crane'] },
      { name: 'hill', peers: ['mast'] },
      { name: 'isle', peers: ['reef'] },
    ],
  })
  t.teardown(() => lab.close())
  const mesh = new Mesh()
  t.teardown(() => mesh.close())
  const peer = (site: string, name: string): Promise<Peer> =>
    mesh.peer(name, site, { address: lab.address(site, name), prefix: lab.exec(site, name) })
  const [crane, mast, reef] = [
    await peer('harbour', 'crane'),
    await peer('hill', 'mast'),
    await peer('isle', 'reef'),
  ]
  await mesh.form(crane, mast, reef)
  const path = join(mesh.folder, 'disk.raw')
  const dice = random(SEED, 'interruptions')
  writeImage(path, dice)
  must(await mesh.godwit(crane, ['image', 'import', 'disk', path]))

  const quiet = await crossed(lab, 'hill', () =>
    mesh.godwit(mast, ['image', 'pull', 'harbour/disk']).then(must),
  )
  await exported(t, mesh, mast, path)
  // Only one source: what is measured is what the interruptions cost.
  await mesh.end(mast, 'SIGTERM')

  let tries = 0
  let interruptions = 0
  const disturbed = await crossed(lab, 'isle', async () => {
    for (let done = false; !done;) {
      tries += 1
      t.true(tries <= 3 * INTERRUPTIONS, 'it does not come to an end')
      const pull = mesh.godwit(reef, ['image', 'pull', 'harbour/disk', '--from', 'crane', '-o', 'json'])
      const disturbing =
        interruptions < INTERRUPTIONS ? disturb(t, { mesh, lab, crane, reef, dice, pull }) : 0
      const ran = await pull
      interruptions += await disturbing
      t.log(`try ${tries}: exit ${ran.code} ${ran.error?.code ?? ''}`)
      done = ran.code === 0
      if (!done)
        t.regex(ran.error?.code ?? '', /NO_SOURCE|DAEMON|CONNECTION|UNREACHABLE|STOPPING|PEER/, ran.err)
      for (const each of [crane, reef]) if (each.process === undefined) await mesh.up(each)
      await until(
        'reef to see crane',
        async () => (await mesh.ask<StatusView>(reef, 'status')).peersAlive >= 2,
        60_000,
      )
    }
  })
  await exported(t, mesh, reef, path)
  const cost = disturbed - quiet
  t.log(
    `${interruptions} interruptions, ${tries} tries: ${quiet} bytes quiet, ${cost} more, ${Math.round(cost / interruptions)} each`,
  )
  t.true(cost <= interruptions * COST_BYTES, `${cost} bytes more for ${interruptions} interruptions`)
})

type Stage = { mesh: Mesh; lab: Lab; crane: Peer; reef: Peer; dice: Random; pull: Promise<Ran> }

/** One after the other, until the pull ends; how many there were. */
async function disturb(t: ExecutionContext, { mesh, lab, crane, reef, dice, pull }: Stage): Promise<number> {
  const ended = pull.then(() => true)
  for (let count = 0; ; count++) {
    const isOver = await Promise.race([ended, sleep(800 + dice.below(2_500)).then(() => false)])
    if (isOver) return count
    const kind = ['kill the downloader', 'kill the source', 'cut the link', 'stop the source'][dice.below(4)]
    t.log(kind)
    if (kind === 'kill the downloader') {
      await mesh.kill(reef)
      await pull
    } else if (kind === 'kill the source') {
      await mesh.kill(crane)
      await mesh.up(crane)
    } else if (kind === 'cut the link') {
      await lab.down('isle')
      await sleep(500 + dice.below(15_000))
      await lab.up('isle')
    } else {
      crane.process?.kill('SIGSTOP')
      await sleep(500 + dice.below(3_000))
      crane.process?.kill('SIGCONT')
    }
  }
}

/** Bytes that came into the site over its uplink meanwhile. */
async function crossed(lab: Lab, site: string, during: () => Promise<unknown>): Promise<number> {
  const before = (await lab.stats())[site]?.in.bytes ?? 0
  await during()
  return ((await lab.stats())[site]?.in.bytes ?? 0) - before
}

async function exported(t: ExecutionContext, mesh: Mesh, peer: Peer, original: string): Promise<void> {
  const path = join(mesh.folder, `${peer.name}.raw`)
  must(await mesh.godwit(peer, ['image', 'export', 'disk', path]))
  t.is(digest(path), digest(original))
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

/** Content that compresses, content that does not, and holes. */
function writeImage(path: string, dice: Random): void {
  const file = openSync(path, 'w')
  for (let at = 0; at < IMAGE_MIB; at++) {
    const bytes = Buffer.alloc(MIB)
    if (at % 4 === 3) continue
    for (let n = 0; n < MIB; n += 4) bytes.writeUInt32LE(dice.below(at % 4 === 2 ? 256 : 2 ** 32), n)
    writeSync(file, bytes, 0, MIB, at * MIB)
  }
  ftruncateSync(file, IMAGE_MIB * MIB + 4_096)
  closeSync(file)
}

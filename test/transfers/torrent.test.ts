/**
 * The gateway against stock BitTorrent clients, over loopback: each completes from us and we from each, byte for byte, with a
 * peer that is killed in the middle.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import test from 'ava'
import type { ImageView, JobView } from '../../node/views.ts'
import { Mesh, must, type Peer, until } from '../e2e/support.ts'
import { content } from '../migration/gateway/support.ts'
import { aria2, createTorrent, missingClients, openTracker, transmission } from './clients.ts'

const MIB = 1024 ** 2
const IMAGE_BYTES = 64 * MIB + 512
const LONG = process.env['GODWIT_LONG'] === '1'
const missing = LONG ? missingClients() : undefined
if (missing !== undefined) console.warn(`transfers: tests against stock clients skipped: ${missing}`)
const withClients = LONG && missing === undefined ? test.serial : test.serial.skip

const mesh = new Mesh()
let crane: Peer

test.before(async () => {
  if (!LONG) return
  crane = await mesh.peer('crane', 'harbour')
  await mesh.form(crane)
  writeFileSync(join(mesh.folder, 'disk.raw'), content(IMAGE_BYTES, 7))
})
test.after.always(() => mesh.close())

const folder = (name: string): string => {
  const path = join(mesh.folder, name)
  mkdirSync(path, { recursive: true })
  return path
}

async function digest(path: string): Promise<string> {
  const sum = createHash('sha256')
  await pipeline(createReadStream(path), sum)
  return sum.digest('hex')
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

const godwit = (...args: string[]) => mesh.godwit(crane, args).then(must)
const raw = (): string => join(mesh.folder, 'disk.raw')

withClients('aria2 and transmission complete from a peer that is killed in the middle', async (t) => {
  t.timeout(300_000)
  const tracker = await openTracker(t)
  await godwit('image', 'import', 'disk', raw())
  const torrent = join(mesh.folder, 'disk.torrent')
  const listen = `127.0.0.1:${await freePort()}`
  await godwit('image', 'publish', 'disk', '--torrent', torrent, '--listen', listen, '--tracker', tracker.url)
  const [shown] = (await mesh.ask<ImageView[]>(crane, 'image.list')).filter(({ name }) => name === 'disk')
  t.like(shown?.published[0], { address: listen, private: false, trackers: [tracker.url] })

  const [a, b] = [folder('aria2'), folder('transmission')]
  const limit = ['--max-overall-download-limit=8M']
  aria2(t, torrent, { folder: a, home: folder('home-a'), port: await freePort() }, limit)
  transmission(t, torrent, { folder: b, home: folder('home-b'), port: await freePort() }, ['-d', '8000'])
  const uploaded = async (): Promise<number> => {
    const images = await mesh.ask<ImageView[]>(crane, 'image.list')
    return images.find(({ name }) => name === 'disk')?.published[0]?.uploadedBytes ?? 0
  }
  await until('a good part to be fetched', async () => (await uploaded()) > IMAGE_BYTES / 2)
  await mesh.kill(crane)
  await mesh.up(crane)

  const expected = await digest(raw())
  for (const where of [a, b]) {
    const path = join(where, 'disk.raw')
    await until(
      `${where} to be whole`,
      async () => existsSync(path) && !existsSync(`${path}.aria2`) && (await digest(path)) === expected,
      180_000,
    )
  }
  t.true((await uploaded()) > 0, 'it is served again after a restart')
  await godwit('image', 'unpublish', 'disk')
  t.deepEqual((await mesh.ask<ImageView>(crane, 'image.show', { name: 'disk' })).published, [])
})

withClients('an import from aria2 goes on where the peer was killed', async (t) => {
  t.timeout(300_000)
  const torrent = join(mesh.folder, 'from-aria2.torrent')
  const home = folder('aria2-seed')
  execFileSync('cp', [raw(), join(home, 'other.raw')])
  createTorrent(join(home, 'other.raw'), torrent)
  const port = await freePort()
  aria2(t, torrent, { folder: home, home, port }, ['--max-overall-upload-limit=10M'])
  const args = ['image', 'import', 'other', torrent, '--peer', `127.0.0.1:${port}`]
  const { job } = await mesh.ask<{ job: string }>(crane, 'image.import', {
    name: 'other',
    path: torrent,
    peers: [`127.0.0.1:${port}`],
  })
  let doneBytes = 0
  await until('half of it', async () => {
    const now = await mesh.ask<JobView>(crane, 'job.show', { name: job })
    if (now.state === 'failed') throw new Error(now.error)
    ;({ doneBytes } = now)
    return doneBytes > IMAGE_BYTES / 2
  })
  await mesh.kill(crane)
  await mesh.up(crane)

  await godwit(...args)
  const [again] = (await mesh.ask<JobView[]>(crane, 'job.list')).filter(({ kind }) => kind === 'image-import')
  t.log(`${doneBytes} bytes before, ${again?.wireBytes} bytes on the wire after the kill`)
  t.true((again?.wireBytes ?? 0) < IMAGE_BYTES - doneBytes + 2 * MIB)
  const exported = join(mesh.folder, 'other-exported.raw')
  await godwit('image', 'export', 'other', exported)
  t.is(await digest(exported), await digest(raw()))
})

withClients('a qcow2 file in a torrent of several comes from transmission, by its tracker', async (t) => {
  t.timeout(300_000)
  const tracker = await openTracker(t)
  const home = folder('transmission-seed')
  const files = folder('transmission-seed/images')
  writeFileSync(join(files, 'README'), 'which of them?\n')
  execFileSync('qemu-img', ['convert', '-q', '-f', 'raw', '-O', 'qcow2', raw(), join(files, 'disk.qcow2')])
  const torrent = join(mesh.folder, 'several.torrent')
  createTorrent(files, torrent, ['-t', tracker.url])
  transmission(t, torrent, { folder: home, home: folder('home-t'), port: await freePort() })

  const refused = await mesh.godwit(crane, ['image', 'import', 'converted', torrent])
  t.is(refused.code, 2, refused.err)
  t.regex(refused.err, /README/)
  await godwit('image', 'import', 'converted', torrent, '--file', 'disk.qcow2')
  const exported = join(mesh.folder, 'converted.raw')
  await godwit('image', 'export', 'converted', exported)
  t.is(await digest(exported), await digest(raw()))
})

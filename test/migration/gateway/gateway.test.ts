import { readFileSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { encode } from '../../../migration/torrent/bencode.ts'
import { parseListen } from '../../../migration/torrent/gateway.ts'
import { asked } from '../../../storage/images/asked.ts'
import { kernelAddress, listening } from './sockets.ts'
import { content, folderOf, open, type Opened, type Published } from './support.ts'

const raw = content(9_000_448, 1)
/** Run at the end of all tests. */
const later: (() => unknown)[] = []
let seeder: Opened
let image: string
let published: Published

test.before(async (t) => {
  seeder = await open({ teardown: (run) => void later.push(run) })
  const path = join(seeder.folder, 'disk.raw')
  await writeFile(path, raw)
  const before = listening()
  const manifest = await seeder.image(path)
  published = await seeder.publish(manifest, 'disk.raw')
  image = manifest.image
  const port = Number(published.address.split(':')[1])
  // That one socket, on that one address: nothing else listens, over TCP or UDP.
  t.deepEqual(listening(), [...before, kernelAddress(port)].sort())
  t.notRegex(readFileSync('/proc/self/maps', 'utf8'), /datachannel|utp/, 'native code that nobody asked for')
})

test('an image that one peer publishes is imported by another, byte for byte', async (t) => {
  const other = await open(t)
  const seen: number[] = []
  const sockets: string[] = []
  const before = listening()
  const { manifest, newBytes, dataBytes } = await other.fetch(
    { source: published.torrent, peers: [published.address] },
    ({ doneBytes }) => {
      seen.push(doneBytes)
      sockets.push(...listening().filter((each) => !before.includes(each)))
    },
  )
  t.is(manifest.image, image)
  t.is(newBytes, dataBytes)
  t.true(raw.equals(await readFile(await other.bytes(manifest))))
  t.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  )
  t.deepEqual(sockets, [], 'an import listens nowhere')
  t.deepEqual(await readdir(join(other.folder, 'gateway', 'coming')), [])
})

test('a magnet link is enough, and what was here when a peer died is not fetched again', async (t) => {
  const folder = await folderOf(t)
  const source = `magnet:?xt=urn:btih:${published.infoHash}&x.pe=${published.address}`
  const killed = await open(t, folder)
  let doneBytes = 0
  const half = new Promise<void>((resolve) => {
    killed
      .fetch({ source }, (figures) => {
        ;({ doneBytes } = figures)
        if (doneBytes > raw.length / 2) resolve()
      })
      .catch(() => {})
  })
  await half
  await killed.close()

  const again = await open(t, folder)
  let wireBytes = 0
  let first: number | undefined
  const { manifest } = await again.fetch({ source }, (figures) => {
    wireBytes = figures.wireBytes
    if (figures.totalBytes > 0) first ??= figures.doneBytes
  })
  t.is(manifest.image, image)
  t.true((first ?? 0) >= doneBytes - 262_144, `${first} of ${doneBytes}`)
  t.true(wireBytes < raw.length - (first ?? 0) + 500_000, `${wireBytes} bytes for what was missing`)
})

test('a torrent with more than one file asks which; nothing is asked of nobody', async (t) => {
  const other = await open(t)
  const info = {
    name: 'images',
    'piece length': 16_384,
    pieces: new Uint8Array(40),
    files: [
      { length: 16_384, path: ['a.raw'] },
      { length: 512, path: ['b', 'c.raw'] },
    ],
  }
  const source = join(other.folder, 'two.torrent')
  await writeFile(source, encode({ info }))
  const ask = (file: string) => other.fetch({ source, file, peers: ['127.0.0.1:1'] })
  const choices = ['a.raw', 'b/c.raw']
  t.like(await t.throwsAsync(ask('')), { failure: { code: 'FILE_UNCHOSEN', choices } })
  t.like(await t.throwsAsync(ask('d.raw')), { failure: { code: 'FILE_UNCHOSEN', wanted: 'd.raw', choices } })
  const alone = other.fetch({ source: `magnet:?xt=urn:btih:${'0'.repeat(40)}` })
  t.like(await t.throwsAsync(alone), { failure: { code: 'USAGE' } })
  await writeFile(source, 'l-3:e')
  t.like(await t.throwsAsync(ask('')), { failure: { code: 'IMAGE_INVALID' } })
})

const message = (id: number, body: Uint8Array): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length + 1)
  head.writeUInt8(id, 4)
  return Buffer.concat([head, body])
}

const HANG_UP_MS = 15_000
const INTERESTED = message(2, Buffer.alloc(0))
const UNCHOKED = message(1, Buffer.alloc(0))

/**
 * A client of a few lines: shakes hands, waits until it is unchoked, and sends whatever bytes. Whether the other end then
 * hangs up in HANG_UP_MS, or goes on with it.
 */
async function attack(bytes: Uint8Array): Promise<'hung up' | 'goes on'> {
  const [host = '', port] = published.address.split(':')
  const socket = connect(Number(port), host)
  socket.on('error', () => {})
  const reserved = Buffer.from([0, 0, 0, 0, 0, 0x10, 0, 0x04])
  const hello = [
    Buffer.from('\x13BitTorrent protocol', 'latin1'),
    reserved,
    Buffer.from(published.infoHash, 'hex'),
  ]
  socket.write(Buffer.concat([...hello, Buffer.from('-XX0000-abcdefghijkl')]))
  const ended = Promise.withResolvers<'hung up' | 'goes on'>()
  socket.on('close', () => ended.resolve('hung up'))
  const timer = setTimeout(() => ended.resolve('goes on'), HANG_UP_MS)
  let heard = Buffer.alloc(0)
  let sent = false
  socket.on('data', (some: Buffer) => {
    if (heard.length === 0) socket.write(INTERESTED)
    if (sent) return
    heard = Buffer.concat([heard, some])
    if (!heard.includes(UNCHOKED)) return
    sent = true
    socket.write(bytes)
  })
  const end = await ended.promise
  clearTimeout(timer)
  socket.destroy()
  return end
}

test('strangers that send what would hang or fill a peer cost a connection', async (t) => {
  const request = Buffer.alloc(12)
  request.writeUInt32BE(16_384, 8)
  const ends = await Promise.all([
    // A message of 4 GiB.
    attack(Buffer.concat([Buffer.from('ffffffff', 'hex'), Buffer.alloc(65_536)])),
    // 1 GiB of answers.
    attack(Buffer.concat(Array.from({ length: 65_536 }, () => message(6, request)))),
  ])
  t.deepEqual(ends, ['hung up', 'hung up'])
  // Read for ever by the decoder that webtorrent brings: others are served all the same.
  void attack(message(20, Buffer.from('\0l-3:e', 'latin1')))
  const other = await open(t)
  const { manifest } = await other.fetch({ source: published.torrent, peers: [published.address] })
  t.is(manifest.image, image)
  const [now] = await asked<{ address: string }[]>((done) => seeder.gateway.served(done))
  t.is(now?.address, published.address)
})

test('an address to listen on is an address', (t) => {
  t.deepEqual(parseListen('127.0.0.1:0'), { host: '127.0.0.1', port: 0 })
  t.deepEqual(parseListen('[::1]:6881'), { host: '::1', port: 6_881 })
  for (const bad of [
    '6881',
    ':6881',
    '*:6881',
    'localhost:6881',
    '127.0.0.1',
    '1.2.3.4:99999',
    '999.1.1.1:1',
    '',
  ])
    t.is(parseListen(bad), undefined, bad)
})

test.after.always('what is not published any more is not listened on', async (t) => {
  await asked<void>((done) => seeder.gateway.unserve(published.infoHash, done))
  const port = Number(published.address.split(':')[1])
  t.false(listening().includes(kernelAddress(port)))
  for (const run of later.toReversed()) await run()
})

/** One end of webtorrent over plain TCP on loopback, every way of finding peers off, pieces of 256 KiB. */
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import WebTorrent from 'webtorrent'
import { cpuMeter, say, untilTold } from '../child.ts'

const PIECE_BYTES = 256 * 1024
const ALONE = {
  dht: false,
  tracker: false,
  lsd: false,
  utPex: false,
  natUpnp: false,
  natPmp: false,
  utp: false,
  webSeeds: false,
}

/** What is used of it; it has no types of its own. */
type Torrent = {
  readonly torrentFile: Uint8Array
  readonly received: number
  readonly length: number
  addPeer(address: string): void
  on(event: 'done', handler: () => void): void
  on(event: 'error', handler: (error: Error) => void): void
}
type Client = {
  readonly torrentPort: number
  seed(file: string, options: object, ready: (torrent: Torrent) => void): void
  add(torrentFile: Uint8Array, options: object, ready: (torrent: Torrent) => void): void
  on(event: 'error', handler: (error: Error) => void): void
  destroy(done: () => void): void
}

const client = new (WebTorrent as unknown as new (options: object) => Client)(ALONE)
client.on('error', (error) => {
  throw error
})

async function seed(file: string): Promise<void> {
  const torrent = await new Promise<Torrent>((resolve) =>
    client.seed(file, { announce: [], announceList: [], pieceLength: PIECE_BYTES }, resolve),
  )
  const cpu = cpuMeter()
  // By file: that of 2 GiB is too long for an argument.
  const path = `${file}.torrent`
  await writeFile(path, torrent.torrentFile)
  say({ port: client.torrentPort, torrent: path })
  await untilTold()
  say({ cpu: cpu() })
  client.destroy(() => process.exit())
}

async function leech(folder: string, hello: string, strategy: string): Promise<void> {
  const { port, torrent: file } = JSON.parse(hello) as { port: number; torrent: string }
  const metainfo = await readFile(file)
  const torrent = await new Promise<Torrent>((resolve) =>
    client.add(metainfo, { path: folder, announce: [], strategy }, resolve),
  )
  const cpu = cpuMeter()
  const startedMs = performance.now()
  torrent.addPeer(`127.0.0.1:${port}`)
  await new Promise<void>((resolve) => torrent.on('done', resolve))
  const copied = await open(join(folder, 'data.raw'), 'r+')
  await copied.sync()
  await copied.close()
  say({ ms: performance.now() - startedMs, cpu: cpu(), bytes: torrent.length, wire: torrent.received })
  client.destroy(() => process.exit())
}

const [role, first = '', second = '', , , strategy = ''] = process.argv.slice(2)
await (role === 'seed' ? seed(first) : leech(first, second, strategy))

/** One end of transfer-loopback: the swarm on the real network and disk. */
import { join } from 'node:path'
import { openSwarm } from '../../../migration/swarm/swarm.ts'
import { openNetwork } from '../../../protocols/libp2p/node.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import { importImage } from '../../../storage/files/ingest.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import { cpuMeter, say, untilTold } from '../child.ts'
import { clock, MESH, reader, valueOf } from './ports.ts'

const SECOND_MS = 1_000

async function openPeer(folder: string, key: string, how: string) {
  const privateKey = Buffer.from(key, 'hex')
  const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
  const manifests = valueOf(await openManifestStore(join(folder, 'manifests')))
  const network = await openNetwork({
    privateKey,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    meshId: MESH,
    mdns: false,
    ...(how === 'streams' && { bulkListen: [] }),
    peers: new Map(),
    log: () => {},
  })
  const { transport, directory } = network
  const close = async (): Promise<void> => {
    await network.close()
    await chunks.close()
  }
  return { chunks, manifests, transport, directory, close }
}

async function seed(file: string, folder: string, key: string, leecher: string): Promise<void> {
  const peer = await openPeer(folder, key, how)
  const { manifest } = valueOf(await importImage({ path: file, format: 'raw' }, reader, peer))
  const swarm = openSwarm({ ...peer, clock, dice: Math.random })
  peer.transport.allow(new Map([[leecher, []]]))
  const cpu = cpuMeter()
  say({ addresses: peer.transport.addresses(), image: manifest.image })
  await untilTold()
  say({ cpu: cpu() })
  swarm.stop()
  await peer.close()
  process.exit()
}

async function leech(folder: string, hello: string, key: string, seeder: string): Promise<void> {
  const { addresses, image } = JSON.parse(hello) as { addresses: string[]; image: string }
  const peer = await openPeer(folder, key, how)
  const swarm = openSwarm({ ...peer, clock, dice: Math.random })
  peer.transport.allow(new Map([[seeder, addresses]]))
  await connected(() => peer.transport.connected().length > 0)
  const cpu = cpuMeter()
  const startedMs = performance.now()
  swarm.download({
    image,
    sources: [seeder],
    near: () => true,
    onProgress: () => {},
    done(outcome) {
      const ms = performance.now() - startedMs
      const { report } = valueOf(outcome)
      say({
        ms,
        cpu: cpu(),
        bytes: report.dedupBytes,
        wire: report.wireBytes,
        duplicates: report.duplicateBytes,
      })
      swarm.stop()
      void peer.close().finally(() => process.exit())
    },
  })
}

async function connected(is: () => boolean): Promise<void> {
  const deadline = performance.now() + 20 * SECOND_MS
  while (!is()) {
    if (performance.now() > deadline) throw new Error('the seeder does not answer')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const [role = '', ...args] = process.argv.slice(2)
const [first = '', second = '', key = '', other = '', how = ''] = args
await (role === 'seed' ? seed(first, second, key, other) : leech(first, second, key, other))

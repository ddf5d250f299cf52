/**
 * One peer of transfer-bytes, on the real network and disk: `FOLDER KEY ADDRESS FILE…`. It holds the images of those files, the
 * last of which it names, and their block lists. A line of JSON on its input says who else is there and, to the one that
 * downloads, what and from whom; it says how that went; the end of its input ends it.
 */
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openSwarm } from '../../../migration/swarm/swarm.ts'
import { CHUNK_BYTES } from '../../../protocols/limits.ts'
import { openBlockLists } from '../../../storage/files/block-list-store.ts'
import { blockWork } from '../../../storage/files/block-work.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import { importImage } from '../../../storage/files/ingest.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import { asked } from '../../../storage/images/asked.ts'
import { cpuMeter, say } from '../child.ts'
import { clock, networkAt, reader, valueOf } from '../loopback/ports.ts'

export type Orders = {
  readonly peers: Readonly<Record<string, readonly string[]>>
  readonly image?: string
  readonly sources?: readonly string[]
}

const [folder = '', key = '', address = '', ...held] = process.argv.slice(2)
const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
const manifests = valueOf(await openManifestStore(join(folder, 'manifests')))
const lists = valueOf(await openBlockLists(join(folder, 'manifests')))
let image = ''
for (const path of held) {
  const draft = lists.draft(CHUNK_BYTES)
  const onFingerprints = (index: number, list: Uint8Array): void => draft.set(index, list)
  const imported = await importImage(
    { path, format: 'raw' },
    reader,
    { chunks, manifests },
    { onFingerprints },
  )
  const { manifest } = valueOf(imported)
  await asked<void>((done) => draft.finish(manifest, done))
  image = manifest.image
}
const network = await networkAt(address, key)
const { transport, directory } = network
const swarm = openSwarm({
  transport,
  directory,
  chunks,
  manifests,
  blocks: { lists, work: blockWork },
  clock,
  dice: Math.random,
})
const cpu = cpuMeter()
say({ peer: transport.self, addresses: transport.addresses(), image })

const lines = createInterface(process.stdin)
lines.on('line', (line) => {
  const { peers, image: wanted, sources = [] } = JSON.parse(line) as Orders
  const others = Object.entries(peers).filter(([peer]) => peer !== transport.self)
  transport.allow(new Map(others.map(([peer, addresses]) => [peer, [...addresses]])))
  if (wanted === undefined) return
  const startedMs = performance.now()
  swarm.download({
    image: wanted,
    sources,
    near: () => false,
    onProgress: () => {},
    done(outcome) {
      const { wireBytes, compressedBytes, dedupBytes, matchedBytes, duplicateBytes } = valueOf(outcome).report
      const ms = performance.now() - startedMs
      say({ ms, wireBytes, compressedBytes, dedupBytes, matchedBytes, duplicateBytes })
    },
  })
})
lines.on('close', () => {
  say({ cpu: cpu(), rssBytes: process.resourceUsage().maxRSS * 1024 })
  swarm.stop()
  void network
    .close()
    .then(() => chunks.close())
    .finally(() => process.exit())
})

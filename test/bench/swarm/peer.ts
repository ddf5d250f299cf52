/**
 * One peer of the swarm benchmarks, on the real network and disk: `FOLDER KEY ADDRESS [FILE SHARE]`. With a file it holds that
 * image, or the first SHARE of its chunks. It says where it is; a line of JSON on its input says who else is there and, to
 * one that downloads, what; it says how that went; the end of its input ends it.
 */
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openSwarm } from '../../../migration/swarm/swarm.ts'
import type { ChunkStore } from '../../../storage/images/chunk-store.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import { importImage } from '../../../storage/files/ingest.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import { cpuMeter, say } from '../child.ts'
import { clock, networkAt, reader, valueOf } from '../loopback/ports.ts'

export type Orders = {
  readonly peers: Readonly<Record<string, { readonly addresses: readonly string[]; readonly site: string }>>
  readonly site: string
  /** What to download, and from whom first. */
  readonly image?: string
  readonly sources?: readonly string[]
}

const [folder = '', key = '', address = '', file] = process.argv.slice(2)
const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
const manifests = valueOf(await openManifestStore(join(folder, 'manifests')))
const image =
  file === undefined
    ? undefined
    : valueOf(await importImage({ path: file, format: 'raw' }, reader, { chunks, manifests })).manifest.image
const network = await networkAt(address, key)
const { transport, directory } = network
let servedBytes = 0
const counted: ChunkStore = {
  has: (ids, done) => chunks.has(ids, done),
  sizes: (ids, done) => chunks.sizes(ids, done),
  bytes: () => chunks.bytes(),
  write: (id, frame, bytes, done) => chunks.write(id, frame, bytes, done),
  put: (packed, done) => chunks.put(packed, done),
  sync: (done) => chunks.sync(done),
  hold: () => chunks.hold(),
  collect: (collection, done) => chunks.collect(collection, done),
  scrub: (scrub, done) => chunks.scrub(scrub, done),
  read: (id, done) =>
    chunks.read(id, (outcome) => {
      if (outcome.ok) servedBytes += outcome.value.length
      done(outcome)
    }),
}
/** Says so once this peer is connected to as many: those of one mesh are, before one asks another for anything. */
function meet(others: number): void {
  let met = false
  const look = (): void => {
    if (met || transport.connected().length < others) return
    met = true
    cpu = cpuMeter()
    say({ connected: others })
  }
  transport.watch(look)
  look()
}
let sites: Orders['peers'] = {}
const swarm = openSwarm({
  transport,
  directory,
  chunks: counted,
  manifests,
  clock,
  dice: Math.random,
  siteOf: (peer) => sites[peer]?.site,
})
let cpu = cpuMeter()
say({ peer: transport.self, addresses: transport.addresses(), image: image ?? '' })

const lines = createInterface(process.stdin)
lines.on('line', (line) => {
  const { peers, site, image: wanted, sources = [] } = JSON.parse(line) as Orders
  sites = peers
  const others = Object.entries(peers).filter(([peer]) => peer !== transport.self)
  transport.allow(new Map(others.map(([peer, { addresses }]) => [peer, [...addresses]])))
  if (wanted === undefined) return meet(others.length)
  const startedMs = performance.now()
  swarm.download({
    image: wanted,
    sources,
    near: (peer) => peers[peer]?.site === site,
    onProgress: () => {},
    done(outcome) {
      const { report } = valueOf(outcome)
      const { compressedBytes, duplicateBytes, sources: count } = report
      say({ ms: performance.now() - startedMs, compressedBytes, duplicateBytes, sources: count })
    },
  })
})
lines.on('close', () => {
  say({ cpu: cpu(), servedBytes })
  swarm.stop()
  void network
    .close()
    .then(() => chunks.close())
    .finally(() => process.exit())
})

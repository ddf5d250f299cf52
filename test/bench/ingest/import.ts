/** The process of the ingest benchmark: takes one image into new stores, and says what it cost. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { imageFiles } from '../../../node/image-file-port.ts'
import { qemuImageReader } from '../../../node/qemu/images.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { openBlockLists } from '../../../storage/files/block-list-store.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import type { Ingested } from '../../../storage/files/ingest.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import { cpuMeter, say } from '../child.ts'

const [path = '', format = '', folder = ''] = process.argv.slice(2)

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}

const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
const manifests = valueOf(await openManifestStore(join(folder, 'manifests')))
const lists = valueOf(await openBlockLists(join(folder, 'manifests')))
const scratch = join(folder, 'scratch')
await mkdir(scratch)
const idleBytes = process.memoryUsage.rss()
const cpu = cpuMeter()
const startedMs = performance.now()
// As a peer does, with the list of blocks that the second level needs.
const files = imageFiles(qemuImageReader(scratch), { chunks, manifests }, lists)
const { dataBytes, newBytes, manifest } = valueOf(
  await new Promise<Outcome<Ingested>>((done) =>
    files.import(path, format as 'raw' | 'qcow2', () => {}, done),
  ),
)
const ms = performance.now() - startedMs
// The kernel's own high-water mark, in KiB: nothing is missed between samples.
const aboveIdle = process.resourceUsage().maxRSS * 1024 - idleBytes
say({ ms, cpu: cpu(), dataBytes, newBytes, aboveIdle, image: manifest.image })
await chunks.close()

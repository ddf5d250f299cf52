/** A gateway on a chunk store of its own, in a folder that goes away with the test. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { PieceHashes } from '../../../migration/gateway/piece-hashes.ts'
import { openGateway } from '../../../migration/gateway/gateway.ts'
import type { FetchFigures, FetchTerms, Fetched, Gateway } from '../../../migration/torrent/gateway.ts'
import { buildMetainfo, parseMetainfo, pieceBytesFor } from '../../../migration/torrent/metainfo.ts'
import { imageFiles } from '../../../node/image-file-port.ts'
import { qemuImageReader } from '../../../node/qemu/images.ts'
import { openBlockLists } from '../../../storage/files/block-list-store.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import { materialise } from '../../../storage/files/export.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import { asked } from '../../../storage/images/asked.ts'
import type { Manifest } from '../../../storage/images/manifest.ts'
import { GodwitError } from '../../../protocols/errors.ts'
import type { Outcome } from '../../../protocols/outcome.ts'

export const folderOf = async (t: Pick<ExecutionContext, 'teardown'>): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'godwit-gateway-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export const valueOf = <T>(outcome: Outcome<T>): T => {
  if (!outcome.ok) throw new GodwitError(outcome.failure)
  return outcome.value
}

const LOOPBACK = { host: '127.0.0.1', port: 0 }
const TERMS: FetchTerms = {
  source: '',
  format: 'auto',
  file: '',
  peers: [],
  dht: false,
  checksum: '',
}

export type Opened = {
  readonly gateway: Gateway
  readonly folder: string
  /** Imports a raw or qcow2 file of this host. */
  readonly image: (path: string) => Promise<Manifest>
  /** The .torrent of an image, served on loopback. */
  readonly publish: (manifest: Manifest, name: string) => Promise<Published>
  readonly fetch: (
    terms: Partial<FetchTerms>,
    onProgress?: (figures: FetchFigures) => void,
  ) => Promise<Fetched>
  /** A file with the disk's bytes. */
  readonly bytes: (manifest: Manifest) => Promise<string>
  readonly close: () => Promise<void>
}
export type Published = { readonly torrent: string; readonly address: string; readonly infoHash: string }

export async function open(t: Pick<ExecutionContext, 'teardown'>, place?: string): Promise<Opened> {
  const folder = place ?? (await folderOf(t))
  const chunks = valueOf(await openChunkStore(join(folder, 'store')))
  const manifests = valueOf(await openManifestStore(join(folder, 'manifests')))
  const lists = valueOf(await openBlockLists(join(folder, 'manifests')))
  const pieces = await PieceHashes.open(join(folder, 'gateway', 'published'), manifests.list())
  const images = imageFiles(qemuImageReader(folder), { chunks, manifests }, lists, pieces)
  const gateway = await openGateway(join(folder, 'gateway'), {
    chunks,
    manifests,
    pieces,
    importFile: (...file) => images.import(...file),
  })
  let closed = false
  const close = async (): Promise<void> => {
    if (closed) return
    closed = true
    await gateway.close()
    await chunks.close()
  }
  t.teardown(close)
  return {
    gateway,
    folder,
    close,
    image: async (path) =>
      (await asked<Fetched>((done) => images.import(path, 'auto', () => {}, done))).manifest,
    async publish(manifest, name) {
      const pieceBytes = pieceBytesFor(manifest.bytes)
      const pieces = await asked<Uint8Array>((done) => gateway.hash(manifest, pieceBytes, () => {}, done))
      const { bytes } = manifest
      const torrent = buildMetainfo({ name, bytes, pieceBytes, pieces, private: false, trackers: [] })
      const { infoHash } = parseMetainfo(torrent)
      const { address } = await asked<{ address: string }>((done) =>
        gateway.serve({ manifest, torrent, listen: LOOPBACK }, done),
      )
      const path = join(folder, `${name}.torrent`)
      await writeFile(path, torrent)
      return { torrent: path, address, infoHash }
    },
    fetch: (terms, onProgress = () => {}) =>
      asked((done) => gateway.fetch({ ...TERMS, ...terms }, onProgress, done)),
    async bytes(manifest) {
      const path = join(folder, 'exported.raw')
      valueOf(await materialise(manifest, chunks, path))
      return path
    },
  }
}

/** Bytes that differ from place to place, with holes of zeros. */
export function content(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed + 1
  for (let at = 0; at + 4 <= length; at += 4) {
    if ((at >> 19) % 3 === 2) continue
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes.writeUInt32LE(state, at)
  }
  return bytes
}

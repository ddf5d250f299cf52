/**
 * A thread of the gateway: what strangers send is read, hashed and packed here, and nowhere else in the peer. It asks the
 * peer for chunks (link.ts) and is told what to do by gateway.ts, which ends it when it hangs.
 */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { parentPort } from 'node:worker_threads'
import { GodwitError } from '../../protocols/errors.ts'
import { TORRENT_BYTES_MAX } from '../../protocols/limits.ts'
import { unpackSync } from '../../storage/images/chunk-content.ts'
import { chunkCount, chunkLength } from '../../storage/images/manifest.ts'
import { parseMagnet } from '../torrent/magnet.ts'
import { SHA1_BYTES } from '../torrent/metainfo.ts'
import { sourceKind } from '../torrent/source.ts'
import { type Figures, fetchTorrent, type TorrentRequest } from './fetch-torrent.ts'
import { fetchUrl } from './fetch-url.ts'
import type { Arrived } from './intake.ts'
import { Link } from './link.ts'
import { Seeder, type Seeding } from './seed.ts'

/** What is asked of an import's thread. */
export type Fetch = Omit<TorrentRequest, 'from'>
/** What is asked of the thread that hashes the pieces of an image. */
export type Hash = {
  readonly image: string
  readonly bytes: number
  readonly chunkBytes: number
  readonly pieceBytes: number
}

const port = parentPort
assert(port !== null, 'runs as a worker thread')

const link: Link = new Link(port, {
  ping: () => ({}),
  fetch: async (request: Fetch) => {
    const arrived = await fetchAny(request)
    return { value: arrived, transfer: [arrived.hashes.buffer] }
  },
  hash: async (request: Hash) => {
    const pieces = await hashPieces(request)
    return { value: pieces, transfer: [pieces.buffer as ArrayBuffer] }
  },
  seed: async (seeding: Seeding) => ({ value: await seeder.add(seeding) }),
  unseed: async (infoHash: string) => {
    await seeder.remove(infoHash)
    return {}
  },
  figures: () => ({ value: seeder.figures() }),
})
const seeder = new Seeder(link)

const report = (figures: Figures): void => void link.ask('progress', figures).catch(() => {})

async function fetchAny(request: Fetch): Promise<Arrived> {
  const { source } = request
  switch (sourceKind(source)) {
    case 'magnet': {
      const magnet = parseMagnet(source)
      // The link may be long, and is what its hash says.
      const named = { ...request, source: `torrent ${magnet.infoHash}` }
      return fetchTorrent({ ...named, from: { magnet } }, link, report)
    }
    case 'url': {
      const found = await fetchUrl(request, link, report)
      return 'torrent' in found ? fetchTorrent({ ...request, from: found }, link, report) : found
    }
    default:
      return fetchTorrent({ ...request, from: { torrent: await readTorrent(source) } }, link, report)
  }
}

async function readTorrent(path: string): Promise<Uint8Array> {
  const found = await stat(path)
  if (!found.isFile() || found.size > TORRENT_BYTES_MAX)
    throw new GodwitError({
      code: 'IMAGE_INVALID',
      path,
      why: `it is no file of at most ${TORRENT_BYTES_MAX} bytes`,
    })
  return readFile(path)
}

/** SHA-1 of each piece: of whole chunks, the last of what is left. */
async function hashPieces({ image, bytes, chunkBytes, pieceBytes }: Hash): Promise<Uint8Array> {
  const count = Math.ceil(bytes / pieceBytes)
  const pieces = new Uint8Array(count * SHA1_BYTES)
  const perPiece = pieceBytes / chunkBytes
  const chunks = chunkCount({ bytes, chunkBytes })
  const ask = (index: number): Promise<Uint8Array> =>
    index < chunks
      ? contentOf(image, index, chunkLength({ bytes, chunkBytes }, index))
      : Promise.resolve(new Uint8Array())
  // The next is read while one is hashed.
  let next = ask(0)
  for (let piece = 0; piece < count; piece++) {
    const parts: Uint8Array[] = []
    for (let i = 0; i < perPiece; i++) {
      parts.push(await next)
      next = ask(piece * perPiece + i + 1)
      next.catch(() => {})
    }
    pieces.set(
      hash('sha1', parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts), 'buffer'),
      piece * SHA1_BYTES,
    )
    if (piece % 64 === 0)
      report({ phase: 'hashing', doneBytes: piece * pieceBytes, totalBytes: bytes, wireBytes: 0, sources: 0 })
  }
  return pieces
}

async function contentOf(image: string, index: number, length: number): Promise<Uint8Array> {
  const chunk = await link.ask<{ id: string; frame: Uint8Array } | undefined>('chunk', { image, index })
  if (chunk === undefined) return new Uint8Array(length)
  const content = unpackSync(chunk.id, chunk.frame, length)
  if (content === undefined)
    throw new GodwitError({ code: 'CHUNK_CORRUPT', chunk: chunk.id, from: 'the disk' })
  return content
}

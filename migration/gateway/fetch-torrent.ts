/**
 * An image from a swarm of BitTorrent clients, through webtorrent: its metadata when only its hash is known, the file that is
 * meant, its chunks in a moving window (window.ts), each piece checked against its hash by webtorrent before it is taken.
 *
 *   asking for metadata ──▶ first chunk ──▶ the rest, window by window ──▶ whole
 *            └─ METADATA_MS ─▶ silent          └──── SILENCE_MS without a new chunk ────▶ silent
 */
import { join } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import {
  CHUNK_BYTES,
  OUTSIDE_SILENCE_MS,
  OUTSIDE_WINDOW_BYTES,
  TORRENT_METADATA_MS,
} from '../../protocols/limits.ts'
import { Assembly, chunksOf, type Placed, piecesOf } from '../torrent/assembly.ts'
import type { Magnet } from '../torrent/magnet.ts'
import { chooseFile, type Metainfo, parseMetainfo, pieceCount } from '../torrent/metainfo.ts'
import { askNext } from '../torrent/window.ts'
import { closeClient, openClient, type Torrent, type TorrentOptions } from '../webtorrent/client.ts'
import { type Arrived, Intake, type Wanted } from './intake.ts'
import type { Link } from './link.ts'
import { openPieceStore, readChunks } from './piece-store.ts'

export type TorrentRequest = Wanted & {
  /** For people. */
  readonly source: string
  readonly from: { readonly torrent: Uint8Array } | { readonly magnet: Magnet }
  /** Path, end of a path or number of the file that is meant; empty: there is one only. */
  readonly file: string
  /** Peers that an operator named, `address:port`. */
  readonly peers: readonly string[]
  readonly dht: boolean
  /** For imports that are not over. */
  readonly folder: string
}

export type Figures = {
  readonly phase: string
  readonly doneBytes: number
  readonly totalBytes: number
  readonly wireBytes: number
  readonly sources: number
}

export type Report = (figures: Figures) => void

/** How often it is looked at what can be asked for, and peers that an operator named are tried again. */
const LOOK_MS = 250
const DIAL_MS = 5_000
/** Of others that fetch the same. */
const UPLOADS = 8

export async function fetchTorrent(request: TorrentRequest, link: Link, report: Report): Promise<Arrived> {
  const { from, source } = request
  const named = 'magnet' in from ? from.magnet : parseMetainfo(from.torrent, source)
  const peers = [...new Set([...request.peers, ...('peers' in named ? named.peers : [])])]
  if (named.trackers.length === 0 && peers.length === 0 && !request.dht)
    throw new GodwitError({
      code: 'USAGE',
      why: `${source} names no tracker and no peer to ask`,
      next: 'add --peer ADDRESS:PORT, or --dht to ask the public DHT',
    })
  const broken = Promise.withResolvers<never>()
  broken.promise.catch(() => {})
  const client = await openClient(undefined, request.dht, broken.reject)
  const fetching = new Fetching(request, link, report)
  try {
    const options = await fetching.options(named)
    const { infoHash, trackers } = named
    const torrent = client.add('torrent' in from ? from.torrent : { infoHash, announce: trackers }, options)
    torrent.on('error', broken.reject)
    return await Promise.race([fetching.run(torrent, peers), broken.promise])
  } finally {
    fetching.stop()
    await closeClient(client)
    await fetching.close()
  }
}

class Fetching {
  readonly #request: TorrentRequest
  readonly #link: Link
  readonly #report: Report
  readonly #ended = Promise.withResolvers<void>()
  readonly #asked = new Set<number>()
  #torrent: Torrent | undefined
  #placed: Placed | undefined
  #intake: Intake | undefined
  #assembly: Assembly | undefined
  #selected = new Uint8Array()
  #timers: NodeJS.Timeout[] = []
  #first = 0
  #newsMs = performance.now()
  #doneBytes = 0

  constructor(request: TorrentRequest, link: Link, report: Report) {
    this.#request = request
    this.#link = link
    this.#report = report
    this.#ended.promise.catch(() => {})
  }

  /** With a bitfield of what is here already, when it is known what the torrent holds. */
  async options(named: Magnet | Metainfo): Promise<TorrentOptions> {
    const store = openPieceStore({
      put: (piece, content) => this.#put(piece, content),
      read: (start, length) => this.#read(start, length),
      pieceBytes: () => this.#placed?.pieceBytes ?? CHUNK_BYTES,
    })
    const options = {
      preloadedStore: store,
      storeCacheSlots: 0,
      deselect: true,
      announce: [],
      strategy: 'sequential',
      uploads: UPLOADS,
    } as const
    return 'pieces' in named ? { ...options, bitfield: await this.#begin(named) } : options
  }

  async run(torrent: Torrent, peers: readonly string[]): Promise<Arrived> {
    this.#torrent = torrent
    if (this.#intake === undefined) this.#intercept(torrent)
    const dial = (): void => {
      if (!torrent.destroyed) for (const peer of peers) torrent.addPeer(peer)
    }
    torrent.once('infoHash', dial)
    this.#timers.push(
      setInterval(dial, DIAL_MS),
      setInterval(() => this.#look(), LOOK_MS),
    )
    this.#look()
    await this.#ended.promise
    return (this.#intake as Intake).finish((doneBytes) => this.#tell('checking', doneBytes))
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
  }

  async close(): Promise<void> {
    await this.#intake?.close()
  }

  /** What a peer sent as metadata has the right hash; it is read as a .torrent is before webtorrent makes anything of it. */
  #intercept(torrent: Torrent): void {
    const onMetadata = torrent._onMetadata.bind(torrent)
    let taken = false
    torrent._onMetadata = (metadata) => {
      if (taken || !(metadata instanceof Uint8Array)) return
      taken = true
      this.#begin(metadata).then(
        (bitfield) => {
          torrent._startupBitfield = bitfield
          onMetadata(metadata)
        },
        (error: unknown) => this.#ended.reject(error),
      )
    }
  }

  /** What of it is here already, as a bitfield. */
  async #begin(torrent: Uint8Array | Metainfo): Promise<Uint8Array> {
    const request = this.#request
    const metainfo = torrent instanceof Uint8Array ? parseMetainfo(torrent, request.source) : torrent
    const file = this.#chosen(metainfo)
    const { pieceBytes, bytes: torrentBytes, infoHash } = metainfo
    const placed: Placed = { offset: file.offset, bytes: file.bytes, pieceBytes, torrentBytes }
    const folder = join(request.folder, `${infoHash}-${file.offset}`)
    const intake = await Intake.open(request.source, folder, file.bytes, request, this.#link)
    this.#placed = placed
    this.#assembly = new Assembly(placed)
    const pieces = pieceCount(metainfo)
    this.#selected = new Uint8Array(pieces)
    const bitfield = new Uint8Array(Math.ceil(pieces / 8))
    for (let piece = 0; piece < pieces; piece++)
      if (isServable(placed, piece, intake))
        bitfield[piece >> 3] = (bitfield[piece >> 3] ?? 0) | (0x80 >> (piece & 7))
    this.#intake = intake
    this.#newsMs = performance.now()
    return bitfield
  }

  #chosen({ files }: Metainfo): Metainfo['files'][number] {
    const { file, source } = this.#request
    const chosen = chooseFile(files, file === '' ? undefined : file)
    if (chosen !== undefined) return chosen
    throw new GodwitError({
      code: 'FILE_UNCHOSEN',
      source,
      wanted: file,
      choices: files.slice(0, LISTED_MAX).map(({ path }) => path),
      more: Math.max(0, files.length - LISTED_MAX),
    })
  }

  #look(): void {
    const intake = this.#intake
    if (intake?.isWhole === true) return this.#ended.resolve()
    this.#tell(intake === undefined ? 'asking for metadata' : 'fetching', intake?.doneBytes ?? 0)
    if (intake !== undefined && intake.doneBytes !== this.#doneBytes) {
      this.#doneBytes = intake.doneBytes
      this.#newsMs = performance.now()
    }
    const afterMs = intake === undefined ? TORRENT_METADATA_MS : OUTSIDE_SILENCE_MS
    if (performance.now() - this.#newsMs > afterMs)
      return this.#ended.reject(
        new GodwitError({
          code: 'SOURCE_SILENT',
          source: this.#request.source,
          what: intake === undefined ? 'metadata' : 'data',
          afterMs,
          peers: this.#torrent?.wires.length ?? 0,
        }),
      )
    if (intake !== undefined) this.#ask(intake)
  }

  #ask(intake: Intake): void {
    const { torrent, placed } = { torrent: this.#torrent, placed: this.#placed }
    if (torrent === undefined || placed === undefined || torrent.destroyed) return
    while (this.#first < intake.chunks && intake.isHere(this.#first)) this.#first++
    for (const chunk of this.#asked) if (intake.isHere(chunk)) this.#asked.delete(chunk)
    const windowBytes = Math.max(OUTSIDE_WINDOW_BYTES, 2 * placed.pieceBytes)
    const next = askNext({
      chunks: intake.isKnown ? intake.chunks : 1,
      isHere: (chunk) => intake.isHere(chunk),
      asked: this.#asked,
      isInSight: (chunk) => isInSight(torrent, piecesOf(placed, chunk)),
      window: Math.ceil(windowBytes / CHUNK_BYTES),
      from: this.#first,
    })
    for (const chunk of next) {
      this.#asked.add(chunk)
      const { from, to } = piecesOf(placed, chunk)
      for (let piece = from; piece <= to; piece++) {
        if (this.#selected[piece] === 1) continue
        this.#selected[piece] = 1
        torrent.select(piece, piece)
      }
    }
  }

  async #put(piece: number, content: Uint8Array): Promise<void> {
    const intake = this.#intake as Intake
    try {
      for (const whole of (this.#assembly as Assembly).add(piece, content))
        await intake.put(whole.index, whole.content)
    } catch (error) {
      this.#ended.reject(error)
      throw error
    }
    this.#look()
  }

  /** Bytes of the torrent; those outside of the file are not kept. */
  async #read(start: number, length: number): Promise<Uint8Array | undefined> {
    const { placed, intake } = { placed: this.#placed, intake: this.#intake }
    if (placed === undefined || intake === undefined) return undefined
    const from = start - placed.offset
    if (from < 0 || from + length > placed.bytes) return undefined
    return readChunks({ from, length, chunkBytes: CHUNK_BYTES }, (index) => intake.get(index))
  }

  #tell(phase: string, doneBytes: number): void {
    const { received = 0, uploaded = 0, wires = [] } = this.#torrent ?? {}
    this.#report({
      phase,
      doneBytes,
      totalBytes: this.#intake?.bytes ?? 0,
      wireBytes: received + uploaded,
      sources: wires.length,
    })
  }
}

/** Files that an error names. */
const LISTED_MAX = 20

/** Whole inside the file, and all of its chunks here. */
function isServable(placed: Placed, piece: number, intake: Intake): boolean {
  const { offset, bytes, pieceBytes, torrentBytes } = placed
  const start = piece * pieceBytes
  const end = Math.min(start + pieceBytes, torrentBytes)
  if (start < offset || end > offset + bytes) return false
  const { from, to } = chunksOf(placed, piece)
  for (let index = from; index <= to; index++) if (!intake.isHere(index)) return false
  return true
}

function isInSight({ wires }: Torrent, { from, to }: { from: number; to: number }): boolean {
  for (let piece = from; piece <= to; piece++)
    if (!wires.some(({ peerPieces }) => peerPieces.get(piece))) return false
  return true
}

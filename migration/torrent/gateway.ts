/**
 * Port: images from outside the mesh, and to it. Real: migration/gateway. Whatever strangers send costs a failure, never the peer.
 */
import type { Done } from '../../protocols/outcome.ts'
import type { ImageFormat } from '../../storage/images/image-reader.ts'
import type { Manifest } from '../../storage/images/manifest.ts'

export type FetchTerms = {
  /** A magnet link, a path that ends in .torrent, an http or https URL of either or of an image. */
  readonly source: string
  readonly format: ImageFormat | 'auto'
  /** Path, end of a path or number of the file in a torrent; empty: it has one only. */
  readonly file: string
  /** `address:port` of BitTorrent clients to ask. */
  readonly peers: readonly string[]
  /** Whether the public DHT may be asked for clients. */
  readonly dht: boolean
  /** `sha256:HEX` or `sha512:HEX` of the file; empty: not known. */
  readonly checksum: string
}

export type FetchFigures = {
  readonly phase: string
  readonly doneBytes: number
  readonly totalBytes: number
  readonly wireBytes: number
  /** Clients connected. */
  readonly sources: number
}

export type Fetched = { readonly manifest: Manifest; readonly dataBytes: number; readonly newBytes: number }

/** Where others find it: an address of this host, never all of them unless that is what is written. */
export type Listen = { readonly host: string; readonly port: number }

export type Serving = {
  readonly manifest: Manifest
  readonly torrent: Uint8Array
  readonly listen: Listen
}

export type Served = {
  readonly infoHash: string
  /** The address that is listened on; empty while it is not. */
  readonly address: string
  readonly peers: number
  /** Since this peer was started. */
  readonly uploadedBytes: number
}

export type Gateway = {
  /** What came stays when it fails or the peer dies: the next call for the same goes on. */
  fetch(
    terms: FetchTerms,
    onProgress: (figures: FetchFigures) => void,
    done: Done<Fetched>,
  ): { cancel(): void }
  /** The SHA-1 of each piece of an image that is whole here. `pieceBytes` are whole chunks. */
  hash(
    manifest: Manifest,
    pieceBytes: number,
    onProgress: (doneBytes: number, totalBytes: number) => void,
    done: Done<Uint8Array>,
  ): { cancel(): void }
  /** Serves an image to any BitTorrent client, until `unserve` or the end of this peer. Listens on that address, and no other. */
  serve(serving: Serving, done: Done<{ address: string }>): void
  unserve(infoHash: string, done: Done<void>): void
  served(done: Done<Served[]>): void
  /** Keeps a .torrent for the next start of this peer, and writes it to `path` when that is not empty. */
  keep(infoHash: string, torrent: Uint8Array, path: string, done: Done<void>): void
  kept(infoHash: string, done: Done<Uint8Array>): void
  forget(infoHash: string, done: Done<void>): void
}

/** `ADDRESS:PORT` with an IP address; port 0 is any that is free. Undefined when it is none: an address has to be said. */
export function parseListen(text: string): Listen | undefined {
  const [, six, four, port] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)):([0-9]{1,5})$/.exec(text) ?? []
  if (Number(port ?? Number.NaN) > 65_535 || !URL.canParse(`http://${text}`)) return undefined
  const host = six ?? four
  return host === undefined ? undefined : { host, port: Number(port) }
}

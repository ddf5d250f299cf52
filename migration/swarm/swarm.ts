/**
 * The swarm of one peer: it brings images here from everyone who holds their chunks, and serves the chunks held here.
 *
 *   const swarm = openSwarm({ transport, directory, chunks, manifests, clock, dice })
 *   const pull = swarm.download({ image, sources, near, onProgress, done })     pull.cancel()
 *   swarm.stop()
 *
 * Serving begins with `openSwarm` (it takes PROTOCOL, and that of holdings, on the transport). All of it runs on ports: on a real network and
 * disk, or in the simulator on virtual time.
 */
import type { Clock, Dice } from '../../protocols/clock.ts'
import type { Directory } from '../../protocols/directory.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { Transport } from '../../protocols/transport.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import { type Bases, withBases } from '../../storage/images/bases.ts'
import type { Manifest } from '../../storage/images/manifest.ts'
import { answerHoldings } from '../holdings/answering.ts'
import type { Blocks } from '../second-level/bases.ts'
import { Downloads } from './download.ts'
import { Server } from './serve.ts'

export type SwarmPorts = {
  readonly transport: Transport
  readonly directory: Directory
  readonly chunks: ChunkStore
  readonly manifests: ManifestStore
  readonly clock: Clock
  readonly dice: Dice
  /** What the second level needs; without it all chunks come and go whole. */
  readonly blocks?: Blocks
  /** Asked once it is known how much content of an image is to come, before any does; given back when the download has ended. */
  readonly room?: (image: ImageId, contentBytes: number, done: Done<{ release(): void }>) => void
  /** Under disks of this host: what they hold is served, and is not fetched. */
  readonly bases?: Bases
  /** An image is here whole now. */
  readonly came?: (image: ImageId) => void
  /** Peers of one site bring a chunk to each other: a source of all of an image shows it to one of them. */
  readonly siteOf?: (peer: PeerId) => string | undefined
  /** Peers that are asked whether they hold chunks of images that they never saw: of this site and of the nearest others. */
  readonly neighbours?: () => readonly PeerId[]
}

export type DownloadRequest = {
  readonly image: ImageId
  /** Peers that may hold it, or chunks of it, from any image; more are found in the directory. */
  readonly sources: readonly PeerId[]
  /** Nobody but `sources` is asked, as long as all that ask for this image want it so. */
  readonly exclusive?: boolean
  /** What it may take in at most, from all sources together. */
  readonly bytesPerSecond?: number | undefined
  /** Ends when the manifest is here: no chunk is asked for, and nothing is said to be here. */
  readonly only?: 'manifest'
  /** Whether a peer is on this site: its chunks are taken before those of others. */
  readonly near: (peer: PeerId) => boolean
  /** A few times a second while something changes, and at the end. */
  readonly onProgress: (progress: Progress) => void
  /** Once, never before `download` returns; CANCELLED after `cancel`, NO_SOURCE, or what the disk refused with. */
  readonly done: Done<{ readonly manifest: Manifest; readonly report: Report }>
}

/** In bytes; no number ever goes back. */
export type Progress = {
  /** Of the image: what is here, zeros and chunks held before included. */
  readonly doneBytes: number
  readonly totalBytes: number
  /** Content of the chunks that have to be fetched. */
  readonly dedupBytes: number
  /** What came for those that were fetched: their frames, or fingerprints and blocks of them. */
  readonly compressedBytes: number
  /** Both directions of every channel of this download, manifests included. */
  readonly wireBytes: number
  readonly sources: number
  readonly bytesPerSecond: number
  readonly etaMs: number | undefined
}

export type Report = {
  readonly logicalBytes: number
  readonly dedupBytes: number
  readonly compressedBytes: number
  readonly wireBytes: number
  /** Content of chunks that came by blocks which was here already, in other images or as zeros. */
  readonly matchedBytes: number
  /** Frames that came although they were here already. */
  readonly duplicateBytes: number
  /** Peers that brought chunks. */
  readonly sources: number
  /** Both directions of every channel, by the peer at its other end; the sum is `wireBytes`. */
  readonly links: readonly { readonly peer: PeerId; readonly near: boolean; readonly wireBytes: number }[]
}

export type Swarm = {
  /** Two downloads of one image share one. */
  download(request: DownloadRequest): { cancel(): void }
  /** Ends every download and hangs up on everyone. */
  stop(): void
}

export function openSwarm(ports: SwarmPorts): Swarm {
  const chunks = ports.bases === undefined ? ports.chunks : withBases(ports.chunks, ports.bases)
  answerHoldings({ ...ports, chunks })
  const server: Server = new Server({ ...ports, chunks }, (peer, image, begins) =>
    downloads.met(peer, image, begins),
  )
  const downloads = new Downloads(
    ports,
    (image, index, id) => server.gained(image, index, id),
    (image) => server.askers(image),
  )
  return {
    download: (request) => downloads.begin(request),
    stop() {
      downloads.stop()
      server.stop()
    },
  }
}

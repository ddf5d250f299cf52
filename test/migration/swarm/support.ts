/** Peers with a swarm each, on the simulator's network, disks and time. */
import { hash } from 'node:crypto'
import type { ExecutionContext } from 'ava'
import {
  type DownloadRequest,
  openSwarm,
  type Progress,
  type Report,
  type Swarm,
} from '../../../migration/swarm/swarm.ts'
import type { Blocks } from '../../../migration/second-level/bases.ts'
import type { ChunkId, PeerId } from '../../../protocols/ids.ts'
import type { Outcome } from '../../../protocols/outcome.ts'
import { SimBlockLists, SimBlockWork } from '../../../simulator/blocks.ts'
import { SimChunkStore, SimManifestStore } from '../../../simulator/chunk-store.ts'
import { type NetworkOptions, SimNetwork, type SimPeer } from '../../../simulator/network.ts'
import { World } from '../../../simulator/world.ts'
import type { BlockLists } from '../../../storage/images/block-lists.ts'
import type { BlockWork } from '../../../storage/images/block-work.ts'
import { contentOf, pack } from '../../../storage/images/chunk-content.ts'
import type { Bases } from '../../../storage/images/bases.ts'
import type { ChunkStore } from '../../../storage/images/chunk-store.ts'
import {
  BLOCK_BYTES,
  blockCount,
  FINGERPRINT_BYTES,
  fingerprintsOf,
} from '../../../storage/images/fingerprint.ts'
import {
  buildManifest,
  chunkAt,
  chunkCount,
  chunkLength,
  type Manifest,
} from '../../../storage/images/manifest.ts'

export type Image = { readonly manifest: Manifest; readonly frames: ReadonlyMap<ChunkId, Uint8Array> }

const made = new Map<string, { id: ChunkId; frame: Uint8Array }>()

/** From this number on the content of a chunk compresses, each to another part of it. */
export const COMPRESSIBLE = 1_000_000

/** Chunk `n` of a kind of content: incompressible below COMPRESSIBLE, and the same in every image that has it. */
function chunkOf(n: number, chunkBytes: number): { id: ChunkId; frame: Uint8Array } {
  const key = `${n} ${chunkBytes}`
  let chunk = made.get(key)
  if (chunk === undefined) {
    const content = Buffer.alloc(chunkBytes)
    const filled =
      n < COMPRESSIBLE ? chunkBytes : Math.ceil(chunkBytes * (0.05 + ((n * 0.618_034) % 1) * 0.9))
    for (let at = 0; at + 32 <= filled; at += 32) hash('sha256', `${n} ${at}`, 'buffer').copy(content, at)
    chunk = { id: hash('sha256', content), frame: pack(content) }
    made.set(key, chunk)
  }
  return chunk
}

/** An image of these chunks; `undefined` is a chunk of zeros. */
export function imageOf(contents: readonly (number | undefined)[], chunkBytes = 64 * 1024): Image {
  const frames = new Map<ChunkId, Uint8Array>()
  const hashes = contents.map((n) => {
    if (n === undefined) return Buffer.alloc(32)
    const { id, frame } = chunkOf(n, chunkBytes)
    frames.set(id, frame)
    return Buffer.from(id, 'hex')
  })
  return { manifest: buildManifest(contents.length * chunkBytes, chunkBytes, Buffer.concat(hashes)), frames }
}

/** An image of blocks of 4 KiB, incompressible, the same wherever a number is; `undefined` is a block of zeros. */
export function imageOfBlocks(blocks: readonly (number | undefined)[], chunkBytes = 64 * 1024): Image {
  const disk = Buffer.concat(blocks.map((n) => (n === undefined ? Buffer.alloc(BLOCK_BYTES) : blockOf(n))))
  const frames = new Map<ChunkId, Uint8Array>()
  const hashes: Buffer[] = []
  for (let at = 0; at < disk.length; at += chunkBytes) {
    const content = disk.subarray(at, at + chunkBytes)
    const id = hash('sha256', content)
    const isZeros = content.every((byte) => byte === 0)
    hashes.push(isZeros ? Buffer.alloc(32) : Buffer.from(id, 'hex'))
    if (!isZeros) frames.set(id, pack(content))
  }
  return { manifest: buildManifest(disk.length, chunkBytes, Buffer.concat(hashes)), frames }
}

const madeBlocks = new Map<number, Buffer>()

function blockOf(n: number): Buffer {
  let block = madeBlocks.get(n)
  if (block === undefined) {
    block = Buffer.alloc(BLOCK_BYTES)
    for (let at = 0; at < BLOCK_BYTES; at += 32) hash('sha256', `block ${n} ${at}`, 'buffer').copy(block, at)
    madeBlocks.set(n, block)
  }
  return block
}

/** The block list of an image, as an import makes it. */
function listOf({ manifest, frames }: Image): Uint8Array {
  const lists = Array.from({ length: chunkCount(manifest) }, (_, index) => {
    const id = chunkAt(manifest, index)
    if (id === undefined) return new Uint8Array(blockCount(chunkLength(manifest, index)) * FINGERPRINT_BYTES)
    return fingerprintsOf(contentOf({ id, frame: frames.get(id) as Uint8Array }))
  })
  return Buffer.concat(lists)
}

export const range = (from: number, until: number): number[] =>
  Array.from({ length: until - from }, (_, index) => from + index)

/** The ids of some chunks of an image. */
export const idsOf = ({ manifest }: Image, indexes = range(0, chunkCount(manifest))): ChunkId[] =>
  indexes.flatMap((index) => chunkAt(manifest, index) ?? [])

export type Peer = {
  readonly id: PeerId
  readonly sim: SimPeer
  readonly chunks: SimChunkStore
  readonly manifests: SimManifestStore
  readonly swarm: Swarm
  readonly blocks: Blocks | undefined
  /** Chunks read to be served, and the most reads at once. */
  readonly served: { reads: number; mostAtOnce: number }
}

export type Fetched = {
  outcome: Outcome<{ manifest: Manifest; report: Report }> | undefined
  atMs: number
  progress: Progress[]
}

/** How a peer speaks of blocks: not at all unless told. `unlisted`: of these images it has no list. */
type Speaks = {
  readonly blocks?: boolean
  readonly unlisted?: readonly Image[]
  readonly wrapWork?: (work: BlockWork) => BlockWork
  readonly wrapLists?: (lists: BlockLists) => BlockLists
}
type Holding = { readonly image: Image; readonly indexes?: readonly number[]; readonly manifest?: boolean }

export class Stage {
  readonly world: World
  readonly network: SimNetwork
  /** What lies under disks of a peer that is made from now on. */
  readonly bases = new Map<PeerId, Bases>()
  readonly #peers = new Map<PeerId, Peer>()

  constructor(seed: number, options: Partial<NetworkOptions> = {}) {
    this.world = new World(seed)
    this.network = new SimNetwork(this.world, { loss: 0, wanMs: { min: 20, max: 20 }, ...options })
  }

  /** `wrap`: what a peer's chunk store does otherwise when others ask it. */
  peer(
    id: PeerId,
    site: string,
    holdings: readonly Holding[] = [],
    wrap: (store: ChunkStore) => ChunkStore = (store) => store,
    neighbours: () => PeerId[] = () => [],
    speaks: Speaks = {},
  ): Peer {
    const frames = new Map<ChunkId, Uint8Array>()
    const manifests = new Map<string, Manifest>()
    for (const { image, indexes, manifest } of holdings) {
      for (const chunk of idsOf(image, indexes === undefined ? undefined : [...indexes]))
        frames.set(chunk, image.frames.get(chunk) as Uint8Array)
      if (manifest !== false) manifests.set(image.manifest.image, image.manifest)
    }
    return this.#start(
      id,
      site,
      new SimChunkStore(this.world, id, frames),
      new SimManifestStore(this.world, id, manifests),
      wrap,
      neighbours,
      this.#blocks(holdings, speaks),
    )
  }

  #blocks(
    holdings: readonly Holding[],
    { blocks, unlisted = [], wrapWork, wrapLists }: Speaks,
  ): Blocks | undefined {
    if (blocks !== true) return undefined
    const whole = holdings.filter(
      ({ image, indexes, manifest }) =>
        indexes === undefined && manifest !== false && !unlisted.includes(image),
    )
    const found = new Map(whole.map(({ image }) => [image.manifest.image, listOf(image)]))
    const lists = new SimBlockLists(this.world, found)
    const work = new SimBlockWork(this.world)
    return { lists: wrapLists?.(lists) ?? lists, work: wrapWork?.(work) ?? work }
  }

  /** A power cut, then the next life on what its disk kept. */
  restart(peer: Peer): Peer {
    this.network.crash(peer.id, 'power')
    peer.chunks.crash()
    peer.manifests.crash()
    return this.#start(
      peer.id,
      peer.sim.site,
      peer.chunks.reopen(),
      peer.manifests.reopen(),
      (store) => store,
      () => [],
      peer.blocks,
    )
  }

  fetch(
    peer: Peer,
    image: Image,
    sources: readonly Peer[],
    more: Partial<DownloadRequest> = {},
  ): Fetched & { cancel(): void } {
    const fetched: Fetched = { outcome: undefined, atMs: 0, progress: [] }
    const download = peer.swarm.download({
      image: image.manifest.image,
      sources: sources.map(({ id }) => id),
      near: (other) => this.#peers.get(other)?.sim.site === peer.sim.site,
      onProgress: (progress) => fetched.progress.push(progress),
      done: (outcome) => {
        if (fetched.outcome !== undefined) throw new Error('done twice')
        fetched.outcome = outcome
        fetched.atMs = this.world.nowMs
      },
      ...more,
    })
    return Object.assign(fetched, { cancel: () => download.cancel() })
  }

  #start(
    id: PeerId,
    site: string,
    chunks: SimChunkStore,
    manifests: SimManifestStore,
    wrap: (store: ChunkStore) => ChunkStore,
    neighbours: () => PeerId[],
    blocks: Blocks | undefined,
  ): Peer {
    const sim = this.network.join(id, site)
    const served = { reads: 0, mostAtOnce: 0 }
    let reading = 0
    const store = wrap(chunks)
    const counted: ChunkStore = {
      has: (ids, done) => store.has(ids, done),
      sizes: (ids, done) => store.sizes(ids, done),
      bytes: () => store.bytes(),
      write: (chunk, frame, bytes, done) => store.write(chunk, frame, bytes, done),
      put: (packed, done) => store.put(packed, done),
      sync: (done) => store.sync(done),
      hold: () => store.hold(),
      collect: (collection, done) => store.collect(collection, done),
      scrub: (scrub, done) => store.scrub(scrub, done),
      read: (chunk, done) => {
        served.reads++
        served.mostAtOnce = Math.max(served.mostAtOnce, ++reading)
        store.read(chunk, (outcome) => {
          reading--
          done(outcome)
        })
      },
    }
    const { transport, directory, life } = sim
    const bases = this.bases.get(id)
    const dice = this.world.random(`swarm ${id}`)
    const swarm = openSwarm({
      transport,
      directory,
      chunks: counted,
      manifests,
      clock: life.clock,
      dice,
      ...(blocks !== undefined && { blocks }),
      ...(bases !== undefined && { bases }),
      siteOf: (peer) => this.#peers.get(peer)?.sim.site,
      neighbours,
    })
    const peer: Peer = { id, sim, chunks, manifests, swarm, served, blocks }
    this.#peers.set(id, peer)
    const everyone = new Map([...this.#peers.keys()].map((peer) => [peer, []]))
    for (const { sim } of this.#peers.values()) if (sim.life.alive) sim.transport.allow(everyone)
    return peer
  }
}

/** The report of a download that must have gone well. */
export function reportOf(t: ExecutionContext, { outcome }: Fetched): Report {
  if (outcome === undefined) throw new Error('the download has not ended')
  if (!outcome.ok) throw new Error(`the download failed: ${JSON.stringify(outcome.failure)}`)
  t.pass()
  return outcome.value.report
}

/** Every chunk of the image is held, by its name; the store has checked each. */
export const holds = (peer: Peer, image: Image): boolean => {
  const held = peer.chunks.held()
  return idsOf(image).every((id) => held.has(id))
}

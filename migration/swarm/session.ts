/** One channel on which chunks are served: which ids its indexes stand for, what is asked and not yet read. */
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import {
  CHUNK_BYTES,
  HAVE_SECTION_CHUNKS,
  MANIFEST_BYTES_MAX,
  MANIFEST_GROUPS_AHEAD,
  SERVE_AHEAD_BYTES_MAX,
  SWARM_PART_BYTES,
} from '../../protocols/limits.ts'
import { encodeSection } from '../../protocols/swarm/have-map.ts'
import { encode, gather } from '../../protocols/swarm/messages.ts'
import type { Channel } from '../../protocols/transport.ts'
import { chunkCount, HASH_BYTES, type Manifest, readableChunkAt } from '../../storage/images/manifest.ts'
import type { Hold } from '../../storage/images/holds.ts'
import { encodeGroup, encodeManifest, formBytes } from '../../storage/images/manifest-form.ts'
import { groupCount } from '../../storage/images/merkle.ts'
import { Outbox } from './outbox.ts'
import type { SwarmPorts } from './swarm.ts'

/** Ids asked of the chunk store at once, and chunks in one section of a have-map. */
const ASK_IDS = 4_096
const SECTION_CHUNKS = 16 * ASK_IDS

/** What the indexes of a channel stand for. */
type Chunks = { readonly count: number; idAt(index: number): ChunkId | undefined }

export class Session {
  readonly channel: Channel
  readonly outbox: Outbox
  /** In the order in which they were asked. */
  readonly wants = new Set<number>()
  reads = 0
  /** Others that fetch the same image know of it, and it of them. */
  introduced = false
  closed = false
  readonly #ports: SwarmPorts
  /** What this downloader was told is here stays here while it is there. */
  readonly #hold: Hold
  image: ImageId | undefined
  #manifest: Manifest | undefined
  #manifestWanted = false
  /** Groups of the manifest asked for and not yet sent. */
  #groupsWanted = 0
  #chunks: Chunks | undefined
  /** Places of the ids in a list that the downloader sent. */
  #listed: Map<ChunkId, number> | undefined
  #parts: Uint8Array[] = []
  #partsBytes = 0
  #news: number[] = []
  /** It says what it gains: it can be shown an image piece by piece. */
  #gains = false

  readonly #whole: (manifest: Manifest) => void

  /** `whole`: all of the image is held, and nothing of it is shown yet. */
  constructor(
    channel: Channel,
    ports: SwarmPorts,
    on: { readonly drained: () => void; readonly whole: (session: Session, manifest: Manifest) => void },
  ) {
    this.channel = channel
    this.#ports = ports
    this.#hold = ports.chunks.hold()
    this.outbox = new Outbox(channel, on.drained)
    this.#whole = (manifest) => on.whole(this, manifest)
  }

  close(): void {
    this.closed = true
    this.#hold.release()
  }

  /** False when this channel is about another image. `group`: the first that is wanted of the manifest; undefined: all of it. */
  hello(image: ImageId, manifestWanted: boolean, gains: boolean, group: number | undefined): boolean {
    if (this.image !== undefined && this.image !== image) return false
    const first = this.image === undefined
    this.image = image
    this.#gains = gains
    // Asked for while it is being sent, it is being sent.
    if (this.#manifestWanted && manifestWanted) return true
    this.#manifestWanted = manifestWanted
    if (this.#manifest !== undefined) this.#sendManifest(this.#manifest, group)
    else
      this.#ports.manifests.get(image, (outcome) => {
        if (this.closed) return
        const isLong =
          outcome.ok && group === undefined && formBytes(outcome.value.hashes.runs) > MANIFEST_BYTES_MAX
        if (!outcome.ok || (manifestWanted && isLong)) {
          this.#manifestWanted = false
          return this.outbox.send(encode({ kind: 'unknown' }))
        }
        const manifest = outcome.value
        this.#manifest = manifest
        this.#sendManifest(manifest, group)
        if (!first && this.#chunks !== undefined) return
        this.#serve(
          { count: chunkCount(manifest), idAt: (index) => readableChunkAt(manifest, index) },
          manifest,
        )
      })
    return true
  }

  /** More groups of the manifest; false when that is not for this channel to ask. */
  groups(groups: readonly number[]): boolean {
    const manifest = this.#manifest
    if (manifest === undefined || this.#groupsWanted + groups.length > MANIFEST_GROUPS_AHEAD) return false
    if (groups.some((group) => group >= groupCount(manifest))) return false
    this.#groupsWanted += groups.length
    for (const group of groups) this.outbox.stream(this.#groupFrames(manifest, group))
    return true
  }

  /** It keeps a list of chunks, or a part of one. */
  get lists(): boolean {
    return this.#partsBytes > 0
  }

  /** A part of the ids that the downloader lacks; false when it does not follow the part before. */
  list(total: number, at: number, data: Uint8Array): boolean {
    if (this.#chunks !== undefined || at !== this.#partsBytes || at + data.length > total) return false
    this.#parts.push(data)
    this.#partsBytes += data.length
    if (this.#partsBytes < total) return true
    if (total % HASH_BYTES !== 0) return false
    const ids = Buffer.concat(this.#parts)
    this.#parts = []
    const idAt = (index: number): ChunkId => ids.toString('hex', index * HASH_BYTES, (index + 1) * HASH_BYTES)
    const count = total / HASH_BYTES
    this.#listed = new Map(Array.from({ length: count }, (_, index) => [idAt(index), index]))
    this.#serve({ count, idAt: (index) => (index < count ? idAt(index) : undefined) })
    return true
  }

  get manifest(): Manifest | undefined {
    return this.#listed === undefined ? this.#manifest : undefined
  }

  idAt(index: number): ChunkId | undefined {
    return this.#chunks === undefined || index >= this.#chunks.count ? undefined : this.#chunks.idAt(index)
  }

  /** The next chunk to read, or undefined while there is no room or no request. */
  next(): number | undefined {
    const chunkBytes = this.#manifest?.chunkBytes ?? CHUNK_BYTES
    if (this.outbox.full || this.reads >= Math.max(1, SERVE_AHEAD_BYTES_MAX / chunkBytes)) return undefined
    for (const index of this.wants) {
      this.wants.delete(index)
      return index
    }
    return undefined
  }

  /** True when it is news for this downloader. */
  gained(image: ImageId, index: number, id: ChunkId): boolean {
    if (this.#chunks === undefined) return false
    const here =
      this.#listed === undefined ? (image === this.image ? index : undefined) : this.#listed.get(id)
    if (here === undefined) return false
    this.#news.push(here)
    return true
  }

  *takeNews(most: number): Generator<number[]> {
    while (this.#news.length > 0) yield this.#news.splice(0, most)
  }

  #sendManifest(manifest: Manifest, group: number | undefined): void {
    if (!this.#manifestWanted) return
    if (group === undefined) return this.outbox.stream(this.#manifestFrames(manifest))
    this.#manifestWanted = false
    const { bytes, chunkBytes, hashes } = manifest
    this.outbox.send(encode({ kind: 'tree', bytes, chunkBytes, tops: hashes.tops }))
    // Of an image that it knows by its name only, it cannot tell how many there are.
    if (group < groupCount(manifest)) this.groups([group])
  }

  *#manifestFrames(manifest: Manifest): Generator<Uint8Array> {
    const total = formBytes(manifest.hashes.runs)
    yield* this.#sound(function* () {
      for (const { at, data } of gather(encodeManifest(manifest), SWARM_PART_BYTES))
        yield encode({ kind: 'manifest', total, at, data })
    })
    this.#manifestWanted = false
  }

  *#groupFrames(manifest: Manifest, group: number): Generator<Uint8Array> {
    yield* this.#sound(function* () {
      const { total, pieces } = encodeGroup(manifest, group)
      for (const { at, data } of gather(pieces, SWARM_PART_BYTES))
        yield encode({ kind: 'group', group, total, at, data })
    })
    this.#groupsWanted--
  }

  /** What the disk has changed is somebody else's to send. */
  *#sound(frames: () => Generator<Uint8Array>): Generator<Uint8Array> {
    try {
      yield* frames()
    } catch {
      yield encode({ kind: 'bye', why: 'the manifest is damaged here' })
    }
  }

  #serve(chunks: Chunks, manifest?: Manifest): void {
    this.#chunks = chunks
    if (manifest === undefined || !this.#gains || chunks.count > HAVE_SECTION_CHUNKS)
      return this.#section(chunks, 0)
    this.#survey(chunks, 0, (whole) => (whole ? this.#whole(manifest) : this.#section(chunks, 0)))
  }

  /** Whether all of it is held, from chunk `from` on: known at the first that is not. */
  #survey(chunks: Chunks, from: number, done: (whole: boolean) => void): void {
    const ids: ChunkId[] = []
    let at = from
    for (; at < chunks.count && ids.length < ASK_IDS; at++) {
      const id = chunks.idAt(at)
      if (id !== undefined) ids.push(id)
    }
    this.#ports.chunks.has(ids, (outcome) => {
      if (this.closed) return
      if (!outcome.ok || outcome.value.includes(false)) done(false)
      else if (at < chunks.count) this.#survey(chunks, at, done)
      else done(true)
    })
  }

  /** Says what is held, a section at a time: an image of any size costs the store a few thousand look-ups at once. */
  #section(chunks: Chunks, from: number): void {
    const until = Math.min(chunks.count, from + SECTION_CHUNKS)
    const held: boolean[] = []
    const ask = (at: number): void => {
      if (this.closed) return
      if (at >= until) {
        this.outbox.send(encode({ kind: 'have', total: chunks.count, ...encodeSection(from, held) }))
        if (until < chunks.count) this.#section(chunks, until)
        return
      }
      const ids: ChunkId[] = []
      const places: number[] = []
      const end = Math.min(until, at + ASK_IDS)
      for (let index = at; index < end; index++) {
        const id = chunks.idAt(index)
        held.push(false)
        if (id === undefined) continue
        ids.push(id)
        places.push(index - from)
      }
      this.#ports.chunks.has(ids, (outcome) => {
        if (outcome.ok) outcome.value.forEach((has, i) => (held[places[i] as number] = has))
        ask(end)
      })
    }
    ask(from)
  }
}

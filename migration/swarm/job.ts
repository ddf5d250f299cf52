/**
 * One download, from a name to a whole image: the shell around the picker.
 *
 *   looking ─manifest held, or fetched and verified─▶ checking ─what is missing is known─▶ fetching ─▶ syncing ─▶ ended
 *
 * Promises: a chunk that is held, from whatever image, is not fetched; a frame enters the store only verified; `done` comes
 * after everything is synced, and once.
 */
import type { Failure } from '../../protocols/errors.ts'
import type { ChunkId, ImageId, PeerId } from '../../protocols/ids.ts'
import {
  FIND_SOURCES_MS,
  FIND_SOURCES_MS_MIN,
  FIND_SOURCES_PATIENCE_MS,
  HAVE_MORE_MS,
  INDEXES_MAX,
  LISTED_CHUNKS_MAX,
  PICK_MS,
  SOURCES_MAX,
} from '../../protocols/limits.ts'
import { giveBack } from '../../protocols/buffers.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { encodeSection } from '../../protocols/swarm/have-map.ts'
import { chunkCount, chunkLength, type Manifest, readableChunkAt } from '../../storage/images/manifest.ts'
import type { Hold } from '../../storage/images/holds.ts'
import { sampleOf } from '../holdings/asking.ts'
import { Digest } from '../holdings/digest.ts'
import { BlockFetch } from './block-fetch.ts'
import type { Heard } from './conversation.ts'
import { type Download, HERE, NEEDED, startDownload } from './holdings.ts'
import { KNOWN_MAX, type Link, Links } from './links.ts'
import { ManifestSearch } from './manifest-search.ts'
import { adopt } from './adopting.ts'
import { type Missing, missingOf } from './missing.ts'
import { type Effect, type Event, step } from './picker.ts'
import { progressOf } from './progress.ts'
import type { DownloadRequest, Progress, Report, SwarmPorts } from './swarm.ts'

const PROGRESS_MS = 250

type Around = {
  gained(index: number, id: ChunkId): void
  isBanned(peer: PeerId): boolean
  ban(peer: PeerId): void
  ended(): void
}

export class Job {
  readonly #image: ImageId
  readonly #ports: SwarmPorts
  readonly #around: Around
  readonly #links: Links
  readonly #search: ManifestSearch
  readonly #digest: Digest
  readonly #requests = new Set<DownloadRequest>()
  readonly #brought = new Set<PeerId>()
  /** What is found here, and what comes, stays here until the end. */
  readonly #hold: Hold
  #room: { release(): void } | undefined
  #phase: 'looking' | 'checking' | 'fetching' | 'syncing' | 'ended' = 'looking'
  #manifest: Manifest | undefined
  #download: Download | undefined
  /** Undefined where there is none. */
  #blocks: BlockFetch | undefined
  /** What sources said they hold before the picker was there to hear it. */
  #early: { link: Link; heard: Heard }[] = []
  #near: (peer: PeerId) => boolean = () => false
  /** Peers that download the same image from here now: what they lack they will soon hold. */
  readonly #askers = new Set<PeerId>()
  /** The only peers to ask; undefined for whoever has it. */
  #only: Set<PeerId> | undefined
  /** Near peers that download the same image now. */
  readonly #fellows = new Set<PeerId>()
  #findAtMs = 0
  #findEveryMs = FIND_SOURCES_MS_MIN
  /** Chunks gained of which sources that ask for it are not told yet. */
  #gains: number[] = []
  #shownMs = 0
  #shown = ''

  constructor(image: ImageId, ports: SwarmPorts, around: Around) {
    this.#image = image
    this.#ports = ports
    this.#around = around
    this.#hold = ports.chunks.hold()
    this.#links = new Links(ports, (peer) => around.isBanned(peer), {
      opened: (link) => this.#greet(link),
      heard: (link, heard) => this.#heard(link, heard),
    })
    this.#search = new ManifestSearch(image, this.#links, ports.manifests, {
      hello: (link, group) => this.#hello(link, group),
      found: (manifest) => this.#check(manifest),
      bad: (link, why) => this.#ban(link, why),
      useless: (link) => this.#lost(link),
      failed: (failure) => this.#finish(failed(failure)),
    })
    this.#digest = new Digest({
      transport: ports.transport,
      clock: ports.clock,
      sample: () => this.#sample(),
      worth: (peer) => this.#worth(peer),
    })
    ports.manifests.get(image, (outcome) => {
      if (this.#phase === 'ended') return
      if (outcome.ok) this.#check(outcome.value)
      // Not held is the usual reason; whatever it is, sources may have it.
      else this.#search.resume(() => this.#look())
    })
    this.#beat()
  }

  join(request: DownloadRequest): { cancel(): void } {
    if (this.#requests.size === 0) {
      this.#near = request.near
      if (request.exclusive === true) this.#only = new Set(request.sources)
    } else if (request.exclusive !== true) this.#only = undefined
    else for (const peer of request.sources) this.#only?.add(peer)
    this.#requests.add(request)
    // What one of several wants fast is not held up by another.
    const rates = [...this.#requests].map(({ bytesPerSecond = Infinity }) => bytesPerSecond)
    this.#links.limit(Math.max(...rates))
    for (const peer of request.sources) this.hint(peer)
    if (this.#manifest !== undefined) this.#answerEarly(this.#manifest)
    return {
      cancel: () => {
        if (!this.#requests.delete(request)) return
        const what = `the fetch of image ${this.#image}`
        this.#ports.clock.after(0, () => request.done(failed({ code: 'CANCELLED', what })))
        if (this.#requests.size === 0) this.#end()
      },
    }
  }

  hint(peer: PeerId): void {
    if (this.#only?.has(peer) === false) return
    this.#links.add(peer, this.#near(peer))
    if (this.#phase === 'fetching' || this.#findAtMs > 0) this.#links.connect(this.#ports.clock.nowMs())
  }

  /** A peer asks for the same image here, so it will soon be a source of it; or it asks no more. */
  met(peer: PeerId, begins: boolean): void {
    if (this.#only?.has(peer) === false) return
    if (begins) this.hint(peer)
    if (!begins) this.#askers.delete(peer)
    else if (this.#askers.size < KNOWN_MAX) this.#askers.add(peer)
    const link = this.#links.get(peer)
    if (begins && link?.unknown === true && this.#phase === 'fetching') this.#list(link)
    if (!this.#near(peer)) return
    if (!begins) this.#fellows.delete(peer)
    else if (this.#fellows.size < SOURCES_MAX) this.#fellows.add(peer)
    this.#step({ kind: 'fellow', peer, begins })
  }

  stop(): void {
    const { self } = this.#ports.transport
    this.#finish(failed({ code: 'STOPPING', peer: self }))
  }

  // Time -----------------------------------------------------------------------------------------------------------

  #beat(): void {
    this.#ports.clock.after(PICK_MS, () => {
      if (this.#phase === 'ended') return
      this.#tick(this.#ports.clock.nowMs())
      this.#beat()
    })
  }

  #tick(nowMs: number): void {
    // While it is not known whether anything is missing, nobody is called.
    const calling = this.#findAtMs > 0 && (this.#phase === 'looking' || this.#phase === 'fetching')
    if (calling) {
      this.#makeRoom(nowMs)
      this.#links.connect(nowMs)
      if (nowMs >= this.#findAtMs) this.#find(nowMs)
    }
    if (this.#phase === 'looking' && calling && !this.#search.tick(nowMs))
      return this.#finish(failed({ code: 'NO_SOURCE', image: this.#image, missing: 1 }))
    if (this.#phase === 'fetching') this.#step({ kind: 'tick' })
    if (this.#phase === 'fetching') this.#blocks?.tick(nowMs)
    this.#show(nowMs)
  }

  #makeRoom(nowMs: number): void {
    const idle = (peer: PeerId): boolean => {
      // Whoever lacks the manifest is of no use before it is here.
      if (this.#download === undefined) return this.#links.get(peer)?.unknown === true
      const source = this.#download.sources.find((each) => each.peer === peer)
      return source === undefined || (source.dry && source.asked.size === 0)
    }
    this.#links.makeRoom(nowMs, (peer) => {
      if (!idle(peer)) return false
      this.#step({ kind: 'lost', peer })
      return true
    })
  }

  /** Calls sources, from now on. */
  #look(): void {
    if (this.#phase === 'ended') return
    const nowMs = this.#ports.clock.nowMs()
    this.#search.begin(nowMs)
    this.#links.connect(nowMs)
    // Those that were named may do, and each says who else asks for it: a walk through the DHT costs more than that.
    if (this.#links.known) this.#findAtMs = nowMs + FIND_SOURCES_MS_MIN
    else this.#find(nowMs)
  }

  #find(nowMs: number): void {
    this.#findAtMs = nowMs + this.#findEveryMs
    this.#findEveryMs = Math.min(FIND_SOURCES_MS, this.#findEveryMs * 2)
    if (this.#only === undefined)
      this.#ports.directory.find(this.#image, SOURCES_MAX, FIND_SOURCES_PATIENCE_MS, (outcome) => {
        if (this.#phase === 'ended' || !outcome.ok) return
        for (const peer of outcome.value) this.hint(peer)
      })
    if (this.#phase !== 'fetching') return
    // What is here of it can be served.
    this.#ports.directory.provide(this.#image)
    // Who answered on a channel that it never saw the image may hold chunks of it by now; others nobody has asked.
    for (const link of this.#links.open()) if (link.unknown && !link.listed) this.#digest.ask(link.peer)
    for (const peer of this.#only ?? this.#ports.neighbours?.() ?? [])
      if (this.#links.get(peer) === undefined) this.#digest.ask(peer)
  }

  /** Of a source that never saw the image: whether it is worth being told what is missing. */
  #inquire(link: Link): void {
    if (this.#askers.has(link.peer)) this.#list(link)
    else this.#digest.ask(link.peer)
  }

  /** Of what is missing; of what nobody in sight holds, while there is such. */
  #sample(): Uint8Array {
    const manifest = this.#manifest as Manifest
    const { dice, holders, state } = this.#download as Download
    let nowhere = 0
    for (let index = 0; index < state.length; index++)
      if (state[index] === NEEDED && holders[index] === 0) nowhere++
    const from = nowhere > 0 ? nowhere : (this.#download as Download).needed
    // One of so many, where there are more than a list should hold.
    const step = Math.ceil(from / LISTED_CHUNKS_MAX)
    const some: number[] = []
    let seen = 0
    for (let index = 0; index < state.length; index++)
      if (state[index] === NEEDED && (nowhere === 0 || holders[index] === 0) && seen++ % step === 0)
        some.push(index)
    const idAt = (index: number): ChunkId | undefined => readableChunkAt(manifest, index)
    return sampleOf(idAt, some, dice).sample
  }

  /** A peer that does not know the image holds chunks of it, or cannot say: it is called, and told what is missing. */
  #worth(peer: PeerId): void {
    if (this.#phase !== 'fetching') return
    // What is here of it can be served.
    this.#ports.directory.provide(this.#image)
    this.hint(peer)
    const link = this.#links.get(peer)
    if (link?.unknown === true) this.#list(link)
  }

  // The manifest ---------------------------------------------------------------------------------------------------

  #greet(link: Link): void {
    const nowMs = this.#ports.clock.nowMs()
    if (this.#manifest === undefined) return this.#search.greet(link, nowMs)
    link.helloMs = nowMs
    this.#hello(link)
  }

  #hello(link: Link, group?: number): void {
    link.conversation?.hello(this.#image, this.#ports.blocks !== undefined, group)
  }

  /** Finds out what is missing, and fetches it. */
  #check(manifest: Manifest): void {
    this.#phase = 'checking'
    this.#manifest = manifest
    this.#answerEarly(manifest)
    if (this.#requests.size === 0) return this.#end()
    missingOf(manifest, this.#ports.chunks, (outcome) => {
      if (this.#phase === 'ended') return
      if (!outcome.ok) return this.#finish(outcome)
      const { room } = this.#ports
      const { value: missing } = outcome
      if (missing.count === 0 || room === undefined) return this.#adopt(manifest, missing)
      room(this.#image, missing.count * manifest.chunkBytes, (given) => {
        if (!given.ok) return this.#finish(given)
        this.#room = given.value
        if (this.#phase === 'ended') return this.#room.release()
        this.#adopt(manifest, missing)
      })
    })
  }

  #fetch(manifest: Manifest, missing: Missing): void {
    const { clock, dice, transport } = this.#ports
    this.#download = startDownload(manifest, missing, dice, clock.nowMs(), transport.self)
    if (missing.count === 0) return this.#sync()
    this.#phase = 'fetching'
    this.#blocks = this.#openBlocks(manifest)
    for (const link of this.#links.open()) {
      if (link.unknown) this.#inquire(link)
      else if (link.helloMs === 0) this.#greet(link)
    }
    for (const peer of this.#fellows) this.#step({ kind: 'fellow', peer, begins: true })
    for (const { link, heard } of this.#early.splice(0)) this.#heard(link, heard)
    this.#look()
  }

  /** Some want no more than the manifest. */
  #answerEarly(manifest: Manifest): void {
    const report: Report = {
      logicalBytes: manifest.bytes,
      dedupBytes: 0,
      compressedBytes: 0,
      wireBytes: this.#links.wireBytes(),
      duplicateBytes: 0,
      matchedBytes: 0,
      sources: 0,
      links: this.#links.byPeer(),
    }
    for (const request of this.#requests) {
      if (request.only !== 'manifest') continue
      this.#requests.delete(request)
      this.#ports.clock.after(0, () => request.done(ok({ manifest, report })))
    }
  }

  /** Takes over what a base here holds, and fetches the rest. */
  #adopt(manifest: Manifest, missing: Missing): void {
    const { bases, chunks } = this.#ports
    if (bases === undefined || missing.count === 0) return this.#fetch(manifest, missing)
    const isStopped = (): boolean => this.#phase === 'ended'
    adopt(manifest, missing, { bases, chunks, isStopped }, (outcome) => {
      if (isStopped()) return
      if (outcome.ok) this.#fetch(manifest, outcome.value)
      else this.#finish(outcome)
    })
  }

  /** Names what is missing to a source without the manifest. */
  #list(link: Link): void {
    const { state } = this.#download as Download
    const manifest = this.#manifest as Manifest
    const indexes: number[] = []
    const hashes: Buffer[] = []
    for (let index = 0; index < state.length && indexes.length < LISTED_CHUNKS_MAX; index++) {
      const id = state[index] === NEEDED ? readableChunkAt(manifest, index) : undefined
      if (id === undefined) continue
      indexes.push(index)
      hashes.push(Buffer.from(id, 'hex'))
    }
    if (indexes.length === 0 || link.listed) return
    link.listed = true
    link.helloMs = this.#ports.clock.nowMs()
    link.conversation?.list(indexes, Buffer.concat(hashes))
  }

  /** The next download of this image fetches it again. */
  #unreadable(): void {
    const what = `the manifest of image ${this.#image}`
    this.#finish(failed({ code: 'DATA_CORRUPT', what, why: 'the disk has changed it' }))
  }

  // What sources say -----------------------------------------------------------------------------------------------

  #heard(link: Link, heard: Heard): void {
    if (this.#phase === 'ended' || (link.conversation === undefined && heard.kind !== 'closed')) return
    switch (heard.kind) {
      case 'tree':
      case 'group':
      case 'group-part':
      case 'manifest-part':
        if (this.#phase === 'looking') this.#search.heard(link, heard, this.#ports.clock.nowMs())
        return
      case 'unknown':
        link.unknown = true
        link.manifest = false
        if (this.#phase === 'fetching') this.#inquire(link)
        return
      case 'peers':
        for (const peer of heard.peers) this.hint(peer)
        return
      case 'bad':
        this.#ports.transport.blame(link.peer, `swarm: ${heard.why}`)
        return this.#lost(link)
      case 'closed':
        return this.#lost(link)
      case 'have':
      case 'have-more':
        if (this.#phase === 'checking' || this.#phase === 'looking') return this.#keepEarly(link, heard)
        if (heard.kind === 'have' && heard.total !== chunkCount(this.#manifest as Manifest))
          return this.#ban(link, 'a map of another image')
        this.#welcome(link)
        if (heard.kind === 'have' && heard.gains) this.#tell(link)
        return this.#step(
          heard.kind === 'have'
            ? { ...heard, peer: link.peer, assigns: heard.gains }
            : { ...heard, peer: link.peer },
        )
      case 'blocks':
        if (heard.said.kind === 'blocks') link.blocks = true
        else this.#blocks?.hear(link.peer, heard.said)
        return
      case 'lack':
        return this.#step({ ...heard, peer: link.peer })
      case 'piece':
        return this.#step(
          { kind: 'piece', peer: link.peer, index: heard.index, bytes: heard.frame.length },
          heard.frame,
        )
    }
  }

  #keepEarly(link: Link, heard: Heard): void {
    // A section of a map stands for many chunks: more of them than this is no honest source.
    if (this.#early.length >= 4_096) return this.#ban(link, 'too much said too early')
    this.#early.push({ link, heard })
  }

  #welcome(link: Link): void {
    if (link.joined) return
    link.joined = true
    const rttMs = Math.max(1, this.#ports.clock.nowMs() - link.helloMs)
    this.#step({ kind: 'source', peer: link.peer, near: link.near, rttMs })
    // Of neighbours chunks come as they lie: what is waited for there is the CPU.
    if (link.blocks && !link.near) this.#blocks?.join(link.peer)
  }

  /** A source that shows the image piece by piece is told what is not needed of it, and from then on what is gained. */
  #tell(link: Link): void {
    const { state } = this.#download as Download
    link.told = true
    const held = Array.from(state, (each) => each === HERE)
    link.conversation?.needsNot(state.length, encodeSection(0, held))
  }

  #gained(index: number): void {
    this.#gains.push(index)
    if (this.#gains.length === 1) this.#ports.clock.after(HAVE_MORE_MS, () => this.#tellGains())
  }

  #tellGains(): void {
    const gains = this.#gains
    this.#gains = []
    const told = this.#links.open().filter((link) => link.told)
    for (let at = 0; at < gains.length; at += INDEXES_MAX)
      for (const { conversation } of told) conversation?.gained(gains.slice(at, at + INDEXES_MAX))
  }

  #lost(link: Link): void {
    this.#links.hangUp(link)
    this.#search.lost(link)
    this.#early = this.#early.filter((early) => early.link !== link)
    this.#blocks?.lost(link.peer)
    if (this.#phase === 'fetching') this.#step({ kind: 'lost', peer: link.peer })
  }

  #ban(link: Link, why: string): void {
    this.#ports.transport.blame(link.peer, `swarm: ${why}`)
    this.#around.ban(link.peer)
    this.#lost(link)
  }

  #openBlocks(manifest: Manifest): BlockFetch | undefined {
    const { blocks } = this.#ports
    if (blocks === undefined) return undefined
    return new BlockFetch(
      manifest,
      { ...this.#ports, ...blocks },
      {
        say: (peer, request) => this.#links.get(peer)?.conversation?.ask(request),
        lendable: (peer, chunks) => this.#step({ kind: 'lendable', peer, chunks }),
        made: (peer, index, frame, crossed) =>
          this.#step({ kind: 'made', peer, index, bytes: frame.length }, frame, crossed),
        returned: (peer, indexes, whole) => this.#step({ kind: 'returned', peer, indexes, whole }),
        ban: (peer, why) => {
          const link = this.#links.get(peer)
          if (link !== undefined) this.#ban(link, why)
        },
      },
    )
  }

  // What the picker wants ------------------------------------------------------------------------------------------

  /** `crossed`: what came for `frame`, when it was made here. */
  #step(event: Event, frame?: Uint8Array, crossed?: number): void {
    if (this.#phase !== 'fetching') return
    const effects = step(this.#download as Download, event, this.#ports.clock.nowMs())
    for (const effect of effects) this.#perform(effect, frame, crossed)
  }

  #perform(effect: Effect, frame: Uint8Array | undefined, crossed: number | undefined): void {
    if (this.#phase !== 'fetching') return
    switch (effect.kind) {
      case 'want':
        return this.#links.get(effect.peer)?.conversation?.want(effect.indexes)
      case 'cancel':
        return this.#links.get(effect.peer)?.conversation?.cancel(effect.indexes)
      case 'lend':
        return this.#blocks?.lent(effect.peer, effect.indexes)
      case 'write':
        return this.#write(effect.peer, effect.index, frame as Uint8Array, crossed)
      case 'ban':
      case 'drop': {
        const link = this.#links.get(effect.peer)
        if (effect.kind === 'drop') return link === undefined ? undefined : this.#lost(link)
        this.#around.ban(effect.peer)
        this.#ports.transport.blame(effect.peer, `swarm: chunk ${effect.index} is not what its name says`)
        return link === undefined ? undefined : this.#lost(link)
      }
      case 'complete':
        return this.#sync()
      case 'starved':
        return this.#finish(failed({ code: 'NO_SOURCE', image: this.#image, missing: effect.missing }))
    }
  }

  #write(peer: PeerId, index: number, frame: Uint8Array, crossed: number | undefined): void {
    const manifest = this.#manifest as Manifest
    const id = readableChunkAt(manifest, index)
    if (id === undefined) {
      giveBack(frame)
      return this.#unreadable()
    }
    const bytes = frame.length
    const over = (outcome: Outcome<void>): void => {
      giveBack(frame)
      if (this.#phase !== 'fetching') return
      if (outcome.ok) {
        this.#brought.add(peer)
        const link = this.#links.get(peer)
        if (link !== undefined) this.#links.praise(link)
        this.#around.gained(index, id)
        this.#gained(index)
        this.#step({ kind: 'stored', index, bytes, ...(crossed !== undefined && { crossed }) })
      } else if (outcome.failure.code === 'CHUNK_CORRUPT') this.#step({ kind: 'corrupt', peer, index, bytes })
      else this.#finish(outcome)
    }
    const chunkBytes = chunkLength(manifest, index)
    // What was made here was hashed and packed here, too.
    if (crossed !== undefined) this.#ports.chunks.put([{ id, frame, chunkBytes }], over)
    else this.#ports.chunks.write(id, frame, chunkBytes, over)
  }

  // The end --------------------------------------------------------------------------------------------------------

  #sync(): void {
    this.#phase = 'syncing'
    this.#blocks?.close()
    this.#tellGains()
    this.#links.close()
    this.#ports.chunks.sync((outcome) => {
      if (this.#phase === 'ended') return
      if (!outcome.ok) return this.#finish(outcome)
      this.#ports.directory.provide(this.#image)
      this.#ports.came?.(this.#image)
      this.#finish(ok({ manifest: this.#manifest as Manifest, report: this.#report() }))
    })
  }

  #report(): Report {
    const { bytes, meter } = this.#download as Download
    return {
      logicalBytes: bytes,
      dedupBytes: meter.dedupBytes,
      compressedBytes: meter.compressedBytes,
      wireBytes: this.#links.wireBytes(),
      matchedBytes: this.#blocks?.matchedBytes ?? 0,
      duplicateBytes: meter.duplicateBytes,
      sources: this.#brought.size,
      links: this.#links.byPeer(),
    }
  }

  #finish(outcome: Outcome<{ manifest: Manifest; report: Report }> | { ok: false; failure: Failure }): void {
    if (this.#phase === 'ended') return
    if (outcome.ok) this.#show(Infinity)
    const requests = [...this.#requests]
    this.#requests.clear()
    this.#end()
    for (const { done } of requests) this.#ports.clock.after(0, () => done(outcome))
  }

  #end(): void {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    this.#blocks?.close()
    this.#hold.release()
    this.#room?.release()
    this.#digest.stop()
    this.#search.stop()
    this.#links.close()
    this.#around.ended()
  }

  #show(nowMs: number): void {
    if (this.#download === undefined || nowMs - this.#shownMs < PROGRESS_MS) return
    this.#shownMs = nowMs
    const progress: Progress = {
      ...progressOf(this.#download.meter),
      wireBytes: this.#links.wireBytes(),
      sources: this.#download.sources.length,
    }
    const text = JSON.stringify(progress)
    if (text === this.#shown) return
    this.#shown = text
    for (const { onProgress } of this.#requests) onProgress(progress)
  }
}

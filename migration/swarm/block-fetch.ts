/**
 * The second level of one download (docs/decisions/0013): chunks that the picker lends for a source are made here from
 * blocks of images that are held, and from what the source sends of the rest. For each source:
 *
 *   lent ──prints-of──▶ printed ──bases looked at──▶ planned ──blocks-of──▶ on its way ──▶ made
 *                          └── nothing lacking ──────────────────────────────────────────▶ made
 *   whatever goes wrong, and `plain` ──▶ returned, to come whole
 *
 * Prints of the next chunks are asked for while blocks of these are on their way, and the next batch when the first part of
 * this one is here: the source presses one while it sends another.
 *
 * Promises: every chunk that is lent is made or returned, at most SOURCE_SILENT_MS after its source last said something;
 * nothing is asked of a source that has not said `blocks`; what a source sends that was not asked for ends its channel.
 * Bounds: PRINTS_CHUNKS_MAX chunks printed and as many planned for each source, two batches in hand, of which one is read.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { ChunkId, PeerId } from '../../protocols/ids.ts'
import {
  LEND_CHUNKS_MIN,
  LISTING_PATIENCE_MS,
  PRINTS_CHUNKS_MAX,
  SOURCE_SILENT_MS,
  WINDOW_BLOCKS_MAX,
} from '../../protocols/limits.ts'
import type { BlockAnswer, BlockRequest } from '../../protocols/swarm/block-messages.ts'
import { blockCount, FINGERPRINT_BYTES } from '../../storage/images/fingerprint.ts'
import { readableChunkAt, chunkLength, type Manifest } from '../../storage/images/manifest.ts'
import { decodeSketch, type Sketch, sketchOf } from '../../storage/images/sketch.ts'
import type { StoredChunk } from '../../storage/images/block-work.ts'
import { Assembling } from '../second-level/assembling.ts'
import { type BasePorts, Bases } from '../second-level/bases.ts'
import { type Batch, batchesOf, dictionaryOf, type Planned } from '../second-level/batch.ts'
import { Delivery } from '../second-level/delivery.ts'
import { literalBytes } from '../second-level/delta.ts'
import { type Gain, type Method, methodOf } from '../second-level/worth.ts'

type Around = {
  say(peer: PeerId, request: BlockRequest): void
  /** So many chunks may be lent for this source at once. */
  lendable(peer: PeerId, chunks: number): void
  /** `crossed`: bytes that came for it; the rest of it was here. */
  made(peer: PeerId, index: number, frame: Uint8Array, crossed: number): void
  returned(peer: PeerId, indexes: readonly number[], whole: boolean): void
  /** It sent what nobody would who means well. */
  ban(peer: PeerId, why: string): void
}

type Lender = {
  readonly peer: PeerId
  readonly assembling: Assembling
  /** Lent and not printed yet. */
  readonly waiting: Set<number>
  /** Prints are asked for. */
  asked: readonly number[]
  /** Printed, and being looked for in the bases. */
  planning: readonly number[]
  readonly batches: Batch[]
  /** Asked for and not read to the end, in the order in which they come. */
  readonly deliveries: { readonly number: number; readonly delivery: Delivery }[]
  /** A batch's dictionary is being read. */
  asking: boolean
  /** Chunks in the plan or on their way, with what crosses for each. */
  readonly planned: Map<number, number>
  numbers: number
  /** Of parts of deltas behind their first, how long they took. */
  readonly meter: { bytes: number; ms: number; lastMs: number }
  heardMs: number
}

/** What stored frames take of their chunks, while no source has said it. */
const FRAME_SHARE = 0.4
/** Less says nothing of how fast a link is: what it brings in a second at 32 Mbit/s. */
const MEASURE_BYTES = 4 * 1024 ** 2

export class BlockFetch {
  readonly #manifest: Manifest
  readonly #ports: BasePorts & { readonly clock: Clock }
  readonly #around: Around
  readonly #bases: Bases
  readonly #lenders = new Map<PeerId, Lender>()
  /** Which images are near: it is asked of one source, else seen from the first prints. */
  #search: 'listing' | 'none' | 'asked' | 'unsketched' | 'searching' | 'found' | 'nothing' = 'listing'
  /** Prints that wait for the search of bases. */
  readonly #waiting: {
    readonly lender: Lender
    readonly indexes: readonly number[]
    readonly prints: Uint8Array[]
  }[] = []
  readonly #gain: Gain = { chunks: 0, wireBytes: 0, frameBytes: 0 }
  /** Of content that stored frames took, by what sources said. */
  #told = { frameBytes: 0, chunkBytes: 0 }
  /** Bytes of blocks that were here. */
  matchedBytes = 0
  #closed = false

  constructor(manifest: Manifest, ports: BasePorts & { readonly clock: Clock }, around: Around) {
    this.#manifest = manifest
    this.#ports = ports
    this.#around = around
    this.#bases = new Bases(ports, manifest.image)
    const listed = (): void => {
      if (this.#closed || this.#search !== 'listing') return
      this.#search = Bases.areThere(ports, manifest.image) ? 'none' : 'nothing'
      if (this.#search === 'none') this.#askSketch()
      else this.#leaveAll()
    }
    // What came a moment ago may be what is nearest. A little patience: a list of much takes longer than it saves.
    if (ports.hurry === undefined) listed()
    else {
      ports.hurry(listed)
      ports.clock.after(LISTING_PATIENCE_MS, listed)
    }
  }

  /** A source that speaks of blocks, and is not near. */
  join(peer: PeerId): void {
    if (this.#search === 'nothing' || this.#lenders.has(peer)) return
    const lender: Lender = {
      peer,
      assembling: new Assembling({
        bases: this.#bases,
        work: this.#ports.work,
        idAt: (index) => this.#idAt(index),
        made: (chunk, frame) => this.#made(lender, chunk, frame),
        spoiled: (chunk, wrong) => this.#spoiled(lender, chunk, wrong),
        room: () => lender.deliveries.forEach(({ delivery }) => delivery.pump()),
      }),
      waiting: new Set(),
      asked: [],
      planning: [],
      batches: [],
      deliveries: [],
      asking: false,
      planned: new Map(),
      numbers: 0,
      meter: { bytes: 0, ms: 0, lastMs: 0 },
      heardMs: this.#nowMs(),
    }
    this.#lenders.set(peer, lender)
    if (this.#search === 'none') this.#askSketch()
    // As many as the first judgement takes: they show whether it is worth more.
    this.#around.lendable(peer, LEND_CHUNKS_MIN)
  }

  lent(peer: PeerId, indexes: readonly number[]): void {
    const lender = this.#lenders.get(peer)
    if (lender === undefined) return this.#around.returned(peer, indexes, false)
    if (isIdle(lender)) lender.heardMs = this.#nowMs()
    for (const index of indexes) lender.waiting.add(index)
    this.#print(lender)
  }

  /** What is lent for it is the picker's again: it knows. */
  lost(peer: PeerId): void {
    const lender = this.#lenders.get(peer)
    if (lender !== undefined) this.#drop(lender)
  }

  tick(nowMs: number): void {
    for (const lender of this.#lenders.values())
      if (isExpected(lender) && nowMs - lender.heardMs > SOURCE_SILENT_MS) this.#leave(lender)
  }

  hear(peer: PeerId, said: Exclude<BlockAnswer, { kind: 'blocks' }>): void {
    const lender = this.#lenders.get(peer)
    // Left: what it was asked for before may still come.
    if (lender === undefined) return
    lender.heardMs = this.#nowMs()
    switch (said.kind) {
      case 'sketch':
        return this.#sketched(lender, said.data)
      case 'prints':
        return this.#printed(lender, said.indexes, said.data)
      case 'plain':
        return this.#plain(lender, said.indexes)
      case 'delta':
        return this.#delta(lender, said)
    }
  }

  close(): void {
    this.#closed = true
    for (const { peer } of this.#lenders.values()) this.lost(peer)
  }

  // Which images are near ------------------------------------------------------------------------------------------

  #askSketch(): void {
    const [lender] = this.#lenders.values()
    this.#search = lender === undefined ? 'none' : 'asked'
    if (lender !== undefined) this.#around.say(lender.peer, { kind: 'sketch-of' })
  }

  #sketched(lender: Lender, data: Uint8Array): void {
    if (this.#search !== 'asked') return
    let target: Sketch | undefined
    try {
      target = data.length === 0 ? undefined : decodeSketch(data)
    } catch {
      return this.#ban(lender, 'a sketch that is none')
    }
    if (target !== undefined) return this.#find(target)
    // It has no list of the image: what is near is seen from the first prints.
    this.#search = 'unsketched'
    const prints = this.#waiting.flatMap((each) => each.prints)
    if (prints.length > 0) this.#find(sketchOf(...prints))
  }

  #find(target: Sketch): void {
    this.#search = 'searching'
    this.#bases.find(target, (found) => {
      if (this.#closed) return
      this.#search = found ? 'found' : 'nothing'
      const waiting = this.#waiting.splice(0)
      if (found) for (const each of waiting) this.#plan(each.lender, each.indexes, each.prints)
      else this.#leaveAll()
    })
  }

  // Prints ---------------------------------------------------------------------------------------------------------

  #print(lender: Lender): void {
    if (lender.asked.length > 0 || lender.planning.length > 0 || lender.waiting.size === 0) return
    const indexes: number[] = []
    let blocks = 0
    for (const index of [...lender.waiting].sort((a, b) => a - b)) {
      blocks += blockCount(this.#lengthAt(index))
      if (blocks > WINDOW_BLOCKS_MAX || indexes.length === PRINTS_CHUNKS_MAX) break
      indexes.push(index)
    }
    for (const index of indexes) lender.waiting.delete(index)
    lender.asked = indexes
    this.#around.say(lender.peer, { kind: 'prints-of', indexes })
  }

  #printed(lender: Lender, indexes: readonly number[], data: Uint8Array): void {
    const asked = new Set(lender.asked)
    const bytesOf = (index: number): number => blockCount(this.#lengthAt(index)) * FINGERPRINT_BYTES
    const isAnswer = new Set(indexes).size === indexes.length && indexes.every((index) => asked.has(index))
    if (!isAnswer || data.length !== indexes.reduce((sum, index) => sum + bytesOf(index), 0))
      return this.#ban(lender, 'fingerprints that were not asked for')
    const left = lender.asked.filter((index) => !indexes.includes(index))
    // What it leaves out it has not; `plain` may have said so already.
    lender.asked = []
    if (left.length > 0) this.#around.returned(lender.peer, left, true)
    lender.planning = indexes
    let at = 0
    const prints = indexes.map((index) => data.slice(at, (at += bytesOf(index))))
    if (this.#search === 'found') return this.#plan(lender, indexes, prints)
    this.#waiting.push({ lender, indexes, prints })
    if (this.#search === 'unsketched') this.#find(sketchOf(...prints))
  }

  #plan(lender: Lender, indexes: readonly number[], prints: readonly Uint8Array[]): void {
    if (!this.#has(lender)) return
    this.#bases.plan(prints, (plans) => {
      if (!this.#has(lender)) return
      lender.planning = []
      lender.heardMs = this.#nowMs()
      const chunks = indexes.flatMap((index, i): Planned[] => {
        const plan = plans[i]
        return plan === undefined ? [] : [{ index, chunkBytes: this.#lengthAt(index), plan }]
      })
      this.#planned(lender, chunks)
    })
  }

  #planned(lender: Lender, chunks: readonly Planned[]): void {
    for (const { index, chunkBytes } of chunks)
      lender.planned.set(index, blockCount(chunkBytes) * FINGERPRINT_BYTES)
    const method = this.#method(lender)
    if (method.kind === 'frames') return this.#leave(lender)
    for (const chunk of chunks)
      if (literalBytes(chunk.plan.lacking, chunk.chunkBytes) === 0)
        lender.assembling.take(chunk, new Uint8Array())
    lender.batches.push(...batchesOf(chunks, method.batchBytes))
    this.#ask(lender)
    this.#print(lender)
  }

  // Blocks ---------------------------------------------------------------------------------------------------------

  /** The next batch, once the source has pressed the one before. */
  #ask(lender: Lender): void {
    const { asking, batches, deliveries } = lender
    if (asking || batches.length === 0 || deliveries.length > 1) return
    if (deliveries.some(({ delivery }) => delivery.cameBytes === 0)) return
    const method = this.#method(lender)
    if (method.kind === 'frames') return this.#leave(lender)
    const batch = batches.shift() as Batch
    lender.asking = true
    this.#dictionary(batch, (dictionary) => {
      if (!this.#has(lender)) return
      lender.asking = false
      const number = lender.numbers++
      const delivery: Delivery = new Delivery(batch, dictionary, {
        work: this.#ports.work,
        assembling: lender.assembling,
        read: () => this.#read(lender, number),
        failed: (code) =>
          code === 'FRAME_INVALID' ? this.#ban(lender, 'a delta that is none') : this.#leave(lender),
      })
      deliveries.push({ number, delivery })
      lender.heardMs = this.#nowMs()
      this.#around.say(lender.peer, {
        kind: 'blocks-of',
        batch: number,
        indexes: batch.chunks.map(({ index }) => index),
        lacking: Buffer.concat(batch.chunks.map(({ plan }) => plan.lacking)),
        dictionary: Buffer.concat(dictionary.map(({ id }) => Buffer.from(id, 'hex'))),
        level: method.level,
      })
    })
  }

  /** Only what can be read: it is read before it is named. */
  #dictionary(batch: Batch, done: (dictionary: StoredChunk[]) => void): void {
    const chosen = dictionaryOf(batch, {
      blocksOfChunk: (base) => this.#bases.blocksOfChunk(base),
      sameIndex: (index) => this.#bases.sameIndex(index, this.#manifest.chunkBytes),
    })
    const dictionary: StoredChunk[] = []
    const next = (at: number): void => {
      const chunk = chosen[at]
      if (chunk === undefined) return done(dictionary)
      const id = this.#bases.idOf(chunk)
      if (id === undefined || dictionary.some((each) => each.id === id)) return next(at + 1)
      this.#bases.stored(id, (stored) => {
        if (stored.ok) dictionary.push(stored.value)
        next(at + 1)
      })
    }
    next(0)
  }

  #delta(lender: Lender, said: Extract<BlockAnswer, { kind: 'delta' }>): void {
    const current = lender.deliveries.find(({ delivery }) => !delivery.whole)
    if (current?.number !== said.batch) return this.#ban(lender, 'a delta that was not asked for')
    const { batch } = current.delivery
    this.#measure(lender, said.at, said.data.length)
    if (said.at === 0) {
      this.#told.frameBytes += said.frameBytes
      for (const { index, chunkBytes, plan } of batch.chunks) {
        const part = literalBytes(plan.lacking, chunkBytes) / batch.literalBytes
        lender.planned.set(index, (lender.planned.get(index) ?? 0) + Math.round(part * said.total))
        this.#told.chunkBytes += chunkBytes
      }
    }
    if (!current.delivery.part(said.at, said.total, said.withDictionary, said.data))
      return this.#ban(lender, 'a delta out of order')
    if (said.at === 0) this.#ask(lender)
  }

  #read(lender: Lender, number: number): void {
    const at = lender.deliveries.findIndex((each) => each.number === number)
    if (at >= 0) lender.deliveries.splice(at, 1)
    if (this.#has(lender)) this.#ask(lender)
  }

  /**
   * A link's rate shows between parts of one delta: before the first one the source works. Over all of them: parts that waited
   * for this process come at once, and say nothing by themselves.
   */
  #measure({ meter }: Lender, at: number, bytes: number): void {
    const nowMs = this.#nowMs()
    if (at > 0) {
      meter.bytes += bytes
      meter.ms += nowMs - meter.lastMs
    }
    meter.lastMs = nowMs
  }

  // Chunks ---------------------------------------------------------------------------------------------------------

  #made(lender: Lender, { index, chunkBytes, plan }: Planned, frame: Uint8Array): void {
    if (!this.#has(lender)) return
    const crossed = lender.planned.get(index) ?? 0
    this.matchedBytes += chunkBytes - literalBytes(plan.lacking, chunkBytes)
    this.#settle(lender, index, crossed)
    this.#around.made(lender.peer, index, frame, crossed)
    this.#goOn(lender)
  }

  /** It comes whole. Nobody is to blame where blocks of a base were mixed in, or where it failed here. */
  #spoiled(lender: Lender, { index, chunkBytes, plan }: Planned, wrong: boolean): void {
    if (!this.#has(lender)) return
    if (wrong && plan.copies.length === 0)
      return this.#ban(lender, `chunk ${index} is not what its name says`)
    this.#settle(lender, index, (lender.planned.get(index) ?? 0) + this.#frameBytes(chunkBytes))
    this.#around.returned(lender.peer, [index], true)
    this.#goOn(lender)
  }

  #settle(lender: Lender, index: number, crossed: number): void {
    lender.heardMs = this.#nowMs()
    lender.planned.delete(index)
    this.#gain.chunks++
    this.#gain.wireBytes += crossed
    this.#gain.frameBytes += this.#frameBytes(this.#lengthAt(index))
  }

  /** What is done makes room for more; after the first chunks for many. */
  #goOn(lender: Lender): void {
    if (this.#gain.chunks < LEND_CHUNKS_MIN / 2 || !this.#has(lender)) return
    if (this.#method(lender).kind === 'frames') this.#leave(lender)
    else this.#around.lendable(lender.peer, 2 * PRINTS_CHUNKS_MAX)
  }

  #plain(lender: Lender, indexes: readonly number[]): void {
    const refused = lender.deliveries.filter(({ delivery }) =>
      delivery.batch.chunks.some(({ index }) => indexes.includes(index)),
    )
    const plain = new Set([
      ...lender.asked.filter((index) => indexes.includes(index)),
      ...refused.flatMap(({ delivery }) => delivery.batch.chunks.map(({ index }) => index)),
    ])
    for (const each of refused) {
      each.delivery.close()
      lender.deliveries.splice(lender.deliveries.indexOf(each), 1)
    }
    lender.asked = lender.asked.filter((index) => !plain.has(index))
    for (const index of plain) lender.planned.delete(index)
    this.#around.returned(lender.peer, [...plain], true)
    if (!this.#has(lender)) return
    this.#ask(lender)
    this.#print(lender)
  }

  // The end --------------------------------------------------------------------------------------------------------

  #has(lender: Lender): boolean {
    return !this.#closed && this.#lenders.get(lender.peer) === lender
  }

  #method({ meter: { bytes, ms } }: Lender): Method {
    return methodOf(bytes < MEASURE_BYTES ? 0 : (bytes * 1000) / Math.max(1, ms), this.#gain)
  }

  #frameBytes(chunkBytes: number): number {
    const { frameBytes, chunkBytes: of } = this.#told
    return chunkBytes * (of === 0 ? FRAME_SHARE : frameBytes / of)
  }

  #leaveAll(): void {
    this.#waiting.length = 0
    for (const lender of this.#lenders.values()) this.#leave(lender)
  }

  /** From now on all comes whole from it. */
  #leave(lender: Lender): void {
    if (!this.#has(lender)) return
    this.#drop(lender)
    this.#around.lendable(lender.peer, 0)
    const indexes = [...lender.waiting, ...lender.asked, ...lender.planning, ...lender.planned.keys()]
    this.#around.returned(lender.peer, indexes, false)
  }

  #drop(lender: Lender): void {
    this.#lenders.delete(lender.peer)
    for (const { delivery } of lender.deliveries) delivery.close()
    if (this.#search === 'asked' && !this.#closed) this.#askSketch()
  }

  #ban(lender: Lender, why: string): void {
    this.#leave(lender)
    this.#around.ban(lender.peer, why)
  }

  #idAt(index: number): ChunkId | undefined {
    return readableChunkAt(this.#manifest, index)
  }

  #lengthAt(index: number): number {
    return chunkLength(this.#manifest, index)
  }

  #nowMs(): number {
    return this.#ports.clock.nowMs()
  }
}

const isIdle = ({ waiting, asked, planning, planned }: Lender): boolean =>
  waiting.size + asked.length + planning.length + planned.size === 0

/** It is its turn to say something, or to have its blocks put together. */
const isExpected = (lender: Lender): boolean => !isIdle(lender) && lender.planning.length === 0

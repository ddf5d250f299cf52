/**
 * Answers for blocks (docs/decisions/0013): a sketch, fingerprints of chunks, deltas of blocks.
 *
 *   asked ──▶ checked against every bound ──▶ waiting for its turn ──▶ worked on ──▶ answered
 *                 └── too much in hand, or a chunk that is not here ──▶ `plain`
 *
 * Fingerprints come from the image's list, and where there is none (it came a moment ago) from its chunks.
 *
 * Bounds: BLOCK_JOBS_MAX requests worked on at once and one of each channel, BLOCK_WAITING_MAX waiting, two of a channel; of a batch
 * its literals and its dictionary are in memory; BLOCK_UNSENT_BYTES_MAX of deltas wait for slow channels.
 */
import type { ChunkId, ImageId } from '../../protocols/ids.ts'
import {
  BATCH_BYTES_MAX,
  BLOCK_JOBS_MAX,
  BLOCK_UNSENT_BYTES_MAX,
  BLOCK_WAITING_MAX,
  SWARM_PART_BYTES,
  WINDOW_BLOCKS_MAX,
} from '../../protocols/limits.ts'
import type { BlockRequest } from '../../protocols/swarm/block-messages.ts'
import { encode, parts } from '../../protocols/swarm/messages.ts'
import type { StoredChunk } from '../../storage/images/block-work.ts'
import { BLOCK_BYTES, blockCount, FINGERPRINT_BYTES } from '../../storage/images/fingerprint.ts'
import { chunkLength, HASH_BYTES, type Manifest } from '../../storage/images/manifest.ts'
import { encodeSketch } from '../../storage/images/sketch.ts'
import type { BasePorts } from '../second-level/bases.ts'
import { literalBytes, literalsOf } from '../second-level/delta.ts'
import type { Outbox } from './outbox.ts'

/** Of a channel on which blocks are served. */
export type Asker = {
  readonly outbox: Outbox
  readonly closed: boolean
  /** Undefined for one to whom only a list of chunks is known. */
  readonly manifest: Manifest | undefined
  idAt(index: number): ChunkId | undefined
}

/** Ours ask for no more: what is above costs ten times the CPU for a fiftieth. */
const LEVEL_MAX = 9

type Job = { readonly asker: Asker; readonly request: BlockRequest }
/** A chunk that blocks are asked of. */
type Wanted = { readonly index: number; readonly id: ChunkId; readonly bytes: number }

export class BlockServer {
  readonly #ports: BasePorts
  readonly #waiting: Job[] = []
  readonly #working = new Set<Asker>()
  #unsentBytes = 0

  constructor(ports: BasePorts) {
    this.#ports = ports
  }

  /** Why a request is none that anybody would make who means well; undefined when it is. */
  hear(asker: Asker, request: BlockRequest): string | undefined {
    const { manifest } = asker
    if (manifest === undefined) return 'blocks of no image'
    const fault = request.kind === 'sketch-of' ? undefined : faultOf(manifest, request)
    if (fault !== undefined) return fault
    const mine = this.#waiting.filter((job) => job.asker === asker).length
    if (mine >= 2 || this.#waiting.length >= BLOCK_WAITING_MAX) refuse({ asker, request })
    else this.#waiting.push({ asker, request })
    this.#turn()
    return undefined
  }

  #turn(): void {
    while (this.#working.size < BLOCK_JOBS_MAX) {
      const at = this.#waiting.findIndex(({ asker }) => !this.#working.has(asker))
      const [job] = at < 0 ? [] : this.#waiting.splice(at, 1)
      if (job === undefined) return
      if (job.asker.closed) continue
      this.#working.add(job.asker)
      this.#work(job, (done) => {
        this.#working.delete(job.asker)
        if (!done && !job.asker.closed) refuse(job)
        this.#turn()
      })
    }
  }

  /** `over` with false: it could not be answered. */
  #work({ asker, request }: Job, over: (done: boolean) => void): void {
    const manifest = asker.manifest as Manifest
    if (request.kind === 'sketch-of') return this.#sketch(asker, manifest.image, over)
    const wanted = request.indexes.flatMap((index): Wanted[] => {
      const id = asker.idAt(index)
      return id === undefined ? [] : [{ index, id, bytes: chunkLength(manifest, index) }]
    })
    if (wanted.length !== request.indexes.length) over(false)
    else if (request.kind === 'prints-of') this.#prints(asker, manifest, wanted, over)
    else this.#delta(asker, wanted, request, over)
  }

  #sketch({ outbox }: Asker, image: ImageId, over: (done: boolean) => void): void {
    this.#ports.lists.sketch(image, (sketch) => {
      outbox.send(
        encode({ kind: 'sketch', data: sketch.ok ? encodeSketch(sketch.value) : new Uint8Array(0) }),
      )
      over(true)
    })
  }

  // Fingerprints ---------------------------------------------------------------------------------------------------

  #prints(asker: Asker, manifest: Manifest, wanted: readonly Wanted[], over: (done: boolean) => void): void {
    const { chunks, lists, work } = this.#ports
    const isListed = lists.list().includes(manifest.image)
    const printed: { readonly index: number; readonly list: Uint8Array }[] = []
    const next = (at: number): void => {
      const chunk = wanted[at]
      if (asker.closed) return over(false)
      if (chunk === undefined) return this.#sendPrints(asker, wanted, printed, over)
      const { index, id, bytes } = chunk
      const keep = (list: Uint8Array): void => {
        if (list.length === blockCount(bytes) * FINGERPRINT_BYTES) printed.push({ index, list })
        next(at + 1)
      }
      const unpacked = (): void =>
        chunks.read(id, (read) => {
          if (!read.ok) return next(at + 1)
          work.fingerprints({ id, frame: read.value }, (made) => (made.ok ? keep(made.value) : next(at + 1)))
        })
      if (!isListed) return unpacked()
      const first = (index * manifest.chunkBytes) / BLOCK_BYTES
      lists.read(manifest.image, first, blockCount(bytes), (list) =>
        list.ok ? keep(list.value) : unpacked(),
      )
    }
    next(0)
  }

  #sendPrints(
    { outbox }: Asker,
    wanted: readonly Wanted[],
    printed: readonly { readonly index: number; readonly list: Uint8Array }[],
    over: (done: boolean) => void,
  ): void {
    const here = new Set(printed.map(({ index }) => index))
    const lacking = wanted.flatMap(({ index }) => (here.has(index) ? [] : [index]))
    if (lacking.length > 0) outbox.send(encode({ kind: 'plain', indexes: lacking }))
    if (printed.length > 0)
      outbox.send(
        encode({
          kind: 'prints',
          indexes: [...here],
          data: Buffer.concat(printed.map(({ list }) => list)),
        }),
      )
    over(true)
  }

  // Blocks ---------------------------------------------------------------------------------------------------------

  #delta(
    asker: Asker,
    wanted: readonly Wanted[],
    request: Extract<BlockRequest, { kind: 'blocks-of' }>,
    over: (done: boolean) => void,
  ): void {
    if (this.#unsentBytes > BLOCK_UNSENT_BYTES_MAX) return over(false)
    this.#literals(asker, wanted, request.lacking, (gathered) => {
      if (gathered === undefined) return over(false)
      this.#dictionary(request.dictionary, (dictionary) => {
        const { literals, frameBytes } = gathered
        const pressed = { literals, level: Math.min(request.level, LEVEL_MAX), dictionary: dictionary ?? [] }
        this.#ports.work.press(pressed, (made) => {
          if (!made.ok || asker.closed) return over(false)
          const { batch } = request
          const about = {
            kind: 'delta',
            batch,
            withDictionary: dictionary !== undefined,
            frameBytes,
          } as const
          this.#unsentBytes += made.value.length
          asker.outbox.stream(this.#frames(asker, about, made.value))
          over(true)
        })
      })
    })
  }

  *#frames(
    asker: Asker,
    about: { kind: 'delta'; batch: number; withDictionary: boolean; frameBytes: number },
    frame: Uint8Array,
  ): Generator<Uint8Array> {
    let left = frame.length
    try {
      for (const { at, data } of parts(frame, SWARM_PART_BYTES)) {
        yield encode({ ...about, total: frame.length, at, data })
        left -= data.length
        this.#unsentBytes -= data.length
        if (asker.closed) return
      }
    } finally {
      this.#unsentBytes -= left
    }
  }

  /** The blocks that are asked for, one after the other; undefined when a chunk is not here. */
  #literals(
    asker: Asker,
    wanted: readonly Wanted[],
    lacking: Uint8Array,
    done: (gathered: { literals: Uint8Array; frameBytes: number } | undefined) => void,
  ): void {
    const rows = rowsOf(wanted, lacking)
    const literals = new Uint8Array(rows.reduce((sum, { bytes, bits }) => sum + literalBytes(bits, bytes), 0))
    let frameBytes = 0
    let taken = 0
    const next = (at: number): void => {
      const row = rows[at]
      if (asker.closed) return done(undefined)
      if (row === undefined) return done({ literals, frameBytes })
      this.#ports.chunks.read(row.id, (read) => {
        if (!read.ok) return done(undefined)
        const frame = read.value
        frameBytes += frame.length
        this.#ports.work.unpack({ id: row.id, frame }, (content) => {
          if (!content.ok) return done(undefined)
          for (const run of literalsOf(content.value, row.bits)) {
            literals.set(run, taken)
            taken += run.length
          }
          next(at + 1)
        })
      })
    }
    next(0)
  }

  /** Undefined when one of its chunks is not held here, or none is named. */
  #dictionary(ids: Uint8Array, done: (dictionary: StoredChunk[] | undefined) => void): void {
    const named = Array.from({ length: ids.length / HASH_BYTES }, (_, n) =>
      Buffer.from(ids.subarray(n * HASH_BYTES, (n + 1) * HASH_BYTES)).toString('hex'),
    )
    const dictionary: StoredChunk[] = []
    const next = (at: number): void => {
      const id = named[at]
      if (id === undefined) return done(named.length === 0 ? undefined : dictionary)
      this.#ports.chunks.read(id, (read) => {
        if (!read.ok) return done(undefined)
        dictionary.push({ id, frame: read.value })
        next(at + 1)
      })
    }
    next(0)
  }
}

function refuse({ asker, request }: Job): void {
  asker.outbox.send(
    request.kind === 'sketch-of'
      ? encode({ kind: 'sketch', data: new Uint8Array(0) })
      : encode({ kind: 'plain', indexes: request.indexes }),
  )
}

/** The shapes of messages bound each field; these are bounds of fields together. */
function faultOf(
  manifest: Manifest,
  request: Exclude<BlockRequest, { kind: 'sketch-of' }>,
): string | undefined {
  const { indexes } = request
  const past = indexes.some((index) => index * manifest.chunkBytes >= manifest.bytes)
  if (past || indexes.length === 0 || new Set(indexes).size !== indexes.length)
    return 'chunks of another image'
  const blocksOf = (index: number): number => blockCount(chunkLength(manifest, index))
  if (request.kind === 'prints-of')
    return indexes.reduce((sum, index) => sum + blocksOf(index), 0) > WINDOW_BLOCKS_MAX
      ? 'more fingerprints than are given'
      : undefined
  const bits = indexes.reduce((sum, index) => sum + Math.ceil(blocksOf(index) / 8), 0)
  if (bits !== request.lacking.length || request.dictionary.length % HASH_BYTES !== 0)
    return 'blocks that do not fit their chunks'
  const rows = rowsOf(
    indexes.map((index) => ({ index, id: '', bytes: chunkLength(manifest, index) })),
    request.lacking,
  )
  const bytes = rows.reduce((sum, row) => sum + literalBytes(row.bits, row.bytes), 0)
  return bytes === 0 || bytes > BATCH_BYTES_MAX ? 'no blocks, or more than are given' : undefined
}

/** The bits of each chunk, out of those of all. */
function rowsOf(wanted: readonly Wanted[], lacking: Uint8Array): (Wanted & { readonly bits: Uint8Array })[] {
  let at = 0
  return wanted.map((chunk) => {
    const length = Math.ceil(blockCount(chunk.bytes) / 8)
    const bits = lacking.subarray(at, at + length)
    at += length
    return { ...chunk, bits }
  })
}

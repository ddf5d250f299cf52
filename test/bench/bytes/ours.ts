/**
 * What a download costs on the wire, both ways: its messages are made and read, its deltas pressed and unpacked, its chunks
 * put together and checked, by the cores of the product; there is no network in between.
 */
import assert from 'node:assert/strict'
import { CHUNK_BYTES, PRINTS_CHUNKS_MAX, SWARM_PART_BYTES, WORTH_CHUNKS } from '../../../protocols/limits.ts'
import { encodeSection } from '../../../protocols/swarm/have-map.ts'
import {
  decode,
  encode,
  type Message,
  parts,
  PIECE_BYTES_MAX,
  pieceHead,
} from '../../../protocols/swarm/messages.ts'
import { batchesOf, type Batch, dictionaryOf, type Planned } from '../../../migration/second-level/batch.ts'
import { assemble, literalBytes, literalsOf } from '../../../migration/second-level/delta.ts'
import { decodeDelta, encodeDelta } from '../../../storage/images/delta.ts'
import { type Copy, planOf, seek, windowOf } from '../../../migration/second-level/wanted.ts'
import { type Gain, type Method, methodOf } from '../../../migration/second-level/worth.ts'
import { chunkIdOf, pack, unpackSync } from '../../../storage/images/chunk-content.ts'
import { BLOCK_BYTES, fingerprintsOf } from '../../../storage/images/fingerprint.ts'
import { chunkCount, chunkLength } from '../../../storage/images/manifest.ts'
import { encodeManifest } from '../../../storage/images/manifest-form.ts'
import { decodeSketch, encodeSketch, nearest } from '../../../storage/images/sketch.ts'
import type { Image } from './image.ts'

export type Cost = {
  /** Bytes of all frames, both ways. */
  wireBytes: number
  /** Of those, fingerprints and what asks for them; and blocks with what asks for these. */
  printBytes: number
  deltaBytes: number
  missingChunks: number
  /** Chunks that a wrong match spoiled, and that came whole then. */
  again: number
}

const BLOCKS_OF_CHUNK = CHUNK_BYTES / BLOCK_BYTES

/** @param bytesPerS What the link is taken to carry: it decides on the method. */
export function download(held: readonly Image[], target: Image, bytesPerS: number): Cost {
  return new Download(held, target).run(bytesPerS)
}

class Download {
  readonly #held: readonly Image[]
  readonly #target: Image
  readonly #cost: Cost = { wireBytes: 0, printBytes: 0, deltaBytes: 0, missingChunks: 0, again: 0 }
  readonly #gain: Gain = { chunks: 0, wireBytes: 0, frameBytes: 0 }
  #bases: Image[] = []
  /** The base chunk that was unpacked last: copies come in runs. */
  #unpacked: { readonly base: number; readonly ordinal: number; readonly content: Uint8Array } | undefined

  constructor(held: readonly Image[], target: Image) {
    this.#held = held
    this.#target = target
  }

  run(bytesPerS: number): Cost {
    this.#greet()
    const missing = this.#missing()
    this.#cost.missingChunks = missing.length
    if (methodOf(bytesPerS, this.#gain).kind === 'blocks') this.#findBases()
    for (let at = 0; at < missing.length;) {
      const method: Method = this.#bases.length > 0 ? methodOf(bytesPerS, this.#gain) : { kind: 'frames' }
      const some = missing.slice(at, at + (at === 0 ? WORTH_CHUNKS : PRINTS_CHUNKS_MAX))
      if (method.kind === 'frames') for (const index of some) this.#whole(index)
      else this.#byBlocks(some, method)
      at += some.length
    }
    return this.#cost
  }

  #greet(): void {
    const { manifest } = this.#target
    this.#count(encode({ kind: 'hello', image: manifest.image, manifest: true }))
    const encoded = Buffer.concat([...encodeManifest(manifest)])
    for (const { at, data } of parts(encoded, SWARM_PART_BYTES))
      this.#count(encode({ kind: 'manifest', total: encoded.length, at, data }))
    const total = chunkCount(manifest)
    const section = encodeSection(
      0,
      Array.from({ length: total }, () => true),
    )
    this.#count(encode({ kind: 'have', total, ...section }))
  }

  /** Chunks that no image held here has, each content once. */
  #missing(): number[] {
    const known = new Set(this.#held.flatMap(({ ids }) => [...ids.values()]))
    return this.#target.content.filter((index) => {
      const id = this.#target.ids.get(index) as string
      const isNew = !known.has(id)
      known.add(id)
      return isNew
    })
  }

  #findBases(): void {
    this.#say({ kind: 'sketch-of' })
    const { data } = this.#say({ kind: 'sketch', data: encodeSketch(this.#target.sketch) }) as {
      data: Uint8Array
    }
    const candidates = this.#held.map(({ manifest, sketch }) => ({ image: manifest.image, sketch }))
    const names = nearest(decodeSketch(data), candidates)
    this.#bases = names.map((name) => this.#held.find(({ manifest }) => manifest.image === name) as Image)
  }

  #whole(index: number): number {
    const id = this.#target.ids.get(index) as string
    const content = this.#target.read(index)
    const frame = pack(content)
    assert(unpackSync(id, frame, content.length) !== undefined)
    const before = this.#cost.wireBytes
    this.#count(encode({ kind: 'want', indexes: [index] }))
    for (const { at, data } of parts(frame, PIECE_BYTES_MAX)) {
      this.#count(pieceHead({ index, at, total: frame.length }))
      this.#count(data)
    }
    return this.#cost.wireBytes - before
  }

  #byBlocks(indexes: readonly number[], method: Method & { kind: 'blocks' }): void {
    const before = this.#cost.wireBytes
    this.#say({ kind: 'prints-of', indexes: [...indexes] })
    const lists = indexes.map((index) => fingerprintsOf(this.#target.read(index)))
    this.#say({ kind: 'prints', indexes: [...indexes], data: Buffer.concat(lists) })
    this.#cost.printBytes += this.#cost.wireBytes - before

    const window = windowOf(lists)
    this.#bases.forEach(({ list }, base) => seek(window, base, list))
    const chunks = indexes.map((index, i): Planned => {
      const chunkBytes = chunkLength(this.#target.manifest, index)
      return { index, chunkBytes, plan: planOf(window, lists[i] as Uint8Array) }
    })
    for (const batch of batchesOf(chunks, method.batchBytes)) this.#fetch(batch, method.level)
    for (const chunk of chunks)
      if (literalBytes(chunk.plan.lacking, chunk.chunkBytes) === 0) this.#finish(chunk, new Uint8Array())
    this.#gain.chunks += indexes.length
    this.#gain.wireBytes += this.#cost.wireBytes - before
    this.#gain.frameBytes += this.#frameBytes(indexes)
  }

  #frameBytes(indexes: readonly number[]): number {
    return indexes.reduce((sum, index) => sum + pack(this.#target.read(index)).length, 0)
  }

  #fetch(batch: Batch, level: number): void {
    const before = this.#cost.wireBytes
    const { ids, dictionary } = this.#dictionary(batch)
    const indexes = batch.chunks.map(({ index }) => index)
    const lacking = Buffer.concat(batch.chunks.map(({ plan }) => plan.lacking))
    this.#say({ kind: 'blocks-of', batch: 0, indexes, lacking, dictionary: ids, level })

    const blocks = batch.chunks.flatMap(({ index, plan }) =>
      literalsOf(this.#target.read(index), plan.lacking),
    )
    const frame = encodeDelta(blocks, level, dictionary)
    const frameBytes = this.#frameBytes(indexes)
    for (const { at, data } of parts(frame, SWARM_PART_BYTES))
      this.#say({
        kind: 'delta',
        batch: 0,
        withDictionary: dictionary.length > 0,
        frameBytes,
        total: frame.length,
        at,
        data,
      })
    this.#cost.deltaBytes += this.#cost.wireBytes - before

    const literals = decodeDelta(frame, batch.literalBytes, dictionary)
    let at = 0
    for (const chunk of batch.chunks) {
      const length = literalBytes(chunk.plan.lacking, chunk.chunkBytes)
      this.#finish(chunk, literals.subarray(at, at + length))
      at += length
    }
  }

  /** The source is taken to hold the bases too: whoever has the newer image mostly had the older one. */
  #dictionary(batch: Batch): { ids: Uint8Array; dictionary: Uint8Array[] } {
    const [nearestBase] = this.#bases
    // Blocks are counted among chunks with content here: a list without holes.
    const chosen = dictionaryOf(batch, {
      blocksOfChunk: () => BLOCKS_OF_CHUNK,
      sameIndex: (index) => {
        const ordinal = nearestBase?.ordinals.get(index)
        return ordinal === undefined ? undefined : { base: 0, index: ordinal }
      },
    })
    const ids: Buffer[] = []
    const dictionary: Uint8Array[] = []
    for (const { base, index: ordinal } of chosen) {
      const image = this.#bases[base] as Image
      const index = image.content[ordinal] as number
      ids.push(Buffer.from(image.ids.get(index) as string, 'hex'))
      dictionary.push(image.read(index))
    }
    return { ids: Buffer.concat(ids), dictionary }
  }

  /** Puts a chunk together; one that is not what its name says comes whole. */
  #finish({ index, chunkBytes, plan }: Planned, literals: Uint8Array): void {
    const content = assemble(chunkBytes, plan, (copy) => this.#blocks(copy, chunkBytes), literals)
    if (content !== undefined && chunkIdOf(content) === this.#target.ids.get(index)) return
    this.#cost.again++
    this.#whole(index)
  }

  #blocks({ at, base, place, count }: Copy, chunkBytes: number): Uint8Array {
    const blocks: Uint8Array[] = []
    for (let n = 0; n < count; n++) {
      const ordinal = Math.floor((place + n) / BLOCKS_OF_CHUNK)
      const from = ((place + n) % BLOCKS_OF_CHUNK) * BLOCK_BYTES
      blocks.push(this.#baseChunk(base, ordinal).subarray(from, from + BLOCK_BYTES))
    }
    return Buffer.concat(blocks).subarray(0, Math.min(count * BLOCK_BYTES, chunkBytes - at * BLOCK_BYTES))
  }

  #baseChunk(base: number, ordinal: number): Uint8Array {
    if (this.#unpacked?.base !== base || this.#unpacked.ordinal !== ordinal) {
      const image = this.#bases[base] as Image
      this.#unpacked = { base, ordinal, content: image.read(image.content[ordinal] as number) }
    }
    return this.#unpacked.content
  }

  #say(message: Message): ReturnType<typeof decode> {
    const frame = encode(message)
    this.#count(frame)
    return decode(frame)
  }

  #count(frame: Uint8Array): void {
    this.#cost.wireBytes += frame.length
  }
}

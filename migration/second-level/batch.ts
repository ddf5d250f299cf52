/**
 * Which chunks go together in one delta, and against which dictionary.
 *
 * Chunks go in the order of the image, because files that belong together lie together. The dictionary is chunks of the
 * bases that blocks of the batch were copied from (what surrounds a block that stayed is the older form of what surrounds it
 * now), and the chunk at the same index of the nearest base (what was replaced where it lies), by the number of blocks that
 * speak for each.
 */
import { BATCH_CHUNKS_MAX, DICTIONARY_BYTES_MAX, DICTIONARY_CHUNKS_MAX } from '../../protocols/limits.ts'
import { BLOCK_BYTES } from '../../storage/images/fingerprint.ts'
import { literalBytes } from './delta.ts'
import type { Plan } from './wanted.ts'

export type Planned = { readonly index: number; readonly chunkBytes: number; readonly plan: Plan }

/** A chunk of a base, by its index in the image. */
export type BaseChunk = { readonly base: number; readonly index: number }

export type Batch = {
  readonly chunks: readonly Planned[]
  /** Bytes of blocks that have to come, for all chunks together. */
  readonly literalBytes: number
}

/** Chunks that lack nothing go in no batch. One that alone is larger than `batchBytes` goes alone. */
export function batchesOf(chunks: readonly Planned[], batchBytes: number): Batch[] {
  const batches: Batch[] = []
  let open: Planned[] = []
  let bytes = 0
  const close = (): void => {
    if (open.length > 0) batches.push({ chunks: open, literalBytes: bytes })
    open = []
    bytes = 0
  }
  for (const chunk of chunks) {
    const more = literalBytes(chunk.plan.lacking, chunk.chunkBytes)
    if (more === 0) continue
    if (bytes + more > batchBytes || open.length === BATCH_CHUNKS_MAX) close()
    open.push(chunk)
    bytes += more
  }
  close()
  return batches
}

/** The dictionary of a batch, what most speaks for last: zstd says what is near in fewer bits. */
export function dictionaryOf(
  { chunks }: Batch,
  bases: {
    /** Blocks of each chunk of a base. */
    blocksOfChunk(base: number): number
    /** The chunk at the same place of the nearest base, unless that is of zeros or there is none. */
    sameIndex(index: number): BaseChunk | undefined
  },
): BaseChunk[] {
  const votes = new Map<string, { readonly chunk: BaseChunk; count: number }>()
  const vote = (chunk: BaseChunk, count: number): void => {
    const key = `${chunk.base}/${chunk.index}`
    const row = votes.get(key) ?? { chunk, count: 0 }
    row.count += count
    votes.set(key, row)
  }
  for (const { index, chunkBytes, plan } of chunks) {
    const lacks = literalBytes(plan.lacking, chunkBytes) / BLOCK_BYTES
    const same = bases.sameIndex(index)
    if (same !== undefined) vote(same, lacks)
    for (const { base, place } of plan.copies)
      vote({ base, index: Math.floor(place / bases.blocksOfChunk(base)) }, Math.min(lacks, 1))
  }
  const dictionary: BaseChunk[] = []
  let bytes = 0
  for (const { chunk } of [...votes.values()].sort((a, b) => a.count - b.count).reverse()) {
    bytes += bases.blocksOfChunk(chunk.base) * BLOCK_BYTES
    if (dictionary.length === DICTIONARY_CHUNKS_MAX || bytes > DICTIONARY_BYTES_MAX) break
    dictionary.unshift(chunk)
  }
  return dictionary
}

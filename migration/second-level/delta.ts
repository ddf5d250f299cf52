/**
 * The blocks that a chunk lacks, out of it and back into it.
 *
 *   source      literalsOf(each chunk) -> encodeDelta (storage/images/delta.ts)
 *   downloader  decodeDelta -> assemble(each chunk) -> is its SHA-256 the chunk's id? if not: by the first level
 */
import { isSet } from '../../protocols/swarm/have-map.ts'
import { BLOCK_BYTES, blockCount } from '../../storage/images/fingerprint.ts'
import type { Copy, Plan } from './wanted.ts'

/** The blocks of a chunk that are lacking, as views, runs in one. */
export function literalsOf(content: Uint8Array, lacking: Uint8Array): Uint8Array[] {
  return runsOf(lacking, blockCount(content.length)).map(({ from, until }) =>
    content.subarray(from * BLOCK_BYTES, until * BLOCK_BYTES),
  )
}

/** Bytes of the blocks that are lacking of a chunk of `chunkBytes`. */
export const literalBytes = (lacking: Uint8Array, chunkBytes: number): number =>
  runsOf(lacking, blockCount(chunkBytes)).reduce(
    (sum, { from, until }) => sum + Math.min(until * BLOCK_BYTES, chunkBytes) - from * BLOCK_BYTES,
    0,
  )

type Run = { readonly from: number; readonly until: number }

function runsOf(lacking: Uint8Array, blocks: number): Run[] {
  const runs: Run[] = []
  for (let at = 0; at < blocks; at++) {
    if (!isSet(lacking, at)) continue
    const from = at
    while (at + 1 < blocks && isSet(lacking, at + 1)) at++
    runs.push({ from, until: at + 1 })
  }
  return runs
}

/**
 * A chunk from its plan, from the blocks of each of its copies as `read` gives them, and from its literals.
 *
 * @returns undefined when they do not fit: what `read` gave is not as long as the copy, or the literals are not.
 */
export function assemble(
  chunkBytes: number,
  plan: Plan,
  read: (copy: Copy) => Uint8Array,
  literals: Uint8Array,
): Uint8Array | undefined {
  const content = new Uint8Array(chunkBytes)
  for (const copy of plan.copies) {
    const from = copy.at * BLOCK_BYTES
    const length = Math.min(copy.count * BLOCK_BYTES, chunkBytes - from)
    const blocks = read(copy)
    if (blocks.length !== length) return undefined
    content.set(blocks, from)
  }
  let taken = 0
  for (const { from, until } of runsOf(plan.lacking, blockCount(chunkBytes))) {
    const start = from * BLOCK_BYTES
    const length = Math.min(until * BLOCK_BYTES, chunkBytes) - start
    if (taken + length > literals.length) return undefined
    content.set(literals.subarray(taken, taken + length), start)
    taken += length
  }
  return taken === literals.length ? content : undefined
}

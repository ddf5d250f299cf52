/**
 * Whether the second level is worth its work, and how hard to press: by the link's rate, and by what it saved so far.
 *
 * Stored frames cost a source nothing but reading. Blocks cost it unpacking and zstd, and whoever fetches them the unpacking of
 * bases, a look at every block and, for its own store, zstd of what it put together. Below half the rate at which one core
 * does that, the link is what is waited for.
 */
import { WORTH_CHUNKS } from '../../protocols/limits.ts'

export type Method =
  /** Chunks as they lie. */
  | { readonly kind: 'frames' }
  /** What blocks of bases do not cover, in batches, at this level of zstd. */
  | { readonly kind: 'blocks'; readonly level: number; readonly batchBytes: number }

/** What chunks cost that came by blocks, and what their stored frames would have cost. */
export type Gain = { chunks: number; wireBytes: number; frameBytes: number }

const MIB = 1024 ** 2

/**
 * The first row whose rate is above the link's. Of what crosses, one core makes 8 MiB/s at level 9 (33 MiB/s of content that
 * gets four times smaller) and 40 MiB/s at level 3 (docs/decisions/0013); rates are half of that.
 */
const METHODS: readonly (readonly [bytesPerS: number, method: Method])[] = [
  [4 * MIB, { kind: 'blocks', level: 9, batchBytes: 16 * MIB }],
  [20 * MIB, { kind: 'blocks', level: 3, batchBytes: 4 * MIB }],
  [Infinity, { kind: 'frames' }],
]

/** It has to save a twentieth: less is not worth the CPU, and may be chance. */
const SHARE_MAX = 0.95

/** @param bytesPerS What the link to the source carries: the picker's measurement. */
export function methodOf(bytesPerS: number, gain: Gain): Method {
  const [, method] = METHODS.find(([below]) => bytesPerS < below) as (typeof METHODS)[number]
  const isProven = gain.chunks < WORTH_CHUNKS || gain.wireBytes <= gain.frameBytes * SHARE_MAX
  return isProven ? method : { kind: 'frames' }
}

/**
 * Which blocks of chunks that are missing are held here, in whatever image, at whatever place.
 *
 * The index is of what is *wanted*, a window of chunks at a time, and the lists of the bases are read past it. So its memory
 * is bounded by the window (26 bytes a block, 1.7 MiB), not by what the host holds: 100 GiB of images are 150 MiB of
 * lists, read piece by piece, a second of one core for each window if all of them were bases. Open addressing with linear probing, at most
 * half full.
 *
 *   windowOf(prints of missing chunks) -> seek(one base's list) … -> planOf(each chunk)
 */
import assert from 'node:assert/strict'
import { BASES_MAX, WINDOW_BLOCKS_MAX } from '../../protocols/limits.ts'
import { set } from '../../protocols/swarm/have-map.ts'
import { FINGERPRINT_BYTES, fingerprintAt } from '../../storage/images/fingerprint.ts'

type Window = {
  /** 0: free. */
  readonly keys: Float64Array
  /** Where the key's block lies: the base, counted from 1 (0: nowhere yet), and its place in the base's list. */
  readonly bases: Uint8Array
  readonly places: Uint32Array
  /** Different blocks that are wanted and not found yet. */
  left: number
}

/** Blocks [at, at + count) of a chunk are blocks [place, place + count) of a base's list. */
export type Copy = {
  readonly at: number
  readonly count: number
  readonly base: number
  readonly place: number
}

export type Plan = {
  /** One bit for each block that is neither zeros nor held here. */
  readonly lacking: Uint8Array
  /** In the order of the chunk, as long as they can be. */
  readonly copies: readonly Copy[]
}

/** `prints`: the fingerprints of the missing chunks, WINDOW_BLOCKS_MAX at most. */
export function windowOf(prints: readonly Uint8Array[]): Window {
  const blocks = prints.reduce((sum, list) => sum + list.length / FINGERPRINT_BYTES, 0)
  assert(blocks <= WINDOW_BLOCKS_MAX)
  const slots = 2 ** Math.ceil(Math.log2(Math.max(2, blocks * 2)))
  const window: Window = {
    keys: new Float64Array(slots),
    bases: new Uint8Array(slots),
    places: new Uint32Array(slots),
    left: 0,
  }
  for (const list of prints)
    for (let at = 0; at < list.length / FINGERPRINT_BYTES; at++) {
      const fingerprint = fingerprintAt(list, at)
      if (fingerprint === 0) continue
      const slot = slotOf(window, fingerprint)
      if (window.keys[slot] === fingerprint) continue
      window.keys[slot] = fingerprint
      window.left++
    }
  return window
}

/**
 * Reads (a piece of) the list of a base past the window; `first` is the place of its first block. What was found before
 * stays, so the nearest base goes first.
 *
 * @param base 0..BASES_MAX - 1
 */
export function seek(window: Window, base: number, list: Uint8Array, first = 0): void {
  assert(base >= 0 && base < BASES_MAX)
  for (let at = 0; at < list.length / FINGERPRINT_BYTES && window.left > 0; at++) {
    const fingerprint = fingerprintAt(list, at)
    if (fingerprint === 0) continue
    const slot = slotOf(window, fingerprint)
    if (window.keys[slot] !== fingerprint || window.bases[slot] !== 0) continue
    window.bases[slot] = base + 1
    window.places[slot] = first + at
    window.left--
  }
}

/** How a chunk of the window is made: from zeros, blocks of bases, and blocks that have to come. */
export function planOf(window: Window, list: Uint8Array): Plan {
  const blocks = list.length / FINGERPRINT_BYTES
  const lacking = new Uint8Array(Math.ceil(blocks / 8))
  const copies: Copy[] = []
  for (let at = 0; at < blocks; at++) {
    const fingerprint = fingerprintAt(list, at)
    if (fingerprint === 0) continue
    const slot = slotOf(window, fingerprint)
    const base = (window.bases[slot] as number) - 1
    if (base < 0) {
      set(lacking, at)
      continue
    }
    const place = window.places[slot] as number
    const last = copies.at(-1)
    const follows = last?.base === base && last.at + last.count === at && last.place + last.count === place
    if (follows) copies[copies.length - 1] = { ...last, count: last.count + 1 }
    else copies.push({ at, count: 1, base, place })
  }
  return { lacking, copies }
}

/** Where a fingerprint is, or would be. Its low bits are as good as a hash: it is one. */
function slotOf({ keys }: Window, fingerprint: number): number {
  const mask = keys.length - 1
  let slot = (fingerprint >>> 0) & mask
  for (; keys[slot] !== 0 && keys[slot] !== fingerprint; slot = (slot + 1) & mask);
  return slot
}

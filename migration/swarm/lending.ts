/**
 * Which chunks are lent to the second level, for which source: runs of the image, because blocks that belong together press
 * best together. Part of the picker; pure.
 */
import { LEND_CHUNKS_MIN } from '../../protocols/limits.ts'
import { isSet, set } from '../../protocols/swarm/have-map.ts'
import { mayAsk } from './choose.ts'
import { type Download, NEEDED, offer, restand } from './holdings.ts'
import type { Source } from './source.ts'

/**
 * Takes what may be lent for this source now. With others that lend it takes a part of what is left, which shrinks with it: so
 * they end together, however fast each is (guided self-scheduling; Polychronopoulos and Kuck, 1987).
 */
export function lend(download: Download, source: Source): number[] {
  const room = Math.min(source.lends - source.lent.size, partOf(download))
  if (room <= 0 || source.dry) return []
  const indexes: number[] = []
  // Ascending from a random place, in the order of the image, so that peers that start together begin elsewhere.
  const start = Math.floor(download.dice() * download.chunks)
  for (let n = 0; n < download.chunks && indexes.length < room; n++) {
    const index = (start + n) % download.chunks
    if (!isSet(source.have, index) || !isFree(download, index) || isSet(download.whole, index)) continue
    if (mayAsk(download, source, index)) indexes.push(index)
  }
  for (const index of indexes) {
    source.lent.add(index)
    restand(download, index, 'off', 'due')
  }
  return indexes
}

function partOf({ sources, free }: Download): number {
  const lenders = sources.filter(({ lends }) => lends > 0).length
  return lenders < 2 ? Infinity : Math.max(LEND_CHUNKS_MIN, Math.ceil(free / (2 * lenders)))
}

const isFree = ({ state, due, overdue }: Download, index: number): boolean =>
  state[index] === NEEDED && due[index] === 0 && overdue[index] === 0

/** False when it was not lent. */
export function unlend(download: Download, source: Source, index: number): boolean {
  if (!source.lent.delete(index)) return false
  restand(download, index, 'due', 'off')
  return true
}

export function returned(
  download: Download,
  source: Source,
  indexes: readonly number[],
  whole: boolean,
): void {
  for (const index of indexes) {
    if (whole) set(download.whole, index)
    if (unlend(download, source, index)) offer(download, index)
  }
}

/**
 * Which chunk a source is asked for next.
 *
 * Rarest first among a sample of candidates from a random place, so that a pick costs the same in an image of any size,
 * and peers that start together ask for different chunks.
 */
import { isSet } from '../../protocols/swarm/have-map.ts'
import { type Download, NEEDED } from './holdings.ts'
import { expectedMs, type Source, turnOver } from './source.ts'

/** Candidates that a pick looks at. With 256 the pick is among the rarest half percent, and takes microseconds. */
const RAREST_OF = 256
/** Share of the chunks that endgame may ask for twice. */
const ENDGAME_SHARE = 0.01

export function rarest(download: Download, source: Source): number | undefined {
  let best = rarestListed(download, source)
  // Where not all are listed, all are seen before there is none. The last turn lists what is left.
  for (let seen = 0; best === undefined && source.unlisted && seen <= download.chunks;) {
    seen += Math.max(1, source.candidates.length)
    turnOver(
      source,
      download.chunks,
      (index) => download.state[index] === NEEDED && download.due[index] === 0,
    )
    best = rarestListed(download, source)
  }
  return best
}

function rarestListed(download: Download, source: Source): number | undefined {
  const { state, due, overdue, holders, free } = download
  const list = source.candidates
  let best: number | undefined
  let at = Math.floor(download.dice() * list.length)
  // What is taken out leaves its place to one that may have been looked at: only what is kept counts.
  for (let left = list.length, seen = 0; left > 0 && list.length > 0 && seen < RAREST_OF;) {
    if (at >= list.length) at = 0
    const index = list[at] as number
    if (state[index] !== NEEDED || due[index] !== 0 || !isSet(source.have, index)) {
      const last = list.pop() as number
      if (at < list.length) list[at] = last
      continue
    }
    at++
    left--
    // Those come by blocks, or whole if they did not.
    if (source.lends > 0 && !isSet(download.whole, index)) continue
    // What somebody owes, though late, may still come by itself: what nobody is asked for goes first.
    if (overdue[index] !== 0 && free > 0) continue
    if (source.asked.has(index) || !mayAsk(download, source, index)) continue
    seen++
    if (best === undefined || (holders[index] as number) < (holders[best] as number)) best = index
  }
  return best
}

/** Not what a near source holds, nor what a neighbour brings here. */
export const mayAsk = (download: Download, source: Source, index: number): boolean =>
  source.near ||
  (download.nearHolders[index] === 0 && (source.assigns || !download.shares || isOurPart(download, index)))

/**
 * Whether it is for this peer to bring a chunk to its site, or for a neighbour that downloads the same image: rendezvous
 * hashing (Thaler and Ravishankar, 1998), so neighbours agree without a word, and one that goes leaves its part to all.
 */
function isOurPart({ self, fellows }: Download, index: number): boolean {
  const ours = weight(self, index)
  for (const { counts, hash } of fellows.values()) if (counts && weight(hash, index) > ours) return false
  return true
}

/** murmur3's finaliser over both. */
function weight(hash: number, index: number): number {
  let x = hash ^ Math.imul(index + 1, 0x9e3779b1)
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/** What another source is slowest to bring, if this one would bring it in half the time. */
export function endgame(download: Download, source: Source, frameBytes: number): number | undefined {
  if (
    download.free > 0 ||
    source.asked.size > 0 ||
    download.endgames >= Math.max(1, download.meter.frames * ENDGAME_SHARE)
  )
    return undefined
  const mineMs = expectedMs(source, frameBytes)
  if (mineMs === undefined) return undefined
  let slowest: Source | undefined
  let slowestMs = 2 * mineMs
  for (const other of download.sources) {
    const theirsMs = other === source || other.asked.size === 0 ? undefined : expectedMs(other, frameBytes)
    if (theirsMs === undefined || theirsMs <= slowestMs) continue
    slowest = other
    slowestMs = theirsMs
  }
  if (slowest === undefined) return undefined
  let last: number | undefined
  for (const index of slowest.asked.keys())
    if (download.state[index] === NEEDED && download.due[index] === 1 && isSet(source.have, index))
      last = index
  if (last !== undefined) download.endgames++
  return last
}

/** One download's books: the state of each chunk, who holds it, who is asked for it. No decisions are taken here. */
import type { Dice } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { isSet, set } from '../../protocols/swarm/have-map.ts'
import { type Progress, startMeter } from './progress.ts'
import { type Ask, consider, hashOf, type Source } from './source.ts'

export const HERE = 0
export const NEEDED = 1
export const WRITING = 2

type Fellow = {
  readonly hash: number
  readonly sinceMs: number
  /** It brings its part: it is a source that is not late, or will soon be one. */
  counts: boolean
}

/**
 * Five bytes for each chunk of the image (20 MiB for a terabyte), and a bit for each in each of SOURCES_MAX sources at most
 * (another 16 MiB).
 */
export type Download = {
  readonly bytes: number
  readonly chunkBytes: number
  readonly chunks: number
  readonly dice: Dice
  /** HERE, NEEDED or WRITING for each chunk. */
  readonly state: Uint8Array
  /** Sources that were asked for it and are not late, and those that are. */
  readonly due: Uint8Array
  readonly overdue: Uint8Array
  /** Chunks needed that no source is asked for. */
  free: number
  /** Sources that hold it; near sources among them that are not late. */
  readonly holders: Uint8Array
  readonly nearHolders: Uint8Array
  /** In the order in which they are asked: near ones first. */
  readonly sources: Source[]
  needed: number
  asked: number
  writingBytes: number
  endgames: number
  progressMs: number
  /** Peers that were sources before: what they say they hold is no news. */
  readonly met: Set<PeerId>
  /** Of this peer's id. */
  readonly self: number
  /** Neighbours that download the same image now. */
  readonly fellows: Map<PeerId, Fellow>
  /** One bit for each chunk that has to come whole: by blocks it did not come. */
  readonly whole: Uint8Array
  /** Neighbours bring different chunks to the site; not while nothing comes. */
  shares: boolean
  pieceMs: number
  readonly meter: Progress
}

/** `needed` are the chunks to fetch, each content once; the rest of the image is here. */
export function startDownload(
  image: { readonly bytes: number; readonly chunkBytes: number },
  needed: Iterable<number>,
  dice: Dice,
  nowMs: number,
  self: PeerId = '',
): Download {
  const chunks = Math.ceil(image.bytes / image.chunkBytes)
  const download: Download = {
    ...image,
    chunks,
    dice,
    state: new Uint8Array(chunks),
    due: new Uint8Array(chunks),
    free: 0,
    overdue: new Uint8Array(chunks),
    holders: new Uint8Array(chunks),
    nearHolders: new Uint8Array(chunks),
    sources: [],
    needed: 0,
    asked: 0,
    writingBytes: 0,
    endgames: 0,
    progressMs: nowMs,
    met: new Set(),
    self: hashOf(self),
    fellows: new Map(),
    whole: new Uint8Array(Math.ceil(chunks / 8)),
    shares: true,
    pieceMs: nowMs,
    meter: startMeter(image.bytes, nowMs),
  }
  for (const index of needed) {
    download.state[index] = NEEDED
    download.free++
    download.needed++
    download.meter.dedupBytes += lengthOf(download, index)
  }
  return download
}

/** A chunk that a source says it holds. */
export function gain(download: Download, source: Source, index: number, nowMs: number): void {
  if (index >= download.chunks || isSet(source.have, index)) return
  set(source.have, index)
  count(download.holders, index, 1)
  if (source.near && source.covers) count(download.nearHolders, index, 1)
  if (download.state[index] === HERE) return
  consider(source, index)
  if (source.news) download.progressMs = nowMs
}

/** A chunk that nobody is asked for any more is a candidate again wherever it is held. */
export function offer(download: Download, index: number): void {
  if (download.state[index] !== NEEDED || download.due[index] !== 0) return
  for (const source of download.sources) {
    if (isSet(source.have, index)) consider(source, index)
  }
}

export function forget(download: Download, source: Source, index: number): void {
  if (index >= download.chunks || !isSet(source.have, index)) return
  source.have[index >> 3] = (source.have[index >> 3] as number) & ~(0x80 >> (index & 7))
  count(download.holders, index, -1)
  if (source.near && source.covers) uncover(download, index)
}

/** A near source is counted on from now on, or no longer. */
export function nearCount(download: Download, source: Source, by: 1 | -1): void {
  if (!source.near) return
  for (let index = 0; index < download.chunks; index++) {
    if (!isSet(source.have, index)) continue
    if (by === 1) count(download.nearHolders, index, 1)
    else uncover(download, index)
  }
}

/** One near holder less: sources that are not near may be asked for it. */
function uncover(download: Download, index: number): void {
  count(download.nearHolders, index, -1)
  if (download.nearHolders[index] === 0) lookAgain(download)
}

/** What could not be asked for before may be now. */
export const lookAgain = ({ sources }: Download): void => {
  for (const source of sources) source.dry = false
}

/** Frames to come are taken to be as large as those that came, but not under a quarter of a chunk. */
export function frameBytesOf({ meter, chunkBytes }: Download): number {
  if (meter.frames === 0) return chunkBytes
  return Math.max(chunkBytes / 4, meter.receivedBytes / meter.frames)
}

export const lengthOf = ({ bytes, chunkBytes }: Download, index: number): number =>
  Math.min(chunkBytes, bytes - index * chunkBytes)

/** A chunk's state or its requests change: whether it is free is counted along. */
export function settle(download: Download, index: number, change: () => void): void {
  const before = isFree(download, index)
  change()
  download.free += Number(isFree(download, index)) - Number(before)
}

const isFree = ({ state, due, overdue }: Download, index: number): boolean =>
  state[index] === NEEDED && due[index] === 0 && overdue[index] === 0

/** A request for a chunk is made (`to` only), changes its standing, or is over (`from` only). */
export function restand(download: Download, index: number, from: Ask['standing'], to: Ask['standing']): void {
  settle(download, index, () => {
    if (from !== 'off') count(download[from], index, -1)
    if (to !== 'off') count(download[to], index, 1)
  })
}

export const count = (of: Uint8Array, index: number, by: number): void => {
  of[index] = (of[index] as number) + by
}

/**
 * One source of a download, as the picker sees it: what it holds, what it owes, how fast it is.
 *
 * Its budget is its measured bandwidth-delay product, twice, in BBR's manner: a source is asked for what its link holds and
 * as much again, so the product doubles each round trip until the link is full, and then stays. Less would let TCP's
 * window fall back between two chunks.
 */
import type { PeerId } from '../../protocols/ids.ts'
import {
  IN_FLIGHT_BYTES_MAX,
  IN_FLIGHT_BYTES_MIN,
  LATE_MS_MIN,
  REQUESTS_PER_SOURCE_MAX,
} from '../../protocols/limits.ts'
import { isSet } from '../../protocols/swarm/have-map.ts'

export type Ask = {
  readonly atMs: number
  /** What the source had delivered when this was asked, and when it had done so: the start of a speed sample. */
  readonly deliveredBefore: number
  readonly deliveredAtMs: number
  /** Its place in the row of all that was asked of this source. */
  readonly order: number
  /** The budget was not used up: what is measured is our appetite, not the link. */
  readonly limited: boolean
  /** Overdue: others may be asked when nothing else is left. Written off: others are. It is welcome all the same. */
  standing: 'due' | 'overdue' | 'off'
}

export type Source = {
  readonly peer: PeerId
  readonly near: boolean
  /** What it shows is for us to fetch: it shows it to nobody else on this site. */
  assigns: boolean
  /** One bit for each chunk of the image. */
  readonly have: Uint8Array
  /** Chunks it holds that may be worth asking for; checked when picked, so it may hold some that are not. */
  readonly candidates: number[]
  /** Others that it holds are not among them: there is no room. */
  unlisted: boolean
  /** Where to look for those. */
  cursor: number
  readonly asked: Map<number, Ask>
  /** What it says it holds is news, and a reason to wait for more. */
  news: boolean
  delivered: number
  deliveredAtMs: number
  /** Smallest time from asking to having, in ms; until a chunk came, that of its first answer. */
  rttMs: number
  /** Bytes a ms; 0 while not known. */
  speed: number
  /** The longest of the latest times between two deliveries while it owed chunks, ms. */
  gapMs: number
  orders: number
  /** The largest order that was delivered. */
  newest: number
  /** Since when it owes chunks and is silent. */
  lateSinceMs: number | undefined
  /** Near: what it holds and what is its part to bring is left to it. For a while also when it is late. */
  covers: boolean
  /** A source that was late is tried with one chunk, and not before this. */
  probation: boolean
  probeAtMs: number
  /** Nothing among `candidates` can be asked for now. */
  dry: boolean
  /** How many chunks may be with the second level at once that are to come from it by blocks; 0: all come whole. */
  lends: number
  readonly lent: Set<number>
}

/**
 * Candidates of one source, and what they take of its memory at most: 512 KiB. An image of up to 16 GiB has no more; of a larger
 * one those that fit are picked from, then others, from the bits of what it holds. All of a terabyte's would be 32 MiB a source.
 */
const CANDIDATES_MAX = 64 * 1024

/** A chunk that it holds may be worth asking for. */
export function consider(source: Source, index: number): void {
  if (source.candidates.length < CANDIDATES_MAX) source.candidates.push(index)
  else source.unlisted = true
  source.dry = false
}

/** Other candidates, from where the last ended; all of them when there is room for all. */
export function turnOver(source: Source, chunks: number, isWanted: (index: number) => boolean): void {
  const { candidates, have } = source
  candidates.length = 0
  for (let left = chunks; left > 0; left--) {
    const index = source.cursor
    if (candidates.length === CANDIDATES_MAX) return
    // Eight at once where it holds none of them.
    const skips = (index & 7) === 0 && have[index >> 3] === 0 ? Math.min(8, chunks - index) : 1
    source.cursor = index + skips >= chunks ? 0 : index + skips
    left -= skips - 1
    if (skips === 1 && isSet(have, index) && isWanted(index)) candidates.push(index)
  }
  source.unlisted = false
}

export const newSource = (peer: PeerId, near: boolean, chunks: number, rttMs: number): Source => ({
  peer,
  near,
  assigns: false,
  have: new Uint8Array(Math.ceil(chunks / 8)),
  candidates: [],
  unlisted: false,
  cursor: 0,
  asked: new Map(),
  news: true,
  delivered: 0,
  deliveredAtMs: 0,
  rttMs,
  speed: 0,
  gapMs: 0,
  orders: 0,
  newest: 0,
  lateSinceMs: undefined,
  covers: true,
  probation: false,
  probeAtMs: 0,
  dry: true,
  lends: 0,
  lent: new Set(),
})

/** What is asked of a source is here in this time, however fast it is, before its delay is counted. */
const LEAST_MS = 100
/** And no more than this: enough that both ends of a local link have work while the other is at its own. */
const LEAST_BYTES = 4 * 1024 * 1024

/** FNV-1a. */
export function hashOf(peer: PeerId): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < peer.length; at++) hash = Math.imul(hash ^ peer.charCodeAt(at), 0x01000193)
  return hash
}

/** Chunks of about `frameBytes` that may be asked of it at once, those already asked included. */
export function budgetOf(source: Source, frameBytes: number): number {
  if (source.probation) return 1
  const product = 2 * source.speed * source.rttMs + frameBytes
  // A slow source's queue is a wait for what another might bring sooner: the least is no more than it brings in LEAST_MS.
  const least = source.speed === 0 ? IN_FLIGHT_BYTES_MIN : Math.min(LEAST_BYTES, LEAST_MS * source.speed)
  const bytes = Math.min(IN_FLIGHT_BYTES_MAX, Math.max(2 * frameBytes, least, product))
  return Math.min(REQUESTS_PER_SOURCE_MAX, Math.max(1, Math.floor(bytes / frameBytes)))
}

/** When what is asked now should be here, in ms from now; undefined while nothing is known. */
export const expectedMs = (source: Source, frameBytes: number): number | undefined =>
  source.speed === 0 ? undefined : source.rttMs + ((source.asked.size + 1) * frameBytes) / source.speed

/**
 * The longest silence that is still ordinary: four times what one chunk takes, and half as much again as the longest of
 * the latest silences (a source that serves many brings chunks in bursts).
 */
export function patienceMs(source: Source, frameBytes: number): number {
  const oneMs = source.rttMs + (source.speed === 0 ? 0 : frameBytes / source.speed)
  return Math.max(LATE_MS_MIN, 4 * oneMs, 1.5 * source.gapMs)
}

export function ask(source: Source, index: number, budget: number, nowMs: number): void {
  const idle = source.asked.size === 0
  source.asked.set(index, {
    atMs: nowMs,
    deliveredBefore: source.delivered,
    deliveredAtMs: idle ? nowMs : Math.max(source.deliveredAtMs, oldestMs(source, nowMs)),
    order: source.orders++,
    limited: source.asked.size + 1 < budget / 2,
    standing: 'due',
  })
}

/** Chunks that a source may bring before one that it was asked for earlier: it reads a few at once. */
const OVERTAKEN_MAX = 32

/** It was passed over: others that were asked later are here. */
export const isOvertaken = (source: Source, { order }: Ask): boolean => source.newest - order > OVERTAKEN_MAX

/** When the oldest request in hand was made: the silence of a source counts from then. */
export function oldestMs(source: Source, nowMs: number): number {
  for (const { atMs } of source.asked.values()) return atMs
  return nowMs
}

/** Takes a delivery into the measured speed and round trip. */
export function deliver(source: Source, index: number, bytes: number, nowMs: number): Ask | undefined {
  const asked = source.asked.get(index)
  const gapMs = nowMs - Math.max(source.deliveredAtMs, oldestMs(source, nowMs))
  source.gapMs = Math.max(gapMs, source.gapMs * 0.98)
  source.delivered += bytes
  source.deliveredAtMs = nowMs
  source.probation = false
  if (asked === undefined) return undefined
  source.asked.delete(index)
  source.newest = Math.max(source.newest, asked.order)
  // Its first answer crossed the link only; chunks come from a disk as well, and that belongs to the product too.
  const tookMs = Math.max(1, nowMs - asked.atMs)
  source.rttMs = source.speed === 0 ? tookMs : Math.min(source.rttMs, tookMs)
  const sample = (source.delivered - asked.deliveredBefore) / Math.max(1, nowMs - asked.deliveredAtMs)
  // Quick to believe in more, slow to believe in less; and an appetite that was small proves nothing.
  if (sample > source.speed) source.speed = sample
  else if (!asked.limited) source.speed += (sample - source.speed) / 16
  return asked
}

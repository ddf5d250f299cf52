/**
 * Which chunk to ask of whom: the rules of one download. Pure: time comes in events, dice at the start.
 *
 *   needed ──want──▶ asked ──piece──▶ writing ──stored──▶ here
 *     ▲                │                 │
 *     └─ late, lack, source lost ──┘     └─ corrupt: its source is banned, the chunk is needed again
 *
 * Rarest first (choose.ts). Neighbours that download the same image share what has to come from afar. A source that is not near leaves what a near one holds to that one. A source that is silent
 * for too long is late: nothing more is asked of it, and others are asked for what it owes, once all else is asked for or
 * it has been late for WRITTEN_OFF_MS. When every chunk is asked for, a source that is idle may be asked for one that
 * another would bring in twice its time (endgame).
 *
 * A chunk that is to come by blocks (decision 13) is lent to the second level, which answers for it: it is asked of nobody until
 * it is made, or returned. Which source it comes from is chosen by the same rules.
 *
 *   needed ──lend──▶ lent ──made──▶ writing
 *     ▲               └─ returned, or its source is lost: needed again, whole if blocks did not do
 *
 * Promises: a chunk that is here is never asked for; what is asked and not yet stored stays under DOWNLOAD_BYTES_MAX
 * (counted in frames of average size); progress never goes back.
 */
import type { PeerId } from '../../protocols/ids.ts'
import { DOWNLOAD_BYTES_MAX, NO_SOURCE_MS, SOURCE_SILENT_MS, SOURCES_MAX } from '../../protocols/limits.ts'
import { isSet } from '../../protocols/swarm/have-map.ts'
import { endgame, rarest } from './choose.ts'
import { lend, returned, unlend } from './lending.ts'
import {
  count,
  type Download,
  forget,
  frameBytesOf,
  gain,
  HERE,
  lengthOf,
  lookAgain,
  nearCount,
  NEEDED,
  offer,
  restand,
  settle,
  WRITING,
} from './holdings.ts'
import { measure } from './progress.ts'
import {
  type Ask,
  ask,
  budgetOf,
  deliver,
  hashOf,
  isOvertaken,
  newSource,
  oldestMs,
  patienceMs,
  type Source,
} from './source.ts'

/** A source that is late for this long is not expected any more: what it owes is as good as never asked for. */
const WRITTEN_OFF_MS = 1_000
/** Chunks that wait to be asked for together, of which there are no more than an eighth of what is on its way. */
const TOGETHER_MAX = 16

export type Event =
  /** `rttMs`: of its first answer. */
  | { readonly kind: 'source'; readonly peer: PeerId; readonly near: boolean; readonly rttMs: number }
  /** Bit i of `bits`: chunk `from + i` is held. */
  | {
      readonly kind: 'have'
      readonly peer: PeerId
      readonly from: number
      readonly count: number
      readonly bits: Uint8Array
      /** It shows chunks to one of a site each. */
      readonly assigns?: boolean
    }
  | { readonly kind: 'have-more'; readonly peer: PeerId; readonly indexes: readonly number[] }
  | { readonly kind: 'piece'; readonly peer: PeerId; readonly index: number; readonly bytes: number }
  | { readonly kind: 'lack'; readonly peer: PeerId; readonly index: number }
  | { readonly kind: 'lost'; readonly peer: PeerId }
  /** A near peer begins to download the same image, or ends. */
  | { readonly kind: 'fellow'; readonly peer: PeerId; readonly begins: boolean }
  /** `crossed`: what came over the link for it, when that was not its frame. */
  | {
      readonly kind: 'stored'
      readonly index: number
      readonly bytes: number
      readonly crossed?: number
    }
  | { readonly kind: 'corrupt'; readonly peer: PeerId; readonly index: number; readonly bytes: number }
  /** So many chunks may be lent for this source at once; 0: no more, and what is lent comes back (`returned`). */
  | { readonly kind: 'lendable'; readonly peer: PeerId; readonly chunks: number }
  /** A chunk that was lent is put together, and verified; `bytes` in its frame. */
  | { readonly kind: 'made'; readonly peer: PeerId; readonly index: number; readonly bytes: number }
  | {
      readonly kind: 'returned'
      readonly peer: PeerId
      readonly indexes: readonly number[]
      /** They are not to be lent again. */
      readonly whole: boolean
    }
  | { readonly kind: 'tick' }

export type Effect =
  /** These come from this source by blocks. */
  | { readonly kind: 'lend'; readonly peer: PeerId; readonly indexes: number[] }
  | { readonly kind: 'want' | 'cancel'; readonly peer: PeerId; readonly indexes: number[] }
  /** The frame that the event brought. */
  | { readonly kind: 'write'; readonly peer: PeerId; readonly index: number; readonly bytes: number }
  /** Hang up: it sent a bad chunk, or owes chunks and is silent. Its loss is told at once, here. */
  | { readonly kind: 'ban' | 'drop'; readonly peer: PeerId; readonly index: number }
  | { readonly kind: 'complete' }
  /** Nobody in sight has brought anything for NO_SOURCE_MS. */
  | { readonly kind: 'starved'; readonly missing: number }

/** Advances `download` by one event; returns what the shell must now do, in order. */
export function step(download: Download, event: Event, nowMs: number): Effect[] {
  const effects: Effect[] = []
  const { free } = download
  hear(download, event, nowMs, effects)
  if (download.needed === 0) return [...effects, { kind: 'complete' }]
  for (const source of download.sources) fill(download, source, nowMs, effects)
  if (free === 0 || download.free > 0) return effects
  // The last free chunk is asked for: from here on what is overdue may be asked for again, and endgame begins.
  lookAgain(download)
  for (const source of download.sources) fill(download, source, nowMs, effects)
  return effects
}

function hear(download: Download, event: Event, nowMs: number, effects: Effect[]): void {
  if (event.kind === 'tick') return tick(download, nowMs, effects)
  if (event.kind === 'stored') return stored(download, event, nowMs)
  if (event.kind === 'source')
    return join(download, newSource(event.peer, event.near, download.chunks, event.rttMs))

  if (event.kind === 'fellow') return fellow(download, event.peer, event.begins, nowMs)
  if (event.kind === 'corrupt') {
    download.writingBytes -= event.bytes
    settle(download, event.index, () => (download.state[event.index] = NEEDED))
    offer(download, event.index)
    effects.push({ kind: 'ban', peer: event.peer, index: event.index })
  }
  const source = download.sources.find(({ peer }) => peer === event.peer)
  if (source === undefined) return
  switch (event.kind) {
    case 'have':
      source.assigns ||= event.assigns === true
      for (let i = 0; i < event.count; i++)
        if (isSet(event.bits, i)) gain(download, source, event.from + i, nowMs)
      return
    case 'have-more':
      source.news = true
      for (const index of event.indexes) gain(download, source, index, nowMs)
      return
    case 'piece':
      return arrived(download, source, event.index, event.bytes, nowMs, effects)
    case 'lack':
      forget(download, source, event.index)
      return unask(download, source, event.index)
    case 'lendable':
      source.lends = event.chunks
      source.dry = false
      return
    case 'returned':
      return returned(download, source, event.indexes, event.whole)
    case 'made':
      return made(download, source, event.index, event.bytes, nowMs, effects)
    case 'corrupt':
    case 'lost':
      return lose(download, source)
  }
}

function join(download: Download, source: Source): void {
  if (download.sources.length >= SOURCES_MAX) return
  // What a source holds is no news when it comes back: else one that promises and never brings would last for ever.
  source.news = !download.met.has(source.peer)
  download.met.add(source.peer)
  relyOn(download, source.peer, true)
  if (source.near) download.sources.unshift(source)
  else download.sources.push(source)
}

function fellow(download: Download, peer: PeerId, begins: boolean, nowMs: number): void {
  const { fellows } = download
  if (!begins) fellows.delete(peer)
  else if (fellows.size < SOURCES_MAX && !fellows.has(peer))
    fellows.set(peer, { hash: hashOf(peer), sinceMs: nowMs, counts: true })
  lookAgain(download)
}

/** Whether a neighbour brings its part of what has to come from afar. */
function relyOn(download: Download, peer: PeerId, counts: boolean): void {
  const found = download.fellows.get(peer)
  if (found === undefined || found.counts === counts) return
  found.counts = counts
  lookAgain(download)
}

function arrived(
  download: Download,
  source: Source,
  index: number,
  bytes: number,
  nowMs: number,
  effects: Effect[],
): void {
  const { meter } = download
  const asked = deliver(source, index, bytes, nowMs)
  if (asked !== undefined) {
    download.asked--
    restand(download, index, asked.standing, 'off')
  }
  if (source.lateSinceMs !== undefined) forgive(download, source)
  download.pieceMs = nowMs
  meter.receivedBytes += bytes
  meter.frames++
  if (download.state[index] !== NEEDED) {
    meter.duplicateBytes += bytes
    return
  }
  write(download, source, index, bytes, effects)
}

function made(
  download: Download,
  source: Source,
  index: number,
  bytes: number,
  nowMs: number,
  effects: Effect[],
): void {
  if (!unlend(download, source, index) || download.state[index] !== NEEDED) return
  download.pieceMs = nowMs
  write(download, source, index, bytes, effects)
}

function write(download: Download, source: Source, index: number, bytes: number, effects: Effect[]): void {
  settle(download, index, () => (download.state[index] = WRITING))
  download.writingBytes += bytes
  effects.push({ kind: 'write', peer: source.peer, index, bytes })
  for (const other of download.sources) {
    if (!other.asked.has(index)) continue
    unask(download, other, index)
    effects.push({ kind: 'cancel', peer: other.peer, indexes: [index] })
  }
}

function stored(
  download: Download,
  { index, bytes, crossed = bytes }: Extract<Event, { kind: 'stored' }>,
  nowMs: number,
): void {
  download.state[index] = HERE
  download.needed--
  download.writingBytes -= bytes
  download.progressMs = nowMs
  download.meter.compressedBytes += crossed
  download.meter.fetchedBytes += lengthOf(download, index)
}

function lose(download: Download, source: Source): void {
  if (source.covers) nearCount(download, source, -1)
  download.sources.splice(download.sources.indexOf(source), 1)
  relyOn(download, source.peer, false)
  for (let index = 0; index < download.chunks; index++)
    if (isSet(source.have, index)) count(download.holders, index, -1)
  for (const index of source.asked.keys()) unask(download, source, index)
  returned(download, source, [...source.lent], false)
}

/** Late sources are no longer counted on, late chunks asked for elsewhere. */
function tick(download: Download, nowMs: number, effects: Effect[]): void {
  measure(download.meter, nowMs)
  // What is lent takes longer to begin than whole chunks do, and whoever has it says when it does not come.
  const shares =
    nowMs - download.pieceMs <= WRITTEN_OFF_MS || download.sources.some(({ lent }) => lent.size > 0)
  if (shares !== download.shares) lookAgain(download)
  download.shares = shares
  for (const [peer, { sinceMs }] of download.fellows)
    if (nowMs - sinceMs > WRITTEN_OFF_MS && !download.sources.some((source) => source.peer === peer))
      relyOn(download, peer, false)
  const frameBytes = frameBytesOf(download)
  for (const source of download.sources.slice()) {
    if (source.lateSinceMs === undefined) judge(download, source, frameBytes, nowMs)
    // A neighbour that had to wait for its CPU is silent as long as one that died, and what it has would come from afar: twice.
    if (source.covers && isGone(download, source, nowMs)) cover(download, source, false)
    if (source.lateSinceMs === undefined) continue
    if (source.asked.size === 0 && nowMs >= source.probeAtMs) forgive(download, source)
    else if (source.asked.size > 0 && nowMs - source.lateSinceMs > SOURCE_SILENT_MS) {
      effects.push({ kind: 'drop', peer: source.peer, index: 0 })
      lose(download, source)
    } else if (nowMs - source.lateSinceMs > WRITTEN_OFF_MS)
      for (const [index, asked] of source.asked) giveUp(download, index, asked, 'off')
  }
  if (download.writingBytes === 0 && nowMs - download.progressMs >= NO_SOURCE_MS)
    effects.push({ kind: 'starved', missing: download.needed })
}

/** Late for so long that it is not waited for; or nobody has anything else to bring meanwhile. */
function isGone({ sources }: Download, { lateSinceMs }: Source, nowMs: number): boolean {
  if (lateSinceMs === undefined) return false
  if (nowMs - lateSinceMs > WRITTEN_OFF_MS) return true
  return sources.every((other) => other.lateSinceMs !== undefined || other.asked.size === 0)
}

/** Whether others leave to it what it holds near, and its part of what has to come from afar. */
function cover(download: Download, source: Source, covers: boolean): void {
  source.covers = covers
  nearCount(download, source, covers ? 1 : -1)
  relyOn(download, source.peer, covers)
}

function judge(download: Download, source: Source, frameBytes: number, nowMs: number): void {
  if (source.asked.size === 0) return
  const heardMs = Math.max(source.deliveredAtMs, oldestMs(source, nowMs))
  if (nowMs - heardMs > patienceMs(source, frameBytes)) {
    source.lateSinceMs = nowMs
    source.probation = true
    source.probeAtMs = nowMs + NO_SOURCE_MS / 10
    for (const [index, asked] of source.asked) giveUp(download, index, asked, 'overdue')
    return
  }
  // In the order of asking: the first that is in its place ends the search.
  for (const [index, asked] of source.asked) {
    if (!isOvertaken(source, asked)) return
    giveUp(download, index, asked, 'off')
  }
}

function giveUp(download: Download, index: number, asked: Ask, standing: 'overdue' | 'off'): void {
  if (asked.standing === standing || asked.standing === 'off') return
  restand(download, index, asked.standing, standing)
  asked.standing = standing
  offer(download, index)
}

/** A late source spoke, or is tried again: what it owes counts as asked once more. */
function forgive(download: Download, source: Source): void {
  source.lateSinceMs = undefined
  source.dry = false
  if (!source.covers) cover(download, source, true)
  for (const [index, asked] of source.asked) {
    restand(download, index, asked.standing, 'due')
    asked.standing = 'due'
  }
}

function unask(download: Download, source: Source, index: number): void {
  const asked = source.asked.get(index)
  if (asked === undefined) return
  source.asked.delete(index)
  download.asked--
  restand(download, index, asked.standing, 'off')
  offer(download, index)
}

// Picking ----------------------------------------------------------------------------------------------------------

function fill(download: Download, source: Source, nowMs: number, effects: Effect[]): void {
  if (source.lateSinceMs !== undefined) return
  const lent = lend(download, source)
  if (lent.length > 0) effects.push({ kind: 'lend', peer: source.peer, indexes: lent })
  const frameBytes = frameBytesOf(download)
  const budget = budgetOf(source, frameBytes)
  const inMemory = Math.floor((DOWNLOAD_BYTES_MAX - download.writingBytes) / frameBytes) - download.asked
  const room = Math.min(budget - source.asked.size, inMemory)
  // While much is on its way some are asked for together: a message for each chunk is a tenth of a fast link's CPU.
  if (room < Math.min(TOGETHER_MAX, Math.floor(budget / 8))) return
  const indexes: number[] = []
  while (indexes.length < room) {
    const index = source.dry ? endgame(download, source, frameBytes) : rarest(download, source)
    if (index === undefined) {
      if (source.dry) break
      source.dry = true
      continue
    }
    ask(source, index, budget, nowMs)
    download.asked++
    restand(download, index, 'off', 'due')
    indexes.push(index)
  }
  if (indexes.length > 0) effects.push({ kind: 'want', peer: source.peer, indexes })
}

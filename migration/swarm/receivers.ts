/**
 * The books of a super-seeding source: who downloads the image from here, what each holds and was shown, how many hold each
 * chunk. No decisions are taken here.
 */
import type { Dice } from '../../protocols/clock.ts'
import { isSet, set } from '../../protocols/swarm/have-map.ts'

/** Receivers that help each other at no cost: those of one site. */
export type Group = {
  readonly name: string
  readonly members: Set<Receiver>
  /** One bit for each chunk that a member holds. */
  readonly has: Uint8Array
  missing: number
  readonly pace: Pace
  /** Of what the source did not show to it. */
  readonly ownPace: Pace
  /** The most that `pace` was, of late. */
  bestPerMs: number
}

/** Chunks a ms, smoothed. */
export type Pace = { count: number; perMs: number }

export type Receiver = {
  readonly key: number
  readonly group: Group
  readonly has: Uint8Array
  /** Shown and not gained, with when. */
  readonly open: Map<number, number>
  /** Of those: it has asked for them. */
  readonly asked: Set<number>
  missing: number
  /** It has said what it needs. */
  told: boolean
  silent: boolean
  /** It fetches by blocks, many chunks at once. */
  byBlocks: boolean
  readonly joinedMs: number
  heardMs: number
  gainedMs: number
  /** Chunks gained since it came. */
  gained: number
  /** The longest of the latest times between two gains, ms. */
  gapMs: number
  /** Smallest time from showing to gaining, ms. */
  delayMs: number
  readonly pace: Pace
}

export type SuperSeeding = {
  readonly chunks: number
  readonly chunkBytes: number
  readonly dice: Dice
  readonly startedMs: number
  readonly receivers: Map<number, Receiver>
  readonly groups: Map<string, Group>
  /** Receivers that hold it; a receiver that left whole still counts, one that is silent does not. */
  readonly holders: Uint16Array
  /** Receivers, not silent, for which it is open; and the sum of that. */
  readonly open: Uint16Array
  opened: number
  /** Chunks that may be fresh; checked when picked. */
  readonly fresh: number[]
  /** Those of whom nothing is known any more: they may turn up, so they wait for the ones never shown. */
  readonly again: number[]
  readonly isFresh: Uint8Array
  /** Chunks that are not here after all. */
  readonly lost: Uint8Array
  pacedMs: number
}

/** `indexes`: chunks that are not zeros. */
export function startSuperSeeding(
  { chunks, chunkBytes }: { readonly chunks: number; readonly chunkBytes: number },
  indexes: readonly number[],
  dice: Dice,
  nowMs: number,
): SuperSeeding {
  const seeding: SuperSeeding = {
    chunks,
    chunkBytes,
    dice,
    startedMs: nowMs,
    receivers: new Map(),
    groups: new Map(),
    holders: new Uint16Array(chunks),
    open: new Uint16Array(chunks),
    opened: 0,
    fresh: [],
    again: [],
    isFresh: new Uint8Array(Math.ceil(chunks / 8)),
    lost: new Uint8Array(Math.ceil(chunks / 8)),
    pacedMs: nowMs,
  }
  for (const index of indexes) refresh(seeding, index, seeding.fresh)
  return seeding
}

export function join(seeding: SuperSeeding, key: number, site: string | undefined, nowMs: number): Receiver {
  const bits = (): Uint8Array => new Uint8Array(Math.ceil(seeding.chunks / 8))
  // A name that no site has: `:` is in none.
  const name = site ?? `:${key}`
  let group = seeding.groups.get(name)
  if (group === undefined) {
    group = {
      name,
      members: new Set(),
      has: bits(),
      missing: seeding.chunks,
      pace: { count: 0, perMs: 0 },
      ownPace: { count: 0, perMs: 0 },
      bestPerMs: 0,
    }
    seeding.groups.set(name, group)
  }
  const receiver: Receiver = {
    key,
    group,
    has: bits(),
    open: new Map(),
    asked: new Set(),
    missing: seeding.chunks,
    told: false,
    gained: 0,
    silent: false,
    byBlocks: false,
    joinedMs: nowMs,
    heardMs: nowMs,
    gainedMs: nowMs,
    gapMs: 0,
    delayMs: Infinity,
    pace: { count: 0, perMs: 0 },
  }
  if (seeding.receivers.size === 1) for (const other of seeding.receivers.values()) withdraw(seeding, other)
  group.members.add(receiver)
  seeding.receivers.set(key, receiver)
  return receiver
}

/** It is not alone any more: what was shown to it and not asked for may go to others. */
function withdraw(seeding: SuperSeeding, { open, asked, silent }: Receiver): void {
  for (const index of open.keys()) {
    if (asked.has(index)) continue
    open.delete(index)
    if (silent) continue
    reopen(seeding, index, -1)
    if (isUnseen(seeding, index)) refresh(seeding, index, seeding.fresh)
  }
}

/** It holds a chunk; true when its group did not. */
export function hold(seeding: SuperSeeding, receiver: Receiver, index: number, nowMs: number): boolean {
  if (index >= seeding.chunks || isSet(receiver.has, index)) return false
  set(receiver.has, index)
  receiver.missing--
  count(seeding.holders, index, 1)
  const shownMs = receiver.open.get(index)
  if (shownMs !== undefined) {
    receiver.open.delete(index)
    receiver.asked.delete(index)
    reopen(seeding, index, -1)
    receiver.pace.count++
    if (receiver.told) receiver.delayMs = Math.min(receiver.delayMs, Math.max(1, nowMs - shownMs))
  }
  const { group } = receiver
  if (isSet(group.has, index)) return false
  set(group.has, index)
  group.missing--
  if (shownMs === undefined) group.ownPace.count++
  return true
}

export function leave(seeding: SuperSeeding, receiver: Receiver): void {
  const { group } = receiver
  seeding.receivers.delete(receiver.key)
  group.members.delete(receiver)
  if (group.members.size === 0) seeding.groups.delete(group.name)
  // One that is whole has no more to ask for; it is still there to be asked.
  if (receiver.missing > 0 && !receiver.silent) trust(seeding, receiver, false)
}

/** A chunk is not here after all: it is shown to nobody any more. */
export function lose(seeding: SuperSeeding, index: number): void {
  set(seeding.lost, index)
  for (const receiver of seeding.receivers.values()) {
    if (receiver.open.delete(index) && !receiver.silent) reopen(seeding, index, -1)
  }
}

/** Whether what a receiver holds and was shown is counted on. */
export function trust(seeding: SuperSeeding, receiver: Receiver, trusted: boolean): void {
  const by = trusted ? 1 : -1
  receiver.silent = !trusted
  for (const index of receiver.open.keys()) reopen(seeding, index, by)
  for (let index = 0; index < seeding.chunks; index++) {
    const held = isSet(receiver.has, index)
    if (held) count(seeding.holders, index, by)
    if (!trusted && (held || receiver.open.has(index)) && isUnseen(seeding, index))
      refresh(seeding, index, seeding.again)
  }
  regroup(seeding, receiver.group)
}

function regroup(seeding: SuperSeeding, group: Group): void {
  group.has.fill(0)
  for (const { has, silent } of group.members) {
    if (silent) continue
    for (let at = 0; at < has.length; at++) group.has[at] = (group.has[at] as number) | (has[at] as number)
  }
  group.missing = 0
  for (let index = 0; index < seeding.chunks; index++) if (!isSet(group.has, index)) group.missing++
}

export function opens(seeding: SuperSeeding, receiver: Receiver, index: number, nowMs: number): void {
  if (receiver.open.has(index)) return
  receiver.open.set(index, nowMs)
  reopen(seeding, index, 1)
}

function reopen(seeding: SuperSeeding, index: number, by: number): void {
  count(seeding.open, index, by)
  seeding.opened += by
}

export const isUnseen = ({ holders, open }: SuperSeeding, index: number): boolean =>
  holders[index] === 0 && open[index] === 0

function refresh({ isFresh }: SuperSeeding, index: number, list: number[]): void {
  if (isSet(isFresh, index)) return
  set(isFresh, index)
  list.push(index)
}

const count = (of: Uint16Array, index: number, by: number): void => {
  of[index] = (of[index] as number) + by
}

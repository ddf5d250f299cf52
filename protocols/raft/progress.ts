/**
 * What a leader knows of one member's log, and how much it may have under way to it (etcd's Progress):
 *
 *   probe      one message at a time, until the follower says where the logs meet
 *   replicate  a stream of messages ahead of the acknowledgements, up to the bounds on what is in flight
 *   snapshot   entries it needs are gone; parts of a snapshot instead, then probe again
 */
import assert from 'node:assert/strict'
import type { Snapshot } from './types.ts'

export type Progress = {
  state: 'probe' | 'replicate' | 'snapshot'
  /** Known to be on the member's disk. */
  match: number
  /** The next entry to send. */
  next: number
  /** Nothing goes out until an answer comes, to an append or to a heartbeat. */
  paused: boolean
  readonly window: Window
  inflight: { readonly last: number; readonly bytes: number }[]
  inflightBytes: number
  /** The highest commit index that is on its way to the member; lower again when what carried it seems lost. */
  sentCommit: number
  /** Heard from since the last look at the quorum. */
  recentActive: boolean
  /** Has had everything that was committed, or `owed`, and in every look at the quorum since was heard and held that. */
  inSight: boolean
  /** Where the leader's log ended at the last look at the quorum. */
  owed: number
  /** The newest read position it has acknowledged. */
  read: number
  /** The newest feature that it says it knows; 0 until it has said so to this leader. */
  level: number
  transfer: Transfer | undefined
}

/** Bounds on the MsgApps with entries that are under way; the message that reaches one still goes. */
export type Window = { readonly messages: number; readonly bytes: number }

/** A snapshot under way, pinned: a newer one that is made meanwhile does not disturb it. */
export type Transfer = {
  readonly snapshot: Snapshot
  readonly checksum: number
  acknowledged: number
  /** Sent up to here. */
  sent: number
  /** The part with the last byte went out; nothing more to send until it is heard of. */
  ended: boolean
  /** Heartbeats since a part was sent or acknowledged. */
  idleBeats: number
}

export const newProgress = (next: number, recentActive: boolean, window: Window): Progress => ({
  state: 'probe',
  match: 0,
  next,
  paused: false,
  window,
  inflight: [],
  inflightBytes: 0,
  sentCommit: 0,
  recentActive,
  inSight: false,
  owed: 0,
  read: 0,
  level: 0,
  transfer: undefined,
})

/** From a snapshot: what follows it is next, if it has arrived; `match` says whether it has. */
export function becomeProbe(progress: Progress, pending = 0): void {
  enter(progress, 'probe')
  progress.next = Math.max(progress.match, pending) + 1
  progress.sentCommit = Math.min(progress.sentCommit, progress.next - 1)
}

export function becomeReplicate(progress: Progress): void {
  enter(progress, 'replicate')
  progress.next = progress.match + 1
}

export function becomeSnapshot(progress: Progress, snapshot: Snapshot, checksum: number): void {
  enter(progress, 'snapshot')
  progress.next = snapshot.index + 1
  progress.sentCommit = snapshot.index
  progress.transfer = { snapshot, checksum, acknowledged: 0, sent: 0, ended: false, idleBeats: 0 }
}

function enter(progress: Progress, state: Progress['state']): void {
  Object.assign(progress, { state, paused: false, inflight: [], inflightBytes: 0, transfer: undefined })
}

export const isPaused = ({ state, paused }: Progress): boolean => state === 'snapshot' || paused

export const isFull = ({ inflight, inflightBytes, window }: Progress): boolean =>
  inflight.length >= window.messages || inflightBytes >= window.bytes

/** A MsgApp with `count` entries, the last at index `last`, is on its way. */
export function sentEntries(progress: Progress, count: number, last: number, bytes: number): void {
  if (progress.state === 'replicate') {
    if (count > 0) {
      progress.next = last + 1
      progress.inflight.push({ last, bytes })
      progress.inflightBytes += bytes
    }
    progress.paused = isFull(progress)
  } else if (count > 0) {
    progress.paused = true
  }
}

/** Whether telling the member of `commit` may bring its own forward: no message under way says as much already. */
export const canBumpCommit = ({ sentCommit, next }: Progress, commit: number): boolean =>
  commit > sentCommit && sentCommit < next - 1

/** The member holds the leader's log up to `index`. @returns Whether that is news. */
export function maybeUpdate(progress: Progress, index: number): boolean {
  if (index <= progress.match) return false
  progress.match = index
  progress.next = Math.max(progress.next, index + 1)
  progress.paused = false
  return true
}

/** @returns False when the rejection is of a message that has been overtaken. */
export function maybeDecrease(progress: Progress, rejected: number, hint: number): boolean {
  if (progress.state === 'replicate') {
    if (rejected <= progress.match) return false
    progress.next = progress.match + 1
    progress.sentCommit = Math.min(progress.sentCommit, progress.match)
    return true
  }
  if (progress.state === 'snapshot' || progress.next - 1 !== rejected) return false
  progress.next = Math.max(Math.min(rejected, hint + 1), progress.match + 1)
  progress.sentCommit = Math.min(progress.sentCommit, progress.next - 1)
  progress.paused = false
  return true
}

/** Messages up to `index` have arrived. */
export function freeInflight(progress: Progress, index: number): void {
  while ((progress.inflight[0]?.last ?? Infinity) <= index) {
    progress.inflightBytes -= progress.inflight.shift()?.bytes ?? 0
  }
  assert(progress.inflightBytes >= 0)
}

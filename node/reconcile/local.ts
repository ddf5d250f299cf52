/**
 * One VM as this host has it: what it holds of it on disk, what runs, and how its own doings went. Plain data, and what
 * can be said of it alone. It is changed by grants.ts (what is on disk), performing.ts (what runs) and vms.ts (the rest).
 */
import { compareEpochs, type Epoch } from '../../protocols/epoch.ts'
import type { Failure } from '../../protocols/errors.ts'
import type { VmId } from '../../protocols/ids.ts'
import type { Grant, HolderPromise } from '../../storage/records.ts'
import type { Machine } from '../hypervisor.ts'
import type { Operation } from './plan.ts'

export type Local = {
  readonly vm: VmId
  /** As on disk. */
  grant: Grant | undefined
  /** In force from when it is made, which is before it is on disk. */
  promise: HolderPromise | undefined
  machine: Machine | undefined
  /** Every chunk that its disks start from has been fetched under this grant. */
  images: boolean
  busy: Operation['kind'] | undefined
  /** No further try before this. */
  notBeforeMs: number
  failures: number
  failure: Failure | undefined
  /** The guest powered itself off while it was wanted running. */
  poweredOff: boolean
  /** Its power button was pressed since it was started: if it ends by it, however late, that is not by itself. */
  pressed: boolean
  /** A start was asked for in this boot: autostart no longer matters. */
  asked: boolean
  /** Since when a VM that it depends on has not been seen running; 0 when none is missed. */
  waitingSinceMs: number
}

export type LocalState = 'running' | 'paused' | 'stopped' | 'starting' | 'stopping' | 'fetching' | 'failed'

/** Back-off after a failed operation: doubles from the first to the last. */
const BACKOFF_MS = { first: 1_000, last: 60_000 }
/** Past this the back-off has long been at its last. */
const FAILURES_MAX = 16

/** What an operation that went well, or an operator who asks, does away with. */
export const FORGIVEN = { failures: 0, failure: undefined, notBeforeMs: 0 } as const

export const nothingOf = (vm: VmId): Local => ({
  vm,
  grant: undefined,
  promise: undefined,
  machine: undefined,
  images: false,
  busy: undefined,
  ...FORGIVEN,
  poweredOff: false,
  pressed: false,
  asked: false,
  waitingSinceMs: 0,
})

/** An operation failed, or the guest did: the next try waits, each time twice as long. */
export function setBack(local: Local, failure: Failure, nowMs: number): void {
  local.failure = failure
  local.notBeforeMs = nowMs + Math.min(BACKOFF_MS.first * 2 ** local.failures, BACKOFF_MS.last)
  local.failures = Math.min(local.failures + 1, FAILURES_MAX)
}

/** This host gave that epoch up for good: what still says otherwise is old. */
export const givenUp = ({ promise }: Local, epoch: Epoch): boolean =>
  promise !== undefined && promise.m === undefined && compareEpochs(promise.epoch, epoch) >= 0

/** What an operation that is under way looks like from outside; the others show as what they find. */
const SHOWN: { readonly [K in Operation['kind']]?: LocalState } = {
  prepare: 'starting',
  start: 'starting',
  'power-off': 'stopping',
  kill: 'stopping',
  fetch: 'fetching',
}

export function stateOf({ machine, busy, failure }: Local): LocalState {
  const shown = busy && SHOWN[busy]
  if (shown !== undefined) return shown
  if (machine?.state === 'running' || machine?.state === 'paused') return machine.state
  return failure === undefined ? 'stopped' : 'failed'
}

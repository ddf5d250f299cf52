/** What is true of a group whatever its members believe: what was committed, first by whom, and who is in it. */
import type { Entry } from '../../../protocols/raft/types.ts'
import type { Look } from './look.ts'

export type Truth = {
  /** By index. */
  readonly committed: Map<number, Entry>
  /** The term of the leader that committed it. */
  readonly committedIn: Map<number, number>
  committedTo: number
  /** Snapshots that were taken from others while an earlier one was still on its way to the disk. */
  overlaps: number
}

export const newTruth = (): Truth => ({
  committed: new Map(),
  committedIn: new Map(),
  committedTo: 0,
  overlaps: 0,
})

/** All that checkers may look at. */
export type Scene = { readonly truth: Truth; readonly members: () => readonly Look[] }

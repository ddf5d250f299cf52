/**
 * A node of a script: the real core, and around it the least of a host: a disk that keeps what was written, and a state
 * machine that keeps every state it was in, so that a snapshot is always at hand.
 *
 * Scripts pace what `step` does at once: messages are heard when they are delivered, but what comes of them is taken out
 * by `process-ready`, all of it together, as etcd's Ready has it.
 */
import type { Raft } from '../../../protocols/raft/raft.ts'
import type { Entry, HardState, RaftEffect, Role, Snapshot } from '../../../protocols/raft/types.ts'
import type { Said } from './text.ts'

export type StoreEffect = Extract<RaftEffect, { kind: 'store' }>

export type ScriptNode = {
  readonly id: number
  readonly raft: Raft
  /** Writes and applied entries take as long as the script wants; else both are done with `process-ready`. */
  readonly isAsync: boolean
  readonly disk: Disk
  /** The state machine appends every entry's data; here is what it was after each. */
  readonly history: Snapshot[]
  /** As the last Ready said. */
  told: { readonly leader: string; readonly role: Role; readonly hardState: HardState }
  /** What the host has to say itself: proposals that it passes on to the leader. */
  outbox: Mail[]
  /** What the core says to itself once it is on disk, since the last Ready: its votes, and what it appended as leader. */
  own: Own[]
  /** All that was said since the last Ready, the host's and the core's, in order. */
  readonly spoken: Set<unknown>
  appendWork: Work[]
  applyWork: Work[]
  /** Async: the apply thread has been given what is committed up to here. */
  givenTo: number
  /** Async: the append thread has said that entries up to here, of what is in the log now, are written. */
  appendedTo: number
}

/** `lines`: what etcd's core logs when it hears it, and ours cannot be seen to, since it knew before. */
export type Own = {
  readonly said: Said & { readonly term: number }
  readonly lines: readonly string[]
}

/** Something under way: how it is printed, and what its arrival does. */
export type Mail = {
  readonly to: number
  readonly said: Said
  /** From a node's own threads: cannot be lost. */
  readonly isLocal: boolean
  arrive(node: ScriptNode): void
}

export type Work = {
  readonly said: Said
  perform(): void
  readonly responses: readonly Mail[]
}

export type Disk = { first: number; entries: Entry[] }

export function write(disk: Disk, { entries, snapshot, dropFrom }: StoreEffect): void {
  if (snapshot !== undefined && dropFrom === 0) {
    disk.first = snapshot.index + 1
    disk.entries = []
  }
  const from = entries[0]?.index
  if (from === undefined) return
  disk.entries.length = Math.min(disk.entries.length, from - disk.first)
  disk.entries.push(...entries)
}

/** A new first index; what is before it is gone. */
export function compactDisk(disk: Disk, first: number): void {
  disk.entries.splice(0, first - disk.first)
  disk.first = first
}

/** The state machine takes entries, and the core may send what it became from now on. */
export function take({ history, raft }: ScriptNode, entries: readonly Entry[]): void {
  // Another's snapshot that was put in its place meanwhile.
  if (raft.snapshot.index > (history.at(-1)?.index ?? 0)) history.push(raft.snapshot)
  for (const { index, term, kind, data } of entries) {
    const last = history.at(-1)
    const before = last?.data ?? new Uint8Array()
    const after = kind === 'normal' ? new Uint8Array([...before, ...data]) : before
    const configuration =
      raft.configurations.findLast((each) => each.index <= index)?.configuration ??
      last?.configuration ??
      raft.configuration
    history.push({ index, term, configuration, data: after })
  }
  const newest = history.at(-1)
  // As if the host had made a snapshot and said `compact`, without the write, which no script looks at.
  if (newest !== undefined && newest.index > raft.snapshot.index) raft.snapshot = newest
}

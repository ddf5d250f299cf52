/**
 * What goes into the Raft core and what comes out: `step(raft, event) -> effects` (see raft.ts). Names are etcd's.
 *
 * The host (node/groups.ts) performs effects in order. A `send` with `after` leaves only once the storage write of that
 * token is durable; that write's completion comes back as `stored`. Nothing else binds the order of messages and disk,
 * so the simulator may delay, reorder or crash in between.
 */
import type { PeerId } from '../ids.ts'
import type { Message } from './messages.ts'

/** Term and index start at 0 (nothing); the first entry of a group has index 1. */
export type Entry = { readonly term: number; readonly index: number } & (
  | { readonly kind: 'normal'; readonly data: Uint8Array }
  | { readonly kind: 'configuration'; readonly data: Uint8Array }
)

export type HardState = { readonly term: number; readonly vote: PeerId; readonly commit: number }

export type Configuration = {
  /** In order of their ids. The seam for joint consensus: an outgoing majority stands beside it while a change is on. */
  readonly voters: readonly PeerId[]
  readonly votersOutgoing: readonly PeerId[]
  readonly learners: readonly PeerId[]
}

export type Snapshot = {
  readonly index: number
  readonly term: number
  readonly configuration: Configuration
  /** The state machine at `index`. */
  readonly data: Uint8Array
}

/** The only change a real group makes yet; joint changes are the next step, in configuration.ts. */
export type ConfigurationChange = { readonly kind: 'add-learner'; readonly peer: PeerId }

export type RaftEvent =
  | { readonly kind: 'tick' }
  | { readonly kind: 'message'; readonly message: Message }
  /** `token` names the asker; comes back in `proposed` or `refused`. */
  | { readonly kind: 'propose'; readonly token: number; readonly data: Uint8Array }
  | { readonly kind: 'propose-change'; readonly token: number; readonly change: ConfigurationChange }
  /** A linearizable read; comes back in `read-ready` or `refused`. */
  | { readonly kind: 'read'; readonly token: number }
  /** The storage write `token` is durable. */
  | { readonly kind: 'stored'; readonly token: number }
  /** The state machine has applied everything up to `index`. */
  | { readonly kind: 'applied'; readonly index: number }
  /** The host has made a snapshot of its state machine at `index`; entries before it (less a tail) may go. */
  | { readonly kind: 'compact'; readonly index: number; readonly data: Uint8Array }
  /** The transport lost its connection to `peer`: whatever is in flight to it must be probed again. */
  | { readonly kind: 'unreachable'; readonly peer: PeerId }

export type RaftEffect =
  | { readonly kind: 'send'; readonly message: Message; readonly after?: number }
  /**
   * One atomic, fsynced write: `entries` replace whatever is stored from their first index on; a snapshot replaces all
   * entries up to and including `compactTo`.
   */
  | {
      readonly kind: 'store'
      readonly token: number
      readonly hardState?: HardState
      readonly entries: readonly Entry[]
      readonly snapshot?: Snapshot
      /** Stored entries with an index up to this may be dropped. */
      readonly compactTo?: number
      /**
       * Stored entries from this index on are to be dropped before `entries` are written; absent when there are none, so
       * that the common append needs no look at what is stored. A snapshot of another peer drops them all (0).
       */
      readonly dropFrom?: number
    }
  /** Committed entries, in order, each exactly once in a life of the core. */
  | { readonly kind: 'apply'; readonly entries: readonly Entry[] }
  /** The state machine is to be replaced by the snapshot's; comes before any `apply` past it. */
  | { readonly kind: 'restore'; readonly snapshot: Snapshot }
  | { readonly kind: 'proposed'; readonly token: number; readonly index: number; readonly term: number }
  | { readonly kind: 'read-ready'; readonly token: number; readonly index: number }
  | {
      readonly kind: 'refused'
      readonly token: number
      /** `no-op`: the leader has not yet committed the first entry of its term; soon. `too-large` never passes. */
      readonly why: 'not-leader' | 'busy' | 'change-pending' | 'no-op' | 'too-large'
      readonly leader: PeerId
    }
  /** Role, term or leader changed. */
  | { readonly kind: 'role'; readonly role: Role; readonly term: number; readonly leader: PeerId }

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** What was found on disk at start; `snapshot` of a new group has index 0 and names its first configuration. */
export type Recovered = {
  readonly hardState: HardState
  readonly snapshot: Snapshot
  readonly entries: readonly Entry[]
}

export type RaftConfig = {
  readonly group: string
  readonly self: PeerId
  /** In ticks; the election timeout is drawn from [electionTicks, 2 x electionTicks). */
  readonly electionTicks: number
  readonly heartbeatTicks: number
  /** In [0, 1); seeded by the host. */
  readonly dice: () => number
  /** LOG_ENTRIES_KEPT and SNAPSHOT_PART_BYTES unless told; smaller ones bring a simulation to the hard cases sooner. */
  readonly entriesKept?: number
  readonly snapshotPartBytes?: number
}

/**
 * What goes into the Raft core and what comes out: `step(raft, event) -> effects` (see raft.ts). Names are etcd's.
 *
 * The host (node/group.ts) performs effects in order. A `send` with `after` leaves only once the storage write of that
 * token is durable; that write's completion comes back as `stored`. Nothing else binds the order of messages and disk,
 * so the simulator may delay, reorder or crash in between.
 */
import type { Dice } from '../clock.ts'
import type { MemberId } from './member.ts'
import type { Message } from './messages.ts'

/** Term and index start at 0 (nothing); the first entry of a group has index 1. */
export type Entry = { readonly term: number; readonly index: number } & (
  | { readonly kind: 'normal'; readonly data: Uint8Array }
  | { readonly kind: 'configuration'; readonly data: Uint8Array }
)

export type HardState = { readonly term: number; readonly vote: MemberId; readonly commit: number }

/** Lists are in order of their ids. A group that nobody is in yet has the empty one. */
export type Configuration = {
  readonly voters: readonly MemberId[]
  /** The majority that votes as well while a change is on: empty unless the configuration is joint. */
  readonly votersOutgoing: readonly MemberId[]
  readonly learners: readonly MemberId[]
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly MemberId[]
  /** The leader proposes to leave a joint configuration as soon as it is in force. */
  readonly autoLeave: boolean
}

export type Snapshot = {
  readonly index: number
  readonly term: number
  readonly configuration: Configuration
  /** The state machine at `index`. */
  readonly data: Uint8Array
}

/**
 * etcd's ConfChangeV2. `auto` is one simple change, or a joint one that leaves by itself when there are several; `implicit`
 * is joint and leaves by itself; `explicit` stays joint until it is told to leave, by `auto` with no changes.
 */
export type ConfigurationChange = {
  readonly transition: 'auto' | 'implicit' | 'explicit'
  readonly changes: readonly SingleChange[]
}

export type SingleChange = {
  readonly kind: 'add-node' | 'add-learner-node' | 'remove-node' | 'update-node'
  readonly peer: MemberId
}

export type Timing = {
  readonly heartbeatTicks: number
  readonly electionTicks: number
  /** Ticks from one follower's turn to stand for election to the next one's; absent: each draws its own. */
  readonly staggerTicks?: number
}

/** `token` names the asker; comes back in `proposed` or `refused`. */
export type Proposal = { readonly token: number; readonly data: Uint8Array }

export type RaftEvent =
  /** `count` ticks at once (1 unless told): those in which nothing was due may be slept through, see `dueInTicks`. */
  | { readonly kind: 'tick'; readonly count?: number }
  | { readonly kind: 'message'; readonly message: Message }
  /** Those of one turn of the host (etcd's MsgProp): they go out together. */
  | { readonly kind: 'propose'; readonly proposals: readonly Proposal[] }
  | { readonly kind: 'propose-change'; readonly token: number; readonly change: ConfigurationChange }
  /** A linearizable read; comes back in `read-ready` or `refused`. */
  | { readonly kind: 'read'; readonly token: number }
  /** The storage write `token` is durable. */
  | { readonly kind: 'stored'; readonly token: number }
  /** The state machine has applied everything up to `index`. */
  | { readonly kind: 'applied'; readonly index: number }
  /** The host has made a snapshot of its state machine at `index`; entries before it (less a tail) may go. */
  | { readonly kind: 'compact'; readonly index: number; readonly data: Uint8Array }
  /** Known to be committed, from whoever says so (learning.ts); what is held already changes nothing. */
  | { readonly kind: 'learn'; readonly entries: readonly Entry[] }
  | { readonly kind: 'learn-snapshot'; readonly snapshot: Snapshot }
  /** The transport lost its connection to `peer`: whatever is in flight to it must be probed again. */
  | { readonly kind: 'unreachable'; readonly peer: MemberId }
  /** How a snapshot that went another way than by parts came out. */
  | { readonly kind: 'report-snapshot'; readonly peer: MemberId; readonly status: 'finish' | 'failure' }
  /** Leader: hand over to the voter `to`; a follower passes it on. With a `token` it is refused when it cannot begin. */
  | { readonly kind: 'transfer'; readonly token?: number; readonly to: MemberId }
  /** The leader is known to be gone: votes may be given at once, not after the election timeout. */
  | { readonly kind: 'forget-leader' }
  /** As if the election timeout had passed. */
  | { readonly kind: 'campaign' }
  /** Nothing more can be applied in this life (features.ts): it stores and votes on, and never leads or answers a read. */
  | { readonly kind: 'halt' }
  /** What the group has agreed on; in force from now on. */
  | ({ readonly kind: 'timing' } & Timing)

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
      readonly why: RefusalWhy
      /** For `change-invalid`: which rule of configurations it breaks. */
      readonly detail?: string
      readonly leader: MemberId
    }
  /** Role, term or leader changed. */
  | { readonly kind: 'role'; readonly role: Role; readonly term: number; readonly leader: MemberId }
  /** The group has begun anew without this log (`raft recover`): it is to be put aside, and a new member to begin. */
  | { readonly kind: 'superseded'; readonly generation: number }

/**
 * `no-op`: the leader has not yet committed the first entry of its term; soon. `transferring`: another is about to lead;
 * `not-voter`: the other cannot. `too-large` and `change-invalid` never pass.
 */
export type RefusalWhy =
  | 'not-leader'
  | 'busy'
  | 'change-pending'
  | 'change-invalid'
  | 'no-op'
  | 'too-large'
  | 'transferring'
  | 'not-voter'

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** What was found on disk at start; see genesis.ts for what is there at first. */
export type Recovered = {
  readonly hardState: HardState
  readonly snapshot: Snapshot
  readonly entries: readonly Entry[]
}

/**
 * The product gives what has no `?`. The rest is for simulations, which want the hard cases sooner, and for scripts that
 * were written for other settings; unless told it is as the comments say.
 */
export type RaftConfig = {
  readonly cluster: string
  readonly group: string
  /** Raised by `raft recover`: an older one's messages are not heard. */
  readonly generation: number
  readonly self: MemberId
  /** In ticks; the election timeout is drawn from [electionTicks, 2 x electionTicks). The event `timing` changes them. */
  readonly electionTicks: number
  readonly heartbeatTicks: number
  readonly staggerTicks?: number
  /** The newest feature that this version knows. 0. */
  readonly level?: number
  /** In [0, 1); seeded by the host. */
  readonly dice: Dice
  /** A sole voter with a learner in sight commits only what it holds too (DESIGN section 3, two hosts). Off. */
  readonly heldForLearner?: boolean
  /** LOG_ENTRIES_KEPT, SNAPSHOT_PART_BYTES. */
  readonly entriesKept?: number
  readonly snapshotPartBytes?: number
  /** 1, which makes concurrent proposals share a write. */
  readonly writesInFlight?: number
  /** Off: what says no more than a message that waits for the disk already, is not said again. */
  readonly repeatPromises?: boolean
  /** On. */
  readonly preVote?: boolean
  readonly checkQuorum?: boolean
  readonly stepDownOnRemoval?: boolean
  /** `safe`. `lease-based` trusts clocks: it answers while CheckQuorum holds, and asks nobody. */
  readonly readOnly?: 'safe' | 'lease-based'
  /** Off. On, a change is not checked when it is proposed, only when it is applied. */
  readonly disableConfChangeValidation?: boolean
  /** INFLIGHT_APPENDS_MAX, INFLIGHT_APPEND_BYTES_MAX: MsgApps under way to one member. */
  readonly maxInflightMsgs?: number
  readonly maxInflightBytes?: number
  /** UNCOMMITTED_BYTES_MAX. */
  readonly maxUncommittedEntriesSize?: number
  /** APPEND_BYTES_MAX: payload of one MsgApp, of which the first entry always goes. */
  readonly maxSizePerMsg?: number
  /** No bound: payload that is handed out and not yet said to be applied, of which the first entry always goes. */
  readonly maxCommittedSizePerReady?: number
}

/** What the parts of one peer share: made once by compose.ts, handed to the handlers of operations. */
import type { Broadcast } from '../protocols/broadcast.ts'
import type { Clock, Dice } from '../protocols/clock.ts'
import type { Directory } from '../protocols/directory.ts'
import type { Gateway } from '../migration/torrent/gateway.ts'
import type { Transport } from '../protocols/transport.ts'
import type { Blocks } from '../migration/second-level/bases.ts'
import type { Bases } from '../storage/images/bases.ts'
import type { ChunkStore, ManifestStore } from '../storage/images/chunk-store.ts'
import type { Journal } from '../storage/journal.ts'
import type { Identity } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import type { Agreement } from './agreement.ts'
import type { Asking } from './asking.ts'
import type { Binding, OutsidePort } from './binding/binding.ts'
import type { Doubt } from './binding/doubt.ts'
import type { Door } from './door.ts'
import type { Counts, Vitals } from './figures.ts'
import type { Copies } from './copies.ts'
import type { Following } from './following.ts'
import type { Limits } from './limiting.ts'
import type { Disks, Hypervisor } from './hypervisor.ts'
import type { ImageFiles } from './image-files.ts'
import type { Jobs } from './jobs.ts'
import type { Keeping } from './keeping/keeping.ts'
import type { Quota } from './keeping/room.ts'
import type { Pull } from './moving/around.ts'
import type { Moves } from './moving/moves.ts'
import type { Pulling } from './pulling.ts'
import type { Observation } from './observation.ts'
import type { Publishing } from './publishing.ts'
import type { Removals } from './removal.ts'
import type { SnapshotFiles } from './snapshot-files.ts'
import type { Vms } from './reconcile/vms.ts'
import type { HostFacts } from './telemetry/host-facts.ts'

/** All of the world that a peer touches: real in ports.ts, simulated in simulator/cluster.ts. */
export type Ports = {
  readonly clock: Clock
  readonly dice: Dice
  /** Id of this boot of the machine. */
  readonly boot: string
  readonly transport: Transport
  readonly broadcast: Broadcast
  readonly directory: Directory
  readonly store: Store
  readonly outside: OutsidePort
  readonly chunks: ChunkStore
  readonly manifests: ManifestStore
  /** What the second level needs; without it images come chunk by chunk only. */
  readonly blocks?: Blocks
  /** What lies under disks of this host; without it they are no source. */
  readonly bases?: Bases
  readonly journal: Journal
  readonly hypervisor: Hypervisor
  readonly disks: Disks
  readonly images: ImageFiles
  readonly gateway: Gateway
  readonly snapshots: SnapshotFiles
  readonly host: HostFacts
  readonly door: Door
  /** A fresh secret of 32 bytes and the SHA-256 of one, in hex. */
  readonly vitals: () => Vitals
  readonly secrets: { make(): Uint8Array; hash(secret: Uint8Array): string }
}

export type NodeConfig = {
  readonly identity: Identity
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  /** What of this host may be committed to VMs. */
  readonly capacity: { readonly cpus: number; readonly memoryMiB: number; readonly diskBytes: number }
  /** What images may take; undefined: as much as the disk has. */
  readonly quota?: Quota | undefined
  /** Whether this peer may vote, and what fails with it when a line fails; empty: its site's. */
  readonly raft: { readonly noVote: boolean; readonly uplink: string }
  /** Where images are published when nothing else is said; empty: nowhere. */
  readonly torrentListen: string
  /** How fast bulk may go, to whom and when. */
  readonly limits: Limits
  /** Address of the status endpoint, for people; empty when it is off. */
  readonly http: string
}

export type Context = {
  readonly config: NodeConfig
  readonly ports: Ports
  readonly binding: Binding
  readonly doubt: Doubt
  readonly agreement: Agreement
  readonly following: Following
  readonly copies: Copies
  readonly asking: Asking
  readonly vms: Vms
  readonly moves: Moves
  readonly jobs: Jobs
  readonly observation: Observation
  readonly keeping: Keeping
  /** Brings images here from whoever holds their chunks. */
  readonly pull: Pull
  /** One image, and from whom. */
  readonly download: Pulling['download']
  readonly publishing: Publishing
  readonly counts: Counts
  readonly removals: Removals
  readonly startedMs: number
}

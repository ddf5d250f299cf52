/**
 * What a peer tells people about itself and the mesh: one schema per kind of thing, used by the CLI (`-o json`), the
 * status endpoint and its OpenAPI document. Fields never change meaning within SCHEMA_VERSION.
 *
 * `ageMs` on an item: how old the news is when it came by gossip; 0 for what this peer knows itself or the group agreed.
 */
import { z } from 'zod'
import { STALE_MS } from '../protocols/limits.ts'

export const SCHEMA_VERSION = 1

const age = z.number().min(0).describe('age of the news in ms; 0 for what is known first hand')
const stale = z.boolean().describe(`true when older than ${STALE_MS} ms`)

export const peerView = z.object({
  id: z.string(),
  name: z.string(),
  site: z.string(),
  self: z.boolean(),
  state: z.enum(['alive', 'suspect', 'unreachable', 'lost', 'unknown']),
  connected: z.boolean(),
  /** How it is connected: straight, or through a peer that relays; null while it is not, and of a peer itself. */
  path: z.enum(['direct', 'relay']).nullable(),
  rttMs: z.number().nullable(),
  addresses: z.array(z.string()),
  driver: z.string(),
  cpus: z.number(),
  memoryMiB: z.number(),
  /** Shares of 0..1, from the newest sample. */
  cpuLoad: z.number().nullable(),
  memoryUsed: z.number().nullable(),
  diskFreeBytes: z.number().nullable(),
  vms: z.number(),
  version: z.string(),
  labels: z.record(z.string(), z.string()),
  draining: z.boolean().describe('gets no votes and no VMs'),
  roles: z
    .array(z.string())
    .describe(
      'groups it votes in or learns, as far as the peer that was asked is in them: voter mesh, learner site/x',
    ),
  ageMs: age,
  stale,
})

export const siteView = z.object({
  id: z.string(),
  name: z.string(),
  self: z.boolean(),
  peers: z.number(),
  peersAlive: z.number(),
  vms: z.number(),
  vmsRunning: z.number(),
  memoryMiB: z.number(),
  memoryCommittedMiB: z.number(),
  ageMs: age,
  stale,
})

export const vmView = z.object({
  id: z.string(),
  name: z.string(),
  site: z.string(),
  host: z.string().describe('name of the peer it is placed on'),
  hostId: z.string(),
  epoch: z.string().describe('number of its grant, E.s'),
  wanted: z.enum(['running', 'stopped']),
  state: z.enum([
    'running',
    'paused',
    'stopped',
    'starting',
    'stopping',
    'moving',
    'fetching',
    'failed',
    'unknown',
  ]),
  why: z.string().describe('why it is not as wanted; empty when it is'),
  cpus: z.number(),
  memoryMiB: z.number(),
  labels: z
    .record(z.string(), z.string())
    .describe('labels its host must carry; empty when only a digest is known'),
  job: z.string().describe('job that has it in hand; empty when none'),
  cpuSeconds: z.number().nullable(),
  memoryBytes: z.number().nullable(),
  ageMs: age,
  stale,
})

export const imageView = z.object({
  id: z.string(),
  name: z.string(),
  bytes: z.number().describe('size of the disk'),
  dataBytes: z.number().describe('bytes that are not zeros'),
  chunks: z.number(),
  missing: z.number().describe('chunks that this peer does not hold'),
  usedBy: z.array(z.string()),
  pinned: z.boolean().describe('on this peer'),
  kept: z.array(z.string()).describe('what on this peer refers to it; empty when it may go from here'),
  heldBytes: z
    .number()
    .describe('what it takes of this peer’s store; what images share is counted with each'),
  share: z.number().describe('0..1 of its chunks, zeros counted, that are here'),
  site: z.string().describe('whose catalog names it'),
  published: z
    .array(
      z.object({
        infoHash: z.string(),
        address: z.string().describe('where it is served; empty while it is not'),
        trackers: z.array(z.string()),
        private: z.boolean(),
        peers: z.number().describe('BitTorrent clients connected'),
        uploadedBytes: z.number().describe('since this peer was started'),
      }),
    )
    .describe('to BitTorrent clients, by this peer'),
  ageMs: age,
  stale,
})

/** What a pin or its end has come to. */
export const pinView = z.object({
  image: z.string(),
  name: z.string().describe('empty for an image that this site has no name for'),
  peer: z.string(),
  pinned: z.boolean(),
  chunks: z.number(),
  missing: z.number().describe('chunks that the peer does not hold: a pin fetches nothing'),
})

/** A kept copy of a VM that has moved away. */
export const keptView = z.object({
  name: z.string(),
  vm: z.string(),
  since: z.string(),
  bytes: z.number().describe('of its disks; what it is the same as lies in the chunk store besides'),
  images: z.array(z.string()).describe('what its disks are the same as; empty when nobody knows'),
  elsewhere: z.string().describe('a peer that holds all of that; empty: it stays, it may be the only copy'),
})

/** What images take of this peer, and may take. */
const roomView = z.object({
  usedBytes: z.number().describe('of the chunk store and of kept copies'),
  keptBytes: z.number().describe('of kept copies of moved VMs alone'),
  reservedBytes: z.number().describe('to come, of what is being brought here'),
  quotaBytes: z.number().nullable().describe('null: none'),
  diskFreeBytes: z.number(),
})

/** One thing that prune would take, or leave. */
export const pruneItem = z.object({
  kind: z.enum(['image', 'chunks']).describe('chunks: what no image names then, the room that comes back'),
  id: z.string(),
  name: z.string(),
  bytes: z.number().describe('of the store; what images share is counted with each'),
  drops: z.boolean(),
  why: z.string(),
})

/** What one peer holds of an image. */
export const locationView = z.object({
  peer: z.string(),
  peerId: z.string(),
  site: z.string(),
  self: z.boolean(),
  near: z.boolean().describe('of the site of the peer that was asked'),
  holds: z
    .enum(['all', 'part', 'nothing', 'unknown'])
    .describe('unknown: it never said, or neither it nor the peer that was asked knows the manifest'),
  chunks: z.number().describe('of the image, zeros aside; an estimate when it never saw its manifest'),
  of: z.number().describe('chunks of the image that are not zeros; 0 while nobody that answers knows'),
  share: z.number().describe('0..1'),
  storedBytes: z.number().describe('what those take in its store, and on a wire'),
  manifest: z.boolean().describe('it knows the image; else it holds chunks of it from others'),
  why: z.string().describe('why it has not said so now; empty when it has'),
  rttMs: z.number().nullable(),
  ageMs: age,
  stale,
})

/** What bringing an image here would cost. */
export const planView = z.object({
  id: z.string(),
  name: z.string(),
  site: z.string().describe('whose catalog names it; empty when none in sight does'),
  bytes: z.number().describe('size of the disk'),
  chunks: z.number().describe('that have to be fetched, each content once'),
  contentBytes: z.number().describe('of those chunks'),
  storedBytes: z.number().describe('what they take as frames, as far as somebody in sight holds them'),
  wireBytes: z.number().describe('all that would cross, both ways'),
  nowhere: z.number().describe('chunks that nobody in sight holds: it cannot be completed while there are'),
  manifestBytes: z.number().describe('what was fetched to say this; it stays, and is not in wireBytes'),
  links: z.array(
    z.object({
      site: z.string(),
      near: z.boolean(),
      peers: z.number(),
      chunks: z.number(),
      wireBytes: z.number().describe('expected, when sites that hold the same bring equal parts of it'),
      wireBytesMin: z.number().describe('what only this site holds'),
      wireBytesMax: z.number().describe('all that this site holds and no peer here does'),
    }),
  ),
  silent: z.array(z.string()).describe('peers that did not answer'),
  unable: z.array(z.string()).describe('peers of a version that cannot say what they hold'),
  ageMs: age,
})

export const jobView = z.object({
  id: z.string(),
  kind: z.enum(['move', 'image-import', 'image-export', 'image-verify', 'image-pull', 'image-publish']),
  subject: z.string().describe('name of what it works on'),
  peer: z.string().describe('name of the peer that coordinates it'),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  phase: z.string(),
  error: z.string().describe('why it failed; empty when it did not'),
  code: z.string().describe('code of the failure; empty when there is none'),
  startedAt: z.string(),
  endedAt: z.string().nullable(),
  doneBytes: z.number().describe('never decreases'),
  totalBytes: z.number().describe('may grow'),
  bytesPerSecond: z.number(),
  etaSeconds: z.number().nullable(),
  sources: z.number().describe('peers that bytes come from'),
  logicalBytes: z.number().describe('size of the disks in hand'),
  dedupBytes: z.number().describe('bytes left over once zeros and what the destination holds are taken off'),
  compressedBytes: z.number().describe('those bytes as frames'),
  wireBytes: z.number().describe('bytes on this job’s connections, both ways, manifests included'),
  standstillMs: z.number().nullable().describe('how long the guest stood still'),
  result: z.record(z.string(), z.string()),
  ageMs: age,
})

export const groupView = z.object({
  group: z.string(),
  role: z
    .enum(['leader', 'follower', 'candidate', 'pre-candidate', 'learner', 'outside', 'copy'])
    .describe('of this peer; outside: it is no member, and follows; copy: it keeps one of another site'),
  generation: z.number().describe('0 unless the group was recovered'),
  term: z.number(),
  leader: z.string().describe('name of the leader; empty when none is known'),
  source: z.string().describe('name of the peer that it is followed from; empty while a leader is heard'),
  voters: z.array(z.string()),
  learners: z.array(z.string()),
  commit: z.number(),
  applied: z.number(),
  lastIndex: z.number(),
  snapshotIndex: z.number(),
  unwritable: z.string().describe('why this peer’s disk does not take the log; empty while it does'),
  damaged: z
    .string()
    .describe('when and how the newest damaged log was found, and what was done; empty when none was'),
  level: z.number().describe('feature level that is agreed on'),
  halted: z
    .string()
    .describe('why nothing more of it can be applied by this version of godwit; empty while all is well'),
  rivals: z
    .string()
    .describe('other generations that were begun from the same log, and what comes of them; empty when none'),
  lag: z.number().describe('entries agreed on, as far as this peer knows, and not applied here'),
  missing: z
    .array(z.string())
    .describe('voters out of sight, when too many are for the group to agree on anything'),
  ageMs: age,
  stale: z.boolean().describe('true while no leader is in sight'),
})

/** One member of a group, as its leader sees it; without a leader, as the peer that was asked does. */
export const healthView = z.object({
  group: z.string(),
  peer: z.string(),
  peerId: z.string(),
  member: z.string().describe('the peer and which of its logs'),
  kind: z
    .enum(['voter', 'outgoing', 'learner', 'copy'])
    .describe('copy: a peer of another site that follows the log, and is no member'),
  role: z.enum(['leader', 'follower', 'unknown']),
  reachable: z.boolean(),
  match: z.number().nullable().describe('entries it is known to hold; null when only a leader would know'),
  lag: z
    .number()
    .nullable()
    .describe('entries of the leader that it is not known to hold; null also for who needs a snapshot'),
  lastContactMs: z.number().nullable(),
  rttMs: z.number().nullable(),
  level: z.number().nullable().describe('newest feature that it knows; null when only a leader would know'),
  verdict: z
    .enum(['well', 'behind', 'halted', 'silent', 'unreachable'])
    .describe('halted: it needs a newer godwit before it applies anything more'),
  ageMs: age,
  stale: z.boolean(),
})

export const transferView = z.object({
  group: z.string(),
  from: z.string(),
  to: z.string(),
  term: z.number(),
})

export const snapshotView = z.object({
  group: z.string(),
  generation: z.number(),
  index: z.number(),
  term: z.number(),
  voters: z.array(z.string()),
  bytes: z.number(),
  path: z.string(),
})

export const removalView = z.object({
  peer: z.string(),
  peerId: z.string(),
  orphans: z.array(z.string()).describe('VMs that stay on it, and are nobody else’s'),
  leaderless: z
    .array(z.string())
    .describe(
      'groups in which nobody else votes: they agree on nothing until they are recovered on another peer',
    ),
})

export const tokenView = z.object({
  id: z.string(),
  site: z.string().describe('the only site it admits to; empty for any'),
  expiresAt: z.string(),
  state: z.enum(['open', 'used', 'expired', 'revoked']),
  usedBy: z.string(),
  ageMs: age,
  stale,
})

export const statusView = z.object({
  version: z.string(),
  mesh: z.string(),
  peer: z.string(),
  peerId: z.string(),
  site: z.string(),
  ready: z.boolean(),
  removed: z
    .string()
    .describe(
      'when and by whom this peer was removed from the mesh, as far as it knows; empty while it is one of it',
    ),
  folder: z
    .object({ state: z.enum(['bound', 'unbound', 'mismatch', 'replaced']), why: z.string() })
    .describe('whether an old copy of the data folder would be found out, and whether this is one'),
  driver: z.string(),
  uptimeMs: z.number(),
  groups: z.array(groupView),
  peers: z.number(),
  peersAlive: z.number(),
  vms: z.number(),
  vmsRunning: z.number(),
  jobsRunning: z.number(),
  cutOffFrom: z.array(z.string()).describe('sites of which no peer is in sight'),
  room: roomView,
  http: z.string().describe('address of the status endpoint; empty when it is off'),
  ageMs: age,
  stale: z.boolean().describe('true while a group of this peer has no leader in sight'),
})

export type PeerView = z.infer<typeof peerView>
export type SiteView = z.infer<typeof siteView>
export type VmView = z.infer<typeof vmView>
export type ImageView = z.infer<typeof imageView>
export type PinView = z.infer<typeof pinView>
export type KeptView = z.infer<typeof keptView>
export type RoomView = z.infer<typeof roomView>
export type PruneItem = z.infer<typeof pruneItem>
export type LocationView = z.infer<typeof locationView>
export type PlanView = z.infer<typeof planView>
export type JobView = z.infer<typeof jobView>
export type GroupView = z.infer<typeof groupView>
export type HealthView = z.infer<typeof healthView>
export type SnapshotView = z.infer<typeof snapshotView>
export type TransferView = z.infer<typeof transferView>
export type RemovalView = z.infer<typeof removalView>
export type TokenView = z.infer<typeof tokenView>
export type StatusView = z.infer<typeof statusView>

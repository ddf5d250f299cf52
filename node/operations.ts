/**
 * Everything that can be asked of a running peer, one row each: what it takes, what it answers, whether it changes
 * anything. The control socket serves all of them, the status endpoint the reads that have a path, the CLI turns flags
 * into `params`. Where the answer is made (here, at a group's leader, at a VM's host) is the peer's business.
 */
import { RATE_BYTES_PER_S_MIN } from '../protocols/rate/schedule.ts'
import { z } from 'zod'
import { NAME_LENGTH_MAX, SOURCES_MAX, TORRENT_PEERS_NAMED_MAX, TRACKERS_MAX } from '../protocols/limits.ts'
import {
  groupView,
  healthView,
  imageView,
  jobView,
  keptView,
  locationView,
  peerView,
  pinView,
  planView,
  pruneItem,
  removalView,
  siteView,
  snapshotView,
  statusView,
  tokenView,
  transferView,
  vmView,
} from './views.ts'
import { vmSpec } from './vm/spec.ts'

type Operation = {
  readonly changes: boolean
  readonly params: z.ZodType
  readonly answer: z.ZodType
  /** Path under which the status endpoint serves it; reads only. */
  readonly path?: string
}

const nothing = z.strictObject({})
const named = z.strictObject({ name: z.string().min(1).max(256) })
/** `mesh`, `site/NAME`, or `site` for the own one. */
const group = z.string().min(1).max(96).default('mesh')
const job = z.object({ job: z.string() })

const sources = z
  .array(z.string().min(1).max(256))
  .max(SOURCES_MAX)
  .default([])
  .describe('the only peers to fetch it from; none: whoever has it')

const rows = {
  status: { changes: false, params: nothing, answer: statusView, path: '/v1/status' },
  'peer.list': { changes: false, params: nothing, answer: z.array(peerView), path: '/v1/peers' },
  'peer.show': { changes: false, params: named, answer: peerView },
  'site.list': { changes: false, params: nothing, answer: z.array(siteView), path: '/v1/sites' },
  'vm.list': { changes: false, params: nothing, answer: z.array(vmView), path: '/v1/vms' },
  'vm.show': { changes: false, params: named, answer: z.object({ vm: vmView, spec: vmSpec }) },
  'vm.create': {
    changes: true,
    params: z.strictObject({
      spec: vmSpec,
      start: z.boolean().default(true),
      dryRun: z.boolean().default(false),
    }),
    answer: z.object({ id: z.string(), name: z.string(), host: z.string(), epoch: z.string() }),
  },
  'vm.start': { changes: true, params: named, answer: vmView },
  'vm.stop': { changes: true, params: named.extend({ kill: z.boolean().default(false) }), answer: vmView },
  'vm.delete': { changes: true, params: named, answer: z.object({ id: z.string() }) },
  'vm.move': {
    changes: true,
    params: named.extend({
      to: z.string().min(1).max(256).describe('a peer, a site, or auto'),
      mode: z.enum(['auto', 'cold']).default('auto'),
    }),
    answer: job,
  },
  'vm.logs': {
    changes: false,
    params: named.extend({ lines: z.int().min(1).max(1000).default(100) }),
    answer: z.object({ lines: z.array(z.string()) }),
  },
  'vm.plan': {
    changes: false,
    params: nothing,
    answer: z.array(z.object({ vm: z.string(), operation: z.string(), why: z.string() })),
  },
  'image.list': { changes: false, params: nothing, answer: z.array(imageView), path: '/v1/images' },
  'image.show': { changes: false, params: named, answer: imageView },
  'image.import': {
    changes: true,
    params: named.extend({
      path: z.string().min(1).max(8_192).describe('a file, a device, an NBD export, a magnet link or a URL'),
      format: z.enum(['auto', 'raw', 'qcow2']).default('auto'),
      file: z.string().max(4096).default('').describe('of a torrent with more than one'),
      peers: z.array(z.string().max(64)).max(TORRENT_PEERS_NAMED_MAX).default([]),
      dht: z.boolean().default(false),
      checksum: z
        .string()
        .regex(/^(|sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})$/, 'must be sha256:HEX or sha512:HEX')
        .default(''),
    }),
    answer: job,
  },
  'image.locations': { changes: false, params: named, answer: z.array(locationView) },
  'image.plan': { changes: false, params: named.extend({ from: sources }), answer: planView },
  'image.publish': {
    changes: true,
    params: named.extend({
      path: z.string().min(1).max(4096).describe('where the .torrent is written'),
      listen: z.string().max(64).default('').describe('ADDRESS:PORT; empty: torrent.listen'),
      trackers: z.array(z.string().max(1_024)).max(TRACKERS_MAX).default([]),
      private: z.boolean().default(false),
    }),
    answer: job,
  },
  'image.unpublish': {
    changes: true,
    params: named,
    answer: z.object({ id: z.string(), name: z.string() }),
  },
  'image.pull': {
    changes: true,
    params: named.extend({
      from: sources,
      as: z.string().max(NAME_LENGTH_MAX).default('').describe('what to call it at this site'),
      bwlimit: z.number().min(RATE_BYTES_PER_S_MIN).optional().describe('bytes a second, at most'),
    }),
    answer: job,
  },
  'image.export': { changes: true, params: named.extend({ path: z.string().min(1).max(4096) }), answer: job },
  'image.verify': { changes: true, params: named, answer: job },
  'image.pin': {
    changes: true,
    params: named.extend({ peer: z.string().min(1).max(256).optional(), undo: z.boolean().default(false) }),
    answer: pinView,
  },
  'image.kept': { changes: false, params: nothing, answer: z.array(keptView) },
  'image.prune': {
    changes: true,
    params: z.strictObject({ dryRun: z.boolean().default(false), force: z.boolean().default(false) }),
    answer: z.array(pruneItem),
  },
  'job.list': { changes: false, params: nothing, answer: z.array(jobView), path: '/v1/jobs' },
  'job.show': { changes: false, params: named, answer: jobView },
  'job.cancel': {
    changes: true,
    params: named.extend({ force: z.boolean().default(false) }),
    answer: jobView,
  },
  'raft.list': { changes: false, params: nothing, answer: z.array(groupView) },
  'raft.health': { changes: false, params: z.strictObject({ group }), answer: z.array(healthView) },
  'raft.transfer': {
    changes: true,
    params: z.strictObject({ group, to: z.string().min(1).max(256), dryRun: z.boolean().default(false) }),
    answer: transferView,
  },
  'raft.snapshot.save': {
    changes: false,
    params: z.strictObject({ group, path: z.string().min(1).max(4096) }),
    answer: snapshotView,
  },
  'peer.drain': {
    changes: true,
    params: named.extend({ undo: z.boolean().default(false), dryRun: z.boolean().default(false) }),
    answer: peerView,
  },
  'peer.remove': {
    changes: true,
    params: named.extend({ force: z.boolean().default(false), dryRun: z.boolean().default(false) }),
    answer: removalView,
  },
  'token.create': {
    changes: true,
    params: z.strictObject({
      site: z.string().max(63).default(''),
      expiryMs: z
        .int()
        .min(1_000)
        .max(30 * 86_400_000)
        .default(3 * 3_600_000),
    }),
    answer: z.object({ token: z.string(), id: z.string(), expiresAt: z.string() }),
  },
  'token.list': { changes: false, params: nothing, answer: z.array(tokenView) },
  'token.revoke': { changes: true, params: named, answer: tokenView },
} as const satisfies Record<string, Operation>

export const OPERATIONS: { readonly [M in Method]: Operation } = rows

export type Method = keyof typeof rows
export type Params<M extends Method> = z.output<(typeof rows)[M]['params']>

/**
 * What is observed, in two tiers: each host's sample on its site's topic, and one digest per site on the mesh's topic.
 * Best effort and newest wins. Nothing here is ever agreed on: who acts on it, acts on a rumour with an age.
 */
import { codec } from '../codec.ts'
import { name, peerId, siteId, vmId } from '../ids.ts'
import { DIGEST_VMS_MAX, GOSSIP_BYTES_MAX, JOB_TEXT_MAX, SAMPLE_JOBS_MAX, SAMPLE_VMS_MAX } from '../limits.ts'
import { integer, list, number, type Of, oneOf, optional, record, text } from '../shape.ts'

export const siteTopic = (mesh: string, site: string): string => `/godwit/${mesh}/site/${site}/1`
export const meshTopic = (mesh: string): string => `/godwit/${mesh}/sites/1`

const counter = integer(0, 2 ** 53 - 1)
const share = number(0, 1)

/** Pressure stall information of Linux: the share of the last 10 s in which some, or all, work stood still for it. */
const pressure = record({ some: share, full: optional(share) })

/** What a host measures of itself. */
const measured = {
  cpus: integer(0, 65_536),
  /** Share of all CPUs that was busy since the sample before. */
  cpuLoad: share,
  loadAverage: list(number(0, 1_000_000), 3),
  memoryTotalBytes: counter,
  memoryUsedBytes: counter,
  diskTotalBytes: counter,
  diskFreeBytes: counter,
  /** Since the machine booted, over all interfaces that lead outside. */
  receivedBytes: counter,
  sentBytes: counter,
  cpuPressure: optional(pressure),
  memoryPressure: optional(pressure),
  ioPressure: optional(pressure),
  /** When the machine booted, by its own wall clock; 0 when it does not say. */
  bootMs: counter,
}
const hostSample = record(measured)

const VM_STATES = [
  'running',
  'paused',
  'stopped',
  'starting',
  'stopping',
  'moving',
  'fetching',
  'failed',
  'unknown',
] as const
const vmState = oneOf(...VM_STATES)

const sampledVm = record({
  id: vmId,
  name,
  state: vmState,
  epoch: text(64),
  why: text(200, 0),
  cpuSeconds: number(0, 2 ** 53),
  memoryBytes: counter,
  diskReadBytes: counter,
  diskWrittenBytes: counter,
})

/** Which of an author's messages is the newest: the later life, then the later number. */
const author = {
  author: peerId,
  /** Of the author's process: grows from start to start, as far as its clock does. */
  life: integer(0, 2 ** 48),
  sequence: counter,
}

export const sample = codec(
  'sample',
  record({
    ...author,
    site: siteId,
    version: text(64),
    driver: text(16),
    ...measured,
    vmsTotal: integer(0, 65_536),
    vms: list(sampledVm, SAMPLE_VMS_MAX),
    /** Summaries of jobs as JSON, whose form is node/views.ts's; newest first. */
    jobs: list(text(JOB_TEXT_MAX), SAMPLE_JOBS_MAX),
  }),
  GOSSIP_BYTES_MAX,
)

const digestedVm = record({
  id: vmId,
  name,
  host: peerId,
  hostName: name,
  epoch: text(64),
  wanted: oneOf('running', 'stopped'),
  state: vmState,
  cpus: integer(0, 65_536),
  memoryMiB: counter,
})

export const digest = codec(
  'digest',
  record({
    ...author,
    site: siteId,
    /** Of the site's group, whose leader the author is: a later leader's word is the newer one. */
    term: counter,
    peers: integer(0, 65_536),
    peersAlive: integer(0, 65_536),
    cpus: integer(0, 2 ** 32),
    memoryMiB: counter,
    memoryCommittedMiB: counter,
    vmsTotal: integer(0, 2 ** 32),
    vmsRunning: integer(0, 2 ** 32),
    /** The first of them by id. */
    vms: list(digestedVm, DIGEST_VMS_MAX),
  }),
  GOSSIP_BYTES_MAX,
)

export type HostSample = Of<typeof hostSample>
export type Sample = ReturnType<typeof sample.decode>
export type Digest = ReturnType<typeof digest.decode>

/**
 * How each kind of answer looks as a table: its columns, in order, with the exact value (csv, sorting, filters) and the
 * text for people. Schemas are views.ts's; this is only their face.
 */
import { printGeneration } from '../../protocols/epoch.ts'
import type { Replacement } from '../binding/replacing.ts'
import type { Begun } from '../offline.ts'
import type {
  GroupView,
  HealthView,
  ImageView,
  JobView,
  PeerView,
  RemovalView,
  SiteView,
  SnapshotView,
  StatusView,
  TokenView,
  TransferView,
  VmView,
} from '../views.ts'
import type { VmSpec } from '../vm/spec.ts'
import { humanAge, humanBytes, humanDuration, humanSeconds, humanShare, humanTime } from './human.ts'

export type Cell = string | number | boolean | null
export type Column<T = never> = {
  /** What -c and --sort-by call it. */
  readonly key: string
  /** Shown only by `-o wide`, or when asked for. */
  readonly wide?: boolean
  readonly right?: boolean
  /** Exact: bytes as bytes, times as ISO 8601. */
  readonly value: (item: T) => Cell
  readonly text?: (item: T, nowMs: number) => string
}
export type View<T = never> = {
  readonly columns: readonly Column<T>[]
  /** What `-o name` prints: what other commands take. */
  readonly name: (item: T) => string
  /** What a detail shows below its columns, as YAML. */
  readonly more?: (item: T) => object
}

const MIB = 1024 ** 2
const view = <T>(made: View<T>): View => made
/** A value from elsewhere that is too old is never shown as if it were the present one. */
const mark = (text: string, { stale }: { stale: boolean }): string => (stale ? `${text} (stale)` : text)
const age = {
  key: 'age',
  value: ({ ageMs }: { ageMs: number }) => ageMs,
  /** Stale from the first moment: nothing was heard of it yet. */
  text: ({ ageMs, stale }: { ageMs: number; stale?: boolean }) =>
    stale === true && ageMs === 0 ? 'never' : ageMs > 0 ? humanAge(ageMs) : 'now',
}
const memory = {
  key: 'memory',
  right: true,
  value: ({ memoryMiB }: { memoryMiB: number }) => memoryMiB * MIB,
  text: ({ memoryMiB }: { memoryMiB: number }) => humanBytes(memoryMiB * MIB),
}
const list = (texts: readonly string[]): string => texts.join(',')

/**
 * What an operator looks for first when something is wrong: who leads, or who is missed, and whether the log can be written
 * (which an older peer does not say).
 */
function stateOfGroup({ ageMs, group, leader, missing, role, unwritable }: GroupView): string {
  const led = leader === '' ? `led by nobody for ${humanDuration(ageMs)}` : `led by ${leader}`
  const missed = missing.length === 0 ? '' : `, out of sight: ${missing.join(' ')}`
  return `${group} ${role}, ${led}${missed}${unwritable ? `, CANNOT WRITE: ${unwritable}` : ''}`
}

const vm: View<VmView> = {
  name: ({ name, site }) => `${site}/${name}`,
  columns: [
    { key: 'name', value: (v) => v.name },
    { key: 'site', value: (v) => v.site },
    { key: 'host', value: (v) => v.host },
    { key: 'state', value: (v) => v.state, text: (v) => mark(v.state, v) },
    { key: 'wanted', value: (v) => v.wanted },
    { key: 'cpus', right: true, value: (v) => v.cpus },
    memory,
    age,
    { key: 'why', value: (v) => v.why },
    { key: 'id', wide: true, value: (v) => v.id },
    { key: 'epoch', wide: true, value: (v) => v.epoch },
    { key: 'job', wide: true, value: (v) => v.job },
    {
      key: 'cpu-seconds',
      wide: true,
      right: true,
      value: (v) => v.cpuSeconds,
      text: (v) => (v.cpuSeconds === null ? '-' : v.cpuSeconds.toFixed(1)),
    },
    {
      key: 'resident',
      wide: true,
      right: true,
      value: (v) => v.memoryBytes,
      text: (v) => (v.memoryBytes === null ? '-' : humanBytes(v.memoryBytes)),
    },
    { key: 'host-id', wide: true, value: (v) => v.hostId },
  ],
}

const peer: View<PeerView> = {
  name: ({ name, site }) => `${site}/${name}`,
  columns: [
    { key: 'name', value: (v) => v.name, text: (v) => (v.self ? `${v.name}*` : v.name) },
    { key: 'site', value: (v) => v.site },
    { key: 'state', value: (v) => v.state },
    {
      key: 'rtt',
      right: true,
      value: (v) => v.rttMs,
      text: (v) => (v.rttMs === null ? '-' : `${v.rttMs.toFixed(1)} ms`),
    },
    { key: 'cpu', right: true, value: (v) => v.cpuLoad, text: (v) => mark(humanShare(v.cpuLoad), v) },
    { key: 'mem', right: true, value: (v) => v.memoryUsed, text: (v) => mark(humanShare(v.memoryUsed), v) },
    { key: 'vms', right: true, value: (v) => v.vms, text: (v) => mark(String(v.vms), v) },
    { key: 'driver', value: (v) => v.driver },
    age,
    { key: 'id', wide: true, value: (v) => v.id },
    { key: 'connected', wide: true, value: (v) => v.connected, text: (v) => (v.connected ? 'yes' : 'no') },
    { key: 'path', wide: true, value: (v) => v.path, text: (v) => v.path ?? '-' },
    { key: 'cpus', wide: true, right: true, value: (v) => v.cpus },
    { ...memory, wide: true },
    {
      key: 'disk-free',
      wide: true,
      right: true,
      value: (v) => v.diskFreeBytes,
      text: (v) => (v.diskFreeBytes === null ? '-' : humanBytes(v.diskFreeBytes)),
    },
    { key: 'roles', wide: true, value: (v) => list(v.roles) },
    { key: 'draining', wide: true, value: (v) => v.draining, text: (v) => (v.draining ? 'yes' : 'no') },
    { key: 'version', wide: true, value: (v) => v.version },
    { key: 'addresses', wide: true, value: (v) => list(v.addresses) },
  ],
}

const job: View<JobView> = {
  name: ({ id }) => id,
  columns: [
    { key: 'id', value: (v) => v.id },
    { key: 'kind', value: (v) => v.kind },
    { key: 'subject', value: (v) => v.subject },
    { key: 'peer', value: (v) => v.peer },
    { key: 'state', value: (v) => v.state },
    { key: 'phase', value: (v) => v.phase },
    {
      key: 'done',
      right: true,
      value: (v) => v.doneBytes,
      text: (v) => (v.totalBytes === 0 ? '-' : humanShare(v.doneBytes / v.totalBytes)),
    },
    { key: 'wire', right: true, value: (v) => v.wireBytes, text: (v) => humanBytes(v.wireBytes) },
    { key: 'started', value: (v) => v.startedAt, text: (v, nowMs) => humanTime(v.startedAt, nowMs) },
    { key: 'error', value: (v) => v.error },
    {
      key: 'total',
      wide: true,
      right: true,
      value: (v) => v.totalBytes,
      text: (v) => humanBytes(v.totalBytes),
    },
    {
      key: 'rate',
      wide: true,
      right: true,
      value: (v) => v.bytesPerSecond,
      text: (v) => `${humanBytes(v.bytesPerSecond)}/s`,
    },
    { key: 'sources', wide: true, right: true, value: (v) => v.sources },
    {
      key: 'logical',
      wide: true,
      right: true,
      value: (v) => v.logicalBytes,
      text: (v) => humanBytes(v.logicalBytes),
    },
    {
      key: 'dedup',
      wide: true,
      right: true,
      value: (v) => v.dedupBytes,
      text: (v) => humanBytes(v.dedupBytes),
    },
    {
      key: 'compressed',
      wide: true,
      right: true,
      value: (v) => v.compressedBytes,
      text: (v) => humanBytes(v.compressedBytes),
    },
    {
      key: 'standstill',
      wide: true,
      right: true,
      value: (v) => v.standstillMs,
      text: (v) => (v.standstillMs === null ? '-' : humanSeconds(v.standstillMs)),
    },
    {
      key: 'ended',
      wide: true,
      value: (v) => v.endedAt,
      text: (v, nowMs) => (v.endedAt === null ? '-' : humanTime(v.endedAt, nowMs)),
    },
    { ...age, wide: true },
  ],
}

type Detail = { vm: VmView; spec: VmSpec }
type Placement = { id: string; name: string; host: string; epoch: string }

/** By kind, as in an envelope. */
export const VIEWS: Readonly<Record<string, View>> = {
  vm: view(vm),
  peer: view(peer),
  job: view(job),
  status: view<StatusView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'site', value: (v) => v.site },
      { key: 'ready', value: (v) => v.ready, text: (v) => (v.ready ? 'yes' : 'no') },
      { key: 'peers', value: (v) => v.peers, text: (v) => `${v.peersAlive} of ${v.peers} alive` },
      { key: 'vms', value: (v) => v.vms, text: (v) => `${v.vmsRunning} of ${v.vms} running` },
      { key: 'jobs', value: (v) => v.jobsRunning, text: (v) => `${v.jobsRunning} running` },
      { key: 'cut-off-from', value: (v) => list(v.cutOffFrom), text: (v) => list(v.cutOffFrom) || 'nobody' },
      {
        key: 'groups',
        value: (v) => list(v.groups.map(({ group, role }) => `${group}:${role}`)),
        text: (v) => v.groups.map(stateOfGroup).join('; '),
      },
      {
        key: 'damaged-logs',
        value: (v) => list(v.groups.filter(({ damaged }) => damaged !== '').map(({ group }) => group)),
        text: (v) =>
          v.groups
            .filter(({ damaged }) => damaged !== '')
            .map(({ group, damaged }) => `${group}: ${damaged}`)
            .join('; ') || 'none',
      },
      {
        key: 'halted-groups',
        value: (v) => list(v.groups.filter(({ halted }) => halted !== '').map(({ group }) => group)),
        text: (v) =>
          v.groups
            .filter(({ halted }) => halted !== '')
            .map(({ halted }) => halted)
            .join('; ') || 'none',
      },
      {
        key: 'rivals',
        value: (v) => list(v.groups.filter(({ rivals }) => rivals !== '').map(({ group }) => group)),
        text: (v) =>
          v.groups
            .filter(({ rivals }) => rivals !== '')
            .map(({ group, rivals }) => `${group}: ${rivals}`)
            .join('; ') || 'none',
      },
      {
        key: 'data-folder',
        value: (v) => v.folder.state,
        text: (v) => (v.folder.why === '' ? v.folder.state : `${v.folder.state}: ${v.folder.why}`),
      },
      { key: 'driver', value: (v) => v.driver },
      { key: 'http', value: (v) => v.http, text: (v) => v.http || 'off' },
      { key: 'up-for', value: (v) => v.uptimeMs, text: (v) => humanDuration(v.uptimeMs) },
      { key: 'version', value: (v) => v.version },
      { key: 'mesh', value: (v) => v.mesh },
      { key: 'id', value: (v) => v.peerId },
    ],
  }),
  site: view<SiteView>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name, text: (v) => (v.self ? `${v.name}*` : v.name) },
      {
        key: 'peers',
        right: true,
        value: (v) => v.peers,
        text: (v) => mark(`${v.peersAlive} of ${v.peers}`, v),
      },
      {
        key: 'vms',
        right: true,
        value: (v) => v.vms,
        text: (v) => mark(`${v.vmsRunning} of ${v.vms}`, v),
      },
      {
        key: 'committed',
        right: true,
        value: (v) => v.memoryCommittedMiB * MIB,
        text: (v) => mark(humanBytes(v.memoryCommittedMiB * MIB), v),
      },
      memory,
      age,
      { key: 'id', wide: true, value: (v) => v.id },
    ],
  }),
  image: view<ImageView>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name },
      { key: 'id', value: (v) => v.id, text: (v) => v.id.slice(0, 12) },
      { key: 'size', right: true, value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'data', right: true, value: (v) => v.dataBytes, text: (v) => humanBytes(v.dataBytes) },
      {
        key: 'here',
        right: true,
        value: (v) => v.chunks - v.missing,
        text: (v) => (v.missing === 0 ? 'all' : humanShare((v.chunks - v.missing) / Math.max(1, v.chunks))),
      },
      { key: 'used-by', value: (v) => list(v.usedBy) },
      age,
      { key: 'chunks', wide: true, right: true, value: (v) => v.chunks },
      { key: 'missing', wide: true, right: true, value: (v) => v.missing },
    ],
  }),
  group: view<GroupView>({
    name: ({ group }) => group,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'role', value: (v) => v.role },
      { key: 'term', right: true, value: (v) => v.term },
      { key: 'leader', value: (v) => v.leader, text: (v) => mark(v.leader || 'none', v) },
      { key: 'voters', value: (v) => list(v.voters) },
      { key: 'learners', value: (v) => list(v.learners) },
      { key: 'commit', right: true, value: (v) => v.commit },
      { key: 'applied', right: true, value: (v) => v.applied },
      { key: 'lag', right: true, value: (v) => v.lag },
      age,
      { key: 'source', wide: true, value: (v) => v.source },
      { key: 'missing', wide: true, value: (v) => list(v.missing) },
      {
        key: 'generation',
        wide: true,
        right: true,
        value: (v) => v.generation,
        text: (v) => printGeneration(v.generation),
      },
      { key: 'rivals', wide: true, value: (v) => v.rivals },
      { key: 'last', wide: true, right: true, value: (v) => v.lastIndex },
      { key: 'snapshot', wide: true, right: true, value: (v) => v.snapshotIndex },
      { key: 'level', wide: true, right: true, value: (v) => v.level },
      { key: 'halted', wide: true, value: (v) => v.halted },
    ],
  }),
  'raft-health': view<HealthView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'kind', value: (v) => v.kind },
      { key: 'role', value: (v) => v.role },
      { key: 'verdict', value: (v) => v.verdict },
      { key: 'match', right: true, value: (v) => v.match },
      { key: 'lag', right: true, value: (v) => v.lag },
      {
        key: 'contact',
        right: true,
        value: (v) => v.lastContactMs,
        text: (v) => (v.lastContactMs === null ? 'never' : humanAge(v.lastContactMs)),
      },
      {
        key: 'rtt',
        right: true,
        value: (v) => v.rttMs,
        text: (v) => (v.rttMs === null ? '-' : `${v.rttMs.toFixed(1)} ms`),
      },
      age,
      { key: 'group', wide: true, value: (v) => v.group },
      { key: 'reachable', wide: true, value: (v) => v.reachable, text: (v) => (v.reachable ? 'yes' : 'no') },
      { key: 'member', wide: true, value: (v) => v.member },
    ],
  }),
  'raft-transfer': view<TransferView>({
    name: ({ to }) => to,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'from', value: (v) => v.from },
      { key: 'to', value: (v) => v.to },
      { key: 'term', value: (v) => v.term },
    ],
  }),
  'raft-snapshot': view<SnapshotView>({
    name: ({ path }) => path,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'index', value: (v) => v.index },
      { key: 'term', value: (v) => v.term },
      { key: 'generation', value: (v) => v.generation, text: (v) => printGeneration(v.generation) },
      { key: 'voters', value: (v) => list(v.voters) },
      { key: 'bytes', value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'path', value: (v) => v.path },
    ],
  }),
  'raft-generation': view<Begun>({
    name: ({ group }) => group,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'generation', value: (v) => v.generation, text: (v) => v.generationName },
      { key: 'index', value: (v) => v.index },
      { key: 'voter', value: (v) => v.peer },
      { key: 'lost', value: (v) => list(v.lost) },
    ],
  }),
  'peer-replacement': view<Replacement>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'incarnation', value: (v) => v.incarnation },
      { key: 'refused-because', value: (v) => v.why, text: (v) => v.why || 'it is not' },
      { key: 'logs', value: (v) => list(v.groups.map(({ group, fate }) => `${group}: ${fate}`)) },
      { key: 'vms', value: (v) => list(v.vms) },
    ],
  }),
  'peer-removal': view<RemovalView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'orphans', value: (v) => list(v.orphans) },
      { key: 'leaderless', value: (v) => list(v.leaderless) },
      { key: 'id', value: (v) => v.peerId },
    ],
  }),
  token: view<TokenView>({
    name: ({ id }) => id,
    columns: [
      { key: 'id', value: (v) => v.id },
      { key: 'site', value: (v) => v.site, text: (v) => v.site || 'any' },
      { key: 'state', value: (v) => v.state },
      { key: 'expires', value: (v) => v.expiresAt, text: (v, nowMs) => humanTime(v.expiresAt, nowMs) },
      { key: 'used-by', value: (v) => v.usedBy },
      age,
    ],
  }),
  operation: view<{ vm: string; operation: string; why: string }>({
    name: ({ vm }) => vm,
    columns: [
      { key: 'vm', value: (v) => v.vm },
      { key: 'operation', value: (v) => v.operation },
      { key: 'why', value: (v) => v.why },
    ],
  }),
  'vm-detail': view<Detail>({
    name: ({ vm: { name, site } }) => `${site}/${name}`,
    more: ({ spec }) => ({ spec }),
    columns: vm.columns.map(({ value, text, ...rest }) => ({
      ...rest,
      value: (v: Detail) => value(v.vm),
      ...(text && { text: (v: Detail, nowMs: number) => text(v.vm, nowMs) }),
    })),
  }),
  'vm-placement': view<Placement>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name },
      { key: 'host', value: (v) => v.host },
      { key: 'epoch', value: (v) => v.epoch },
      { key: 'id', value: (v) => v.id },
    ],
  }),
  'vm-deleted': view<{ id: string }>({
    name: ({ id }) => id,
    columns: [{ key: 'id', value: (v) => v.id }],
  }),
  'job-started': view<{ job: string }>({
    name: ({ job }) => job,
    columns: [{ key: 'job', value: (v) => v.job }],
  }),
  'move-plan': view<{ vm: string; from: string; to: string; host: string; mode: string; guest: string }>({
    name: ({ vm }) => vm,
    columns: [
      { key: 'vm', value: (v) => v.vm },
      { key: 'from', value: (v) => v.from },
      { key: 'to', value: (v) => v.to },
      { key: 'host', value: (v) => v.host },
      { key: 'mode', value: (v) => v.mode },
      { key: 'guest', value: (v) => v.guest },
    ],
  }),
  joined: view<{ mesh: string; peer: string; site: string }>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'site', value: (v) => v.site },
      { key: 'mesh', value: (v) => v.mesh },
    ],
  }),
  setting: view<{ key: string; value: unknown; origin?: string }>({
    name: ({ key }) => key,
    columns: [
      { key: 'key', value: (v) => v.key },
      { key: 'value', value: (v) => (typeof v.value === 'string' ? v.value : JSON.stringify(v.value)) },
      { key: 'origin', wide: true, value: (v) => v.origin ?? '' },
    ],
  }),
  version: view<{ version: string; node: string }>({
    name: ({ version }) => version,
    columns: [
      { key: 'version', value: (v) => v.version },
      { key: 'node', value: (v) => v.node },
    ],
  }),
}

/** What tells an item of a list from the others. */
export const identity = (view: View, item: unknown): string =>
  (item as { id?: string }).id ?? view.name(item as never)

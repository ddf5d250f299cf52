/** A peer of our own making behind the real control socket, for tests of the faces. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Failure } from '../../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../../protocols/outcome.ts'
import type { Io } from '../../../node/cli/command.ts'
import { runCli } from '../../../node/cli/program.ts'
import type { Peer } from '../../../node/control/peer.ts'
import { type ControlServer, serveControl } from '../../../node/control/server.ts'
import { silentLog } from '../../../node/log.ts'
import type { Method } from '../../../node/operations.ts'
import type {
  GroupView,
  HealthView,
  ImageView,
  JobView,
  PeerView,
  SiteView,
  StatusView,
  TokenView,
  VmView,
} from '../../../node/views.ts'

export const VERSION = '0.1.0'

const peerView: PeerView = {
  id: '12D3KooWHarbour1',
  name: 'crane',
  site: 'harbour',
  self: true,
  state: 'alive',
  connected: true,
  path: null,
  rttMs: 0,
  addresses: ['/ip4/10.0.0.1/tcp/4710'],
  driver: 'tcg',
  cpus: 2,
  memoryMiB: 24_000,
  cpuLoad: 0.25,
  memoryUsed: 0.5,
  diskFreeBytes: 10 * 1024 ** 3,
  vms: 1,
  version: VERSION,
  labels: {},
  draining: false,
  roles: ['leader mesh'],
  ageMs: 0,
  stale: false,
}
export const farPeer: PeerView = {
  ...peerView,
  id: '12D3KooWHill1',
  name: 'heron',
  site: 'hill',
  self: false,
  state: 'unreachable',
  connected: false,
  rttMs: 41.25,
  cpuLoad: null,
  memoryUsed: null,
  diskFreeBytes: null,
  vms: 0,
  ageMs: 95_000,
  stale: true,
}
export const siteView: SiteView = {
  id: 'aaaaaaa1',
  name: 'harbour',
  self: true,
  peers: 2,
  peersAlive: 2,
  vms: 2,
  vmsRunning: 1,
  memoryMiB: 48_000,
  memoryCommittedMiB: 2_048,
  ageMs: 0,
  stale: false,
}
export const vmView: VmView = {
  id: 'aaaaaaa1-01JD0000000000000000000001',
  name: 'web',
  site: 'harbour',
  host: 'crane',
  hostId: peerView.id,
  epoch: '1.1',
  wanted: 'running',
  state: 'running',
  why: '',
  cpus: 2,
  memoryMiB: 2_048,
  labels: {},
  job: '',
  cpuSeconds: 12.5,
  memoryBytes: 1_073_741_824,
  ageMs: 0,
  stale: false,
}
export const stoppedVm: VmView = {
  ...vmView,
  id: 'aaaaaaa1-01JD0000000000000000000002',
  name: 'db',
  wanted: 'running',
  state: 'failed',
  why: 'QEMU ended: \u001b[31mno room\u001b[0m',
  memoryMiB: 512,
  cpuSeconds: null,
  memoryBytes: null,
  ageMs: 61_000,
  stale: true,
}
const imageView: ImageView = {
  id: 'ab'.repeat(32),
  name: 'debian-12',
  bytes: 4 * 1024 ** 3,
  dataBytes: 900 * 1024 ** 2,
  chunks: 3_600,
  missing: 0,
  usedBy: ['web', 'db'],
  pinned: true,
  kept: ['vm web', 'pin'],
  heldBytes: 300 * 1024 ** 2,
  share: 1,
  site: 'harbour',
  published: [],
  ageMs: 0,
  stale: false,
}
export const jobView: JobView = {
  id: '01JD000000000000000000JOB1',
  kind: 'move',
  subject: 'web',
  peer: 'crane',
  state: 'running',
  phase: 'pulling',
  error: '',
  code: '',
  startedAt: '2026-11-21T12:00:00.000Z',
  endedAt: null,
  doneBytes: 0,
  totalBytes: 100 * 1024 ** 2,
  bytesPerSecond: 0,
  etaSeconds: null,
  sources: 1,
  logicalBytes: 256 * 1024 ** 2,
  dedupBytes: 32 * 1024 ** 2,
  compressedBytes: 30 * 1024 ** 2,
  wireBytes: 31 * 1024 ** 2,
  standstillMs: null,
  result: {},
  ageMs: 0,
}
export const groupView: GroupView = {
  group: 'mesh',
  generation: 0,
  lag: 0,
  missing: [],
  ageMs: 0,
  stale: false,
  role: 'leader',
  term: 3,
  leader: 'crane',
  source: '',
  voters: ['crane'],
  learners: ['heron'],
  commit: 42,
  applied: 42,
  lastIndex: 42,
  snapshotIndex: 0,
  unwritable: '',
  damaged: '',
  level: 1,
  halted: '',
  rivals: '',
}
const tokenView: TokenView = {
  id: '01JD0000000000000000TOKEN1',
  site: 'hill',
  expiresAt: '2026-11-21T15:00:00.000Z',
  state: 'open',
  usedBy: '',
  ageMs: 0,
  stale: false,
}
export const statusView: StatusView = {
  version: VERSION,
  mesh: '01JD00000000000000000MESH1',
  peer: 'crane',
  peerId: peerView.id,
  site: 'harbour',
  ready: true,
  removed: '',
  folder: { state: 'bound', why: '' },
  driver: 'tcg',
  uptimeMs: 61_000,
  groups: [groupView],
  ageMs: 0,
  stale: false,
  peers: 2,
  peersAlive: 1,
  vms: 2,
  vmsRunning: 1,
  jobsRunning: 1,
  cutOffFrom: ['hill'],
  room: {
    usedBytes: 3 * 1024 ** 3,
    keptBytes: 1024 ** 3,
    reservedBytes: 0,
    quotaBytes: 80 * 1024 ** 3,
    diskFreeBytes: 40 * 1024 ** 3,
  },
  http: '127.0.0.1:4780',
}
export const spec = {
  version: 1,
  name: 'web',
  cpus: 2,
  cpuModel: 'qemu64',
  memoryMiB: 2_048,
  firmware: 'bios',
  disks: [{ image: 'debian-12', sizeMiB: 10_240 }],
  nics: [{ kind: 'user' }],
  autostart: true,
  dependsOn: [],
  labels: {},
  policy: 'autonomous',
  failover: 'manual',
}

export const health: [HealthView, HealthView] = [
  {
    group: 'mesh',
    peer: 'crane',
    peerId: peerView.id,
    member: `${peerView.id}#1`,
    kind: 'voter',
    role: 'leader',
    reachable: true,
    match: 42,
    lag: 0,
    lastContactMs: 0,
    rttMs: 0,
    level: 1,
    verdict: 'well',
    ageMs: 0,
    stale: false,
  },
  {
    group: 'mesh',
    peer: 'heron',
    peerId: farPeer.id,
    member: `${farPeer.id}#2`,
    kind: 'voter',
    role: 'follower',
    reachable: true,
    match: 30,
    lag: 12,
    lastContactMs: 3_100,
    rttMs: 41.3,
    level: null,
    verdict: 'behind',
    ageMs: 0,
    stale: false,
  },
]

type Reply = unknown
/** What the peer answers, by method; a function sees the params and may count its calls. */
export type Replies = Partial<
  Record<Method, Reply | ((params: never, call: number) => Outcome<unknown> | undefined)>
>

const REPLIES: Replies = {
  status: statusView,
  'peer.list': [peerView, farPeer],
  'peer.show': peerView,
  'site.list': [siteView],
  'vm.list': [vmView, stoppedVm],
  'vm.show': { vm: vmView, spec },
  'vm.create': { id: vmView.id, name: 'web', host: 'crane', epoch: '1.1' },
  'vm.start': vmView,
  'vm.stop': { ...vmView, state: 'stopped', wanted: 'stopped' },
  'vm.delete': { id: vmView.id },
  'vm.move': { job: jobView.id },
  'vm.logs': { lines: ['\u001b[2Jboot', 'tick 1'] },
  'vm.plan': [{ vm: 'db', operation: 'start', why: 'wanted running, is stopped' }],
  'image.list': [imageView],
  'image.show': imageView,
  'image.publish': { job: jobView.id },
  'image.unpublish': { id: 'ab'.repeat(32), name: 'debian-12' },
  'image.import': { job: jobView.id },
  'image.export': { job: jobView.id },
  'image.verify': { job: jobView.id },
  'image.pin': {
    image: imageView.id,
    name: 'debian-12',
    peer: 'crane',
    pinned: true,
    chunks: 3_600,
    missing: 0,
  },
  'image.kept': [
    {
      name: 'aaaaaaa1-01JD0000000000000000000001.1.1',
      vm: vmView.id,
      since: '2026-11-20T12:00:00.000Z',
      bytes: 1024 ** 3,
      images: [imageView.id],
      elsewhere: 'heron',
    },
  ],
  'image.prune': [
    {
      kind: 'chunks',
      id: '',
      name: '4 chunks',
      bytes: 1_048_576,
      drops: true,
      why: 'no image names them then',
    },
  ],
  'job.list': [jobView],
  'job.show': jobView,
  'job.cancel': { ...jobView, state: 'cancelled' },
  'raft.list': [groupView],
  'raft.health': health,
  'raft.transfer': { group: 'mesh', from: 'crane', to: 'heron', term: 4 },
  'raft.snapshot.save': {
    group: 'mesh',
    generation: 0,
    index: 42,
    term: 3,
    voters: ['crane'],
    bytes: 2_048,
    path: '/tmp/x.snap',
  },
  'peer.drain': { ...peerView, draining: true },
  'peer.remove': { peer: 'heron', peerId: farPeer.id, orphans: ['web', 'db'], leaderless: [] },
  'token.create': { token: 'gdw1-SECRET', id: tokenView.id, expiresAt: tokenView.expiresAt },
  'token.list': [tokenView],
  'token.revoke': { ...tokenView, state: 'revoked' },
}

type Asked = { readonly method: Method; readonly params: unknown }
export type FakePeer = Peer & { readonly asked: Asked[]; isReady: boolean; why?: string; stopped: boolean }

/** A reply of undefined is never given. */
export function fakePeer(replies: Replies = {}): FakePeer {
  const asked: Asked[] = []
  const peer: FakePeer = {
    asked,
    isReady: true,
    stopped: false,
    ask(method, params, done) {
      asked.push({ method, params })
      const call = asked.filter((each) => each.method === method).length
      const reply = method in replies ? replies[method] : REPLIES[method]
      const outcome =
        typeof reply === 'function'
          ? (reply as (params: unknown, call: number) => Outcome<unknown> | undefined)(params, call)
          : ok(reply)
      if (outcome !== undefined) setImmediate(done, outcome)
    },
    ready: () => peer.isReady,
    unready: () => peer.why,
    metrics: (done) => setImmediate(done, ok('# HELP godwit_up Up.\n# TYPE godwit_up gauge\ngodwit_up 1\n')),
    stop: (done) => {
      peer.stopped = true
      setImmediate(done)
    },
  }
  return peer
}

export const refusing = (failure: Failure) => (): Outcome<unknown> => failed(failure)

export type Served = {
  readonly peer: FakePeer
  readonly socket: string
  readonly dir: string
  readonly control: ControlServer
  readonly end: () => Promise<void>
}

export async function served(replies: Replies = {}): Promise<Served> {
  const dir = mkdtempSync(join(tmpdir(), 'godwit-cli-'))
  const socket = join(dir, 'control.sock')
  const peer = fakePeer(replies)
  const control = await serveControl({ socket, peer, name: 'crane', version: VERSION, log: silentLog })
  const end = async (): Promise<void> => {
    await control.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return { peer, socket, dir, control, end }
}

export type FakeIo = Io & {
  stdout: string
  stderr: string
  /** Runs at each sleep; time goes on by as much as was asked for. */
  onSleep: (sleeps: number) => void | Promise<void>
  interrupt(): void
}

const NOON = Date.parse('2026-11-21T12:00:00.000Z')

/** No terminal, an empty environment, and a clock that goes on only while something sleeps. */
export function fakeIo(over: Partial<Io> & { stdin?: string } = {}): FakeIo {
  const handlers = new Set<() => void>()
  let passedMs = 0
  let sleeps = 0
  const io: FakeIo = {
    stdout: '',
    stderr: '',
    onSleep: () => {},
    interrupt: () => {
      for (const run of handlers) run()
    },
    out: (text) => void (io.stdout += text),
    err: (text) => void (io.stderr += text),
    readAll: () => Promise.resolve(over.stdin ?? ''),
    readLine: () => Promise.resolve(over.stdin ?? ''),
    stdinTty: false,
    stdoutTty: false,
    stderrTty: false,
    columns: 80,
    env: { HOME: '/nonexistent' },
    cwd: tmpdir(),
    nowMs: () => NOON + passedMs,
    sleep: async (ms) => {
      passedMs += ms
      await io.onSleep(++sleeps)
    },
    onInterrupt: (run) => {
      handlers.add(run)
      return () => void handlers.delete(run)
    },
    stopped: () => new Promise(() => {}),
    ...over,
  }
  return io
}

/** One command against a peer; its exit status and what it wrote. */
export async function type(
  served: Served,
  argv: readonly string[],
  io: FakeIo = fakeIo(),
): Promise<FakeIo & { exit: number }> {
  const exit = await runCli([...argv, '--socket', served.socket], io)
  return Object.assign(io, { exit })
}

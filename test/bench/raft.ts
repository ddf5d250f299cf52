/**
 * A Raft group as real processes on this machine's loopback, fsync on: 3 and 5 voters under 1, 16 and 256 clients with one
 * proposal of 256 bytes each. Beside it, in the same run and under the same loop, etcd where it is installed.
 *
 * Clients reach ours by bare frames on TCP and etcd by its own gRPC: each pays for its own protocol.
 */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newPrivateKey } from '../../protocols/libp2p/identity.ts'
import { type Bench, type Row, row } from './bench.ts'
import { Child } from './child.ts'
import { etcdVersion, startEtcd } from './raft/etcd.ts'

const VOTERS = [3, 5]
const CLIENTS = [1, 16, 256]
/** Elections, connections and compilation on a busy machine. */
const PATIENCE_MS = 60_000

type Figures = { readonly perS: number; readonly p50: number; readonly p99: number; readonly cpuMs: number }
type Cluster = { readonly port: number; readonly pids: readonly number[]; stop(): Promise<void> }

export const raft: Bench = async ({ quick, say }) => {
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  const seconds = quick ? 2 : 5
  const etcd = etcdVersion()
  const rows: Row[] = []
  try {
    for (const voters of quick ? [3] : VOTERS) {
      const ours = await measure('godwit', voters, seconds, folder, say)
      const theirs = etcd === undefined ? undefined : await measure('etcd', voters, seconds, folder, say)
      for (const [n, clients] of CLIENTS.entries())
        rows.push(...rowsOf(`${voters} voters, ${clients} clients`, ours[n] as Figures, theirs?.[n]))
    }
    const beside = etcd === undefined ? 'etcd-server is not installed' : `etcd ${etcd}`
    return { rows, note: `loopback, fsync on, 256-byte proposals, ${seconds} s each; ${beside}` }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(
  system: 'godwit' | 'etcd',
  voters: number,
  seconds: number,
  folder: string,
  say: (line: string) => void,
): Promise<Figures[]> {
  const place = join(folder, `${system}-${voters}`)
  await mkdir(place)
  const ports = await freePorts(2 * voters)
  const cluster = await (system === 'etcd'
    ? startEtcd(place, ports)
    : startGodwit(place, ports.slice(0, voters)))
  try {
    const figures: Figures[] = []
    for (const clients of CLIENTS) {
      const measured = await load(system, cluster, clients, seconds)
      say(
        `${system}, ${voters} voters, ${clients} clients: ${measured.perS.toFixed(0)}/s, ` +
          `p50 ${measured.p50.toFixed(1)} ms, p99 ${measured.p99.toFixed(1)} ms`,
      )
      figures.push(measured)
    }
    return figures
  } finally {
    await cluster.stop()
  }
}

async function load(
  system: string,
  { port, pids }: Cluster,
  clients: number,
  seconds: number,
): Promise<Figures> {
  const before = await cpuMs(pids)
  const program = join(import.meta.dirname, 'raft/load.ts')
  const child = new Child(process.execPath, [program, system, String(port), String(clients), String(seconds)])
  try {
    const said = (await child.next(PATIENCE_MS)) as Record<'count' | 'ms' | 'p50' | 'p99' | 'failed', number>
    if (said.failed > 0) throw new Error(`${system}: ${said.failed} proposals failed`)
    const { count, ms, p50, p99 } = said
    return { perS: (count / ms) * 1_000, p50, p99, cpuMs: ((await cpuMs(pids)) - before) / count }
  } finally {
    child.kill()
  }
}

async function startGodwit(folder: string, ports: readonly number[]): Promise<Cluster> {
  const children: Child[] = []
  const stop = (): Promise<void> => {
    for (const child of children) child.kill()
    return Promise.resolve()
  }
  try {
    const peers: Record<string, string[]> = {}
    for (const [n, port] of ports.entries()) {
      const place = join(folder, String(n))
      await mkdir(place)
      const key = Buffer.from(newPrivateKey()).toString('hex')
      const program = join(import.meta.dirname, 'raft/member.ts')
      const child = new Child(process.execPath, [
        '--max-semi-space-size=2',
        program,
        place,
        key,
        String(port),
      ])
      children.push(child)
      const { peer, addresses } = (await child.next(PATIENCE_MS)) as { peer: string; addresses: string[] }
      peers[peer] = addresses
    }
    for (const { process: each } of children) each.stdin?.write(`${JSON.stringify({ peers })}\n`)
    const leader = await Promise.any(children.map((child) => untilLeads(child)))
    return {
      port: ports[children.indexOf(leader)] as number,
      pids: children.map(({ process: each }) => each.pid as number),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function untilLeads(child: Child): Promise<Child> {
  for (;;) if ((await child.next(PATIENCE_MS))['leads'] === true) return child
}

function rowsOf(name: string, ours: Figures, theirs: Figures | undefined): Row[] {
  const why = theirs === undefined ? { why: 'etcd-server is not installed' } : {}
  const figures = (label: string, each: Figures | undefined): Row[] => [
    row({ case: label, metric: 'proposals_s', value: each?.perS ?? null, unit: '1/s', better: 'higher' }),
    row({ case: label, metric: 'p50_ms', value: each?.p50 ?? null, unit: 'ms', better: 'lower' }),
    row({ case: label, metric: 'p99_ms', value: each?.p99 ?? null, unit: 'ms', better: 'lower' }),
    row({
      case: label,
      metric: 'cpu_ms_per_proposal',
      value: each?.cpuMs ?? null,
      unit: 'ms',
      better: 'lower',
    }),
  ]
  const aims = name.includes('256 clients') ? { throughput: { aim: 1 }, p99: { aim: 2 } } : {}
  return [
    ...figures(name, ours),
    ...(theirs === undefined ? [] : figures(`${name} (etcd)`, theirs)),
    row({
      case: name,
      metric: 'ratio_etcd_throughput',
      value: theirs === undefined ? null : ours.perS / theirs.perS,
      unit: 'ratio',
      better: 'higher',
      ...why,
      ...aims.throughput,
    }),
    row({
      case: name,
      metric: 'ratio_etcd_p99',
      value: theirs === undefined ? null : ours.p99 / theirs.p99,
      unit: 'ratio',
      better: 'lower',
      ...why,
      ...aims.p99,
    }),
  ]
}

/** User and system time of some processes, in ms. */
async function cpuMs(pids: readonly number[]): Promise<number> {
  let ticks = 0
  for (const pid of pids) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks * 10
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  await Promise.all(
    servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

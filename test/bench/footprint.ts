/**
 * One idle peer, as an operator starts it: from the process's start until it says it is ready, the memory that it keeps
 * resident, and its share of a core; then the memory once it was asked for things, because what answers is loaded only
 * then. The peer is alone in its mesh, on ports of its own.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { type Bench, row } from './bench.ts'

const LAUNCHER = join(import.meta.dirname, '../../node/godwit.js')
const MIB = 1024 ** 2
const RUNS = 5
/** Ten times what must be: past it something else is wrong. */
const READY_MS_MAX = 30_000
const IDLE_MS = 20_000
const LOOK_MS = 10

type Figures = {
  readonly readyS: number
  /** The same whatever else the machine does. */
  readonly readyCpuS: number
  readonly rssMib: number
  readonly cpuShare: number
  readonly askedRssMib: number
}

export const footprint: Bench = async ({ quick, say }) => {
  const runs: Figures[] = []
  const idleMs = quick ? IDLE_MS / 4 : IDLE_MS
  for (let n = 0; n < (quick ? 2 : RUNS); n++) {
    const figures = await measure(idleMs).catch((error: unknown) => error as Error)
    if (figures instanceof Error) return { rows: [], note: figures.message, impossible: true }
    const { readyCpuS, readyS, rssMib } = figures
    say(`ready in ${readyS.toFixed(2)} s, ${readyCpuS.toFixed(2)} s of CPU, ${rssMib.toFixed(0)} MiB`)
    // The first start compiles what later ones read from the cache.
    if (n > 0) runs.push(figures)
  }
  const of = (pick: (figures: Figures) => number): number => median(runs.map(pick))
  const about = { case: 'idle peer', better: 'lower' as const }
  return {
    rows: [
      row({ ...about, metric: 'ready_s', value: of(({ readyS }) => readyS), unit: 's', must: 3, aim: 1.5 }),
      row({ ...about, metric: 'ready_cpu_s', value: of(({ readyCpuS }) => readyCpuS), unit: 's' }),
      row({
        ...about,
        metric: 'rss_mib_idle',
        value: of(({ rssMib }) => rssMib),
        unit: 'MiB',
        must: 150,
        aim: 125,
      }),
      row({
        case: 'after commands and a scrape',
        better: 'lower',
        metric: 'rss_mib_idle',
        value: of(({ askedRssMib }) => askedRssMib),
        unit: 'MiB',
      }),
      row({ ...about, metric: 'cpu_share_idle', value: of(({ cpuShare }) => cpuShare), unit: 'of a core' }),
    ],
    note: `median of ${runs.length} starts, ${idleMs / 1_000} s idle`,
  }
}

async function measure(idleMs: number): Promise<Figures> {
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  const port = await freePort()
  const address = `127.0.0.1:${await freePort()}`
  const env = {
    ...process.env,
    GODWIT_DATA_DIR: folder,
    GODWIT_MARK_DIR: join(folder, 'marks'),
    GODWIT_NAME: 'bench',
    GODWIT_LISTEN: `/ip4/127.0.0.1/tcp/${port}`,
    GODWIT_MDNS: 'false',
    GODWIT_HTTP_LISTEN: address,
  }
  try {
    await run(['init', '--site', 'bench'], env)
    const startedMs = performance.now()
    const peer = spawn(process.execPath, [LAUNCHER, 'up'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
    let stderr = ''
    peer.stderr.on('data', (data: Buffer) => (stderr = (stderr + data.toString()).slice(-500)))
    try {
      while (!(await isReady(address))) {
        if (peer.exitCode !== null) throw new Error(`godwit up ended with ${peer.exitCode}: ${stderr}`)
        if (performance.now() - startedMs > READY_MS_MAX)
          throw new Error(`not ready in ${READY_MS_MAX} ms: ${stderr}`)
        await sleep(LOOK_MS)
      }
      const readyS = (performance.now() - startedMs) / 1_000
      const readyCpuS = await cpuSeconds(peer.pid as number)
      await sleep(idleMs / 2)
      const cpuBefore = await cpuSeconds(peer.pid as number)
      await sleep(idleMs / 2)
      const cpuShare = ((await cpuSeconds(peer.pid as number)) - cpuBefore) / (idleMs / 2_000)
      const idle = await rssMib(peer.pid as number)
      for (const command of [['status'], ['vm', 'list'], ['raft', 'list']]) await run(command, env)
      for (const path of ['/', '/v1/status', '/metrics'])
        await (await fetch(`http://${address}${path}`)).text()
      await sleep(idleMs / 4)
      return { readyS, readyCpuS, rssMib: idle, cpuShare, askedRssMib: await rssMib(peer.pid as number) }
    } finally {
      const gone = new Promise((resolve) => peer.once('exit', resolve))
      peer.kill('SIGTERM')
      if (peer.exitCode === null) await Promise.race([gone, sleep(READY_MS_MAX / 3)])
      if (peer.exitCode === null) peer.kill('SIGKILL')
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function isReady(address: string): Promise<boolean> {
  const answer = await fetch(`http://${address}/readyz`).catch(() => undefined)
  await answer?.arrayBuffer()
  return answer?.ok === true
}

async function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(process.execPath, [LAUNCHER, ...args], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (data: Buffer) => (stderr = (stderr + data.toString()).slice(-500)))
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`godwit ${args.join(' ')} ended with ${String(code)}: ${stderr}`)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function rssMib(pid: number): Promise<number> {
  const [, kib = '0'] = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? []
  return (Number(kib) * 1024) / MIB
}

/** User and system time, in the kernel's ticks of 10 ms. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

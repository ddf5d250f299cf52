/** A cluster of etcd on loopback, as Debian packages it: one process a member, data in a folder of its own, fsync on. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const READY_MS_MAX = 20_000
const LOOK_MS = 100

/** Its version, or undefined when it is not installed. */
export function etcdVersion(): string | undefined {
  try {
    return /etcd Version: (\S+)/.exec(execFileSync('etcd', ['--version'], { encoding: 'utf8' }))?.[1]
  } catch {
    return undefined
  }
}

export type EtcdCluster = {
  /** Where the leader takes clients. */
  readonly port: number
  readonly pids: readonly number[]
  stop(): Promise<void>
}

/** `ports`: two for each member. */
export async function startEtcd(folder: string, ports: readonly number[]): Promise<EtcdCluster> {
  const members = Array.from({ length: ports.length / 2 }, (_, n) => ({
    name: `member-${n}`,
    client: `http://127.0.0.1:${ports[2 * n]}`,
    peer: `http://127.0.0.1:${ports[2 * n + 1]}`,
    port: ports[2 * n] as number,
  }))
  const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',')
  const processes = members.map(({ name, client, peer }) =>
    spawn(
      'etcd',
      Object.entries({
        name,
        'data-dir': join(folder, name),
        'log-level': 'error',
        'listen-client-urls': client,
        'advertise-client-urls': client,
        'listen-peer-urls': peer,
        'initial-advertise-peer-urls': peer,
        'initial-cluster': cluster,
        'initial-cluster-state': 'new',
      }).flatMap(([flag, value]) => [`--${flag}`, value]),
      { stdio: 'ignore' },
    ),
  )
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map(ended))
  }
  try {
    const port = await leaderOf(members)
    return { port, pids: processes.map(({ pid }) => pid as number), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}

async function leaderOf(members: readonly { client: string; port: number }[]): Promise<number> {
  const deadline = performance.now() + READY_MS_MAX
  while (performance.now() < deadline) {
    for (const { client, port } of members) if (await leads(client)) return port
    await sleep(LOOK_MS)
  }
  throw new Error(`etcd has no leader after ${READY_MS_MAX} ms`)
}

async function leads(client: string): Promise<boolean> {
  try {
    const answer = await fetch(`${client}/v3/maintenance/status`, { method: 'POST', body: '{}' })
    const { header, leader } = (await answer.json()) as { header: { member_id: string }; leader?: string }
    return leader !== undefined && leader !== '0' && leader === header.member_id
  } catch {
    return false
  }
}

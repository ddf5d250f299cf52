/** A swarm of processes in the lab: peers in sites, files that some of them hold, and the figures of one download by many. */
import { randomFillSync } from 'node:crypto'
import { mkdir, open, rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { newPrivateKey } from '../../../protocols/libp2p/identity.ts'
import type { Lab } from '../../lab/lab.ts'
import { run } from '../../lab/namespaces.ts'
import { Child, type Said } from '../child.ts'
import type { Orders } from './peer.ts'

const MIB = 1024 ** 2
const PROGRAM = join(import.meta.dirname, 'peer.ts')
const START_MS = 120_000
/** What a peer does when it meets others (identify, DHT) is over. */
const SETTLE_MS = 5_000

export type Member = {
  readonly site: string
  readonly name: string
  /** What it holds: a file that is imported before anything is measured. */
  readonly file?: string
  readonly downloads: boolean
  /** Of its own, below that of its site. */
  readonly upMbit?: number
}

export type Measured = {
  /** From the first order to the end of each download, sorted. */
  readonly ms: readonly number[]
  /** Frames of one copy. */
  readonly copyBytes: number
  /** Frames read to be served, by peer. */
  readonly served: ReadonlyMap<string, number>
  readonly duplicateBytes: number
  /** Of the peers. */
  readonly cpuSeconds: number
  /** Of all cores, everything that runs on them but what is nice counted: peers, links, the kernel. */
  readonly cpuShare: number
}

/** What happens to one that holds something, so long after the orders. */
export type Fault = { readonly at: number; readonly signal: 'SIGKILL' | 'SIGSTOP'; readonly afterMs: number }

/** Runs one download of the first member's image by all that download, within `patienceMs`. */
export async function download(
  lab: Lab,
  members: readonly Member[],
  folder: string,
  patienceMs: number,
  fault?: Fault,
): Promise<Measured> {
  const children: Child[] = []
  const peers: Record<string, Orders['peers'][string]> = {}
  const hellos: Said[] = []
  try {
    for (const member of members) {
      const { child, hello } = await start(lab, member, join(folder, `${member.site}-${member.name}`))
      children.push(child)
      hellos.push(hello)
      peers[hello['peer'] as string] = { addresses: hello['addresses'] as string[], site: member.site }
    }
    const [source] = hellos as [Said]
    const tell = (at: number, more: Partial<Orders>): void => {
      const orders: Orders = { peers, site: (members[at] as Member).site, ...more }
      children[at]?.process.stdin?.write(`${JSON.stringify(orders)}\n`)
    }
    const holders = hellos.filter((_, at) => !(members[at] as Member).downloads)
    const sources = holders.map((hello) => hello['peer'] as string)
    members.forEach((_, at) => tell(at, {}))
    await Promise.all(children.map((child) => child.next(START_MS)))
    await sleep(SETTLE_MS)
    const share = cpuShare()
    const downloading = members.flatMap(({ downloads }, at) => (downloads ? at : []))
    for (const at of downloading) tell(at, { image: source['image'] as string, sources })
    const timer = fault && setTimeout(() => children[fault.at]?.process.kill(fault.signal), fault.afterMs)
    const reports = await Promise.all(downloading.map((at) => (children[at] as Child).next(patienceMs)))
    clearTimeout(timer)
    const cpu = share()
    const ends: Said[] = []
    for (const [at, child] of children.entries()) ends.push(at === fault?.at ? {} : await child.end())
    return {
      ms: reports.map((said) => said['ms'] as number).sort((a, b) => a - b),
      copyBytes: Math.max(...reports.map((said) => said['compressedBytes'] as number)),
      served: new Map(
        members.map(({ site, name }, at) => [`${site}/${name}`, (ends[at]?.['servedBytes'] ?? 0) as number]),
      ),
      duplicateBytes: reports.reduce((sum, said) => sum + (said['duplicateBytes'] as number), 0),
      cpuSeconds: ends.reduce((sum, said) => sum + ((said['cpu'] ?? 0) as number), 0),
      cpuShare: cpu,
    }
  } finally {
    for (const child of children) child.kill()
    for (const { site, name } of members)
      await rm(join(folder, `${site}-${name}`), { recursive: true, force: true })
  }
}

async function start(lab: Lab, member: Member, folder: string): Promise<{ child: Child; hello: Said }> {
  const { site, name, file, upMbit } = member
  await mkdir(folder)
  const [command, ...prefix] = [...lab.exec(site, name), process.execPath]
  if (upMbit !== undefined) {
    const namespace = lab.exec(site, name).at(-1)
    await run([`tc -n ${namespace} qdisc add dev eth0 root tbf rate ${upMbit}mbit burst 16kb latency 200ms`])
  }
  const key = Buffer.from(newPrivateKey()).toString('hex')
  const args = [PROGRAM, folder, key, lab.address(site, name), ...(file === undefined ? [] : [file])]
  const child = new Child(command, [...prefix, ...args])
  return { child, hello: await child.next(START_MS) }
}

function cpuShare(): () => number {
  const taken = (): { busy: number; all: number } => {
    const times = cpus().map((each) => each.times)
    const sum = (of: (time: (typeof times)[number]) => number): number =>
      times.reduce((total, time) => total + of(time), 0)
    const busy = sum(({ user, sys, irq }) => user + sys + irq)
    return { busy, all: busy + sum(({ nice, idle }) => nice + idle) }
  }
  const before = taken()
  return () => {
    const { busy, all } = taken()
    return (busy - before.busy) / (all - before.all)
  }
}

/** Random bytes, which no compression makes less. */
export async function writeRandom(path: string, mib: number): Promise<void> {
  const file = await open(path, 'w')
  try {
    const block = Buffer.alloc(MIB)
    for (let n = 0; n < mib; n++) await file.write(randomFillSync(block))
  } finally {
    await file.close()
  }
}

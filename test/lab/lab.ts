/**
 * A lab of sites for the demo and for end-to-end tests: as root, a network namespace for every peer and a WAN link
 * between the sites (topology.ts, link.ts); otherwise loopback, and `why` says why.
 *
 * Everything that a lab made is gone after `close`, and also when its process ends by itself, by an error or by a signal
 * that can be caught: namespaces, devices, and every process in them. Only SIGKILL leaves namespaces behind.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { findMeans, type Flow, type Link, type Means, openLinks, type Shape } from './link.ts'
import { remove, run } from './namespaces.ts'
import { plan, type Site, type Topology } from './topology.ts'

/** The way between any two sites; with more than two, each way crosses two links of half the delay. */
type LinkShape = { readonly rateMbit: number; readonly rttMs: number; readonly lossPercent: number }
export type LabOptions = Pick<LinkShape, 'rateMbit' | 'rttMs'> &
  Partial<LinkShape> & {
    readonly sites: readonly Site[]
    readonly link?: Means['kind']
    /** What TCP between peers uses; CUBIC unless told. */
    readonly congestion?: string
  }

export type Lab = {
  readonly link: 'netem' | 'wanlink' | 'loopback'
  /** Why the link is not netem. */
  readonly why: string
  /** What TCP between peers uses; on loopback, the host's. */
  readonly congestionControl: string
  /** What goes before a command to run it as that peer: nothing on loopback. */
  exec(site: string, peer: string): string[]
  /** The IPv4 address of that peer inside the lab. */
  address(site: string, peer: string): string
  /** Changes the links while they run. On loopback this fails, as do `down`, `up` and `stats`: there is no link. */
  set(shape: Partial<LinkShape>): Promise<void>
  /** Cuts one site off, or each from every other. What is underway still arrives; the rest is lost in silence. */
  down(site?: string): Promise<void>
  up(site?: string): Promise<void>
  /** What crossed the WAN since the lab is there, by site. */
  stats(): Promise<Record<string, { readonly out: Flow; readonly in: Flow }>>
  close(): Promise<void>
}

/** Above what two cores carry; below what a direction of wanlink holds. */
const RATE_MBIT_MAX = 1_000
const RTT_MS_MAX = 2_000

let labs = 0

export async function openLab(options: LabOptions): Promise<Lab> {
  const { rateMbit, rttMs, lossPercent = 0 } = options
  const shape = checked({ rateMbit, rttMs, lossPercent })
  const means: Means = options.link === 'loopback' ? { kind: 'loopback', why: 'asked for' } : findMeans()
  if (options.link !== undefined && options.link !== means.kind)
    throw new Error(`lab: no ${options.link}: ${means.why}`)
  const congestion = options.congestion ?? congestionControl()
  if (!setting('tcp_available_congestion_control').includes(congestion))
    throw new Error(`lab: this kernel has no ${congestion}`)
  // netem's queue counts packets, and one of TCP's own making may be 64 KiB.
  const tcp = { congestion, offload: means.kind !== 'netem' }
  const topology = plan(`godwit-${process.pid}-${(labs += 1)}`, options.sites, tcp, means.kind === 'netem')
  return means.kind === 'loopback'
    ? loopback(topology, means.why)
    : openNamespaces(topology, means, shape, congestion)
}

async function openNamespaces(
  topology: Topology,
  means: Exclude<Means, { kind: 'loopback' }>,
  first: LinkShape,
  congestionControl: string,
): Promise<Lab> {
  const { wires, uplinks } = topology
  const links: Link[] = []
  const cut = new Set<Link>()
  let shape = first
  const shapeOf = (link?: Link): Shape => ({
    rateMbit: shape.rateMbit,
    oneWayMs: shape.rttMs / 2 / (wires.length > 1 ? 2 : 1),
    lossPercent: shape.lossPercent,
    down: link !== undefined && cut.has(link),
  })
  const apply = async (): Promise<void> =>
    void (await Promise.all(links.map((link) => link.set(shapeOf(link)))))
  const linkOf = (site: string): { link: Link; far: boolean } => {
    const { wire, far } = known(uplinks, site)
    return { link: links[wires.indexOf(wire)] as Link, far }
  }
  const chosen = (site?: string): Link[] => (site === undefined ? links : [linkOf(site).link])
  const forget = onExit(() => remove(topology.namespaces))
  const close = async (): Promise<void> => {
    await Promise.all(links.map((link) => link.close()))
    remove(topology.namespaces)
    forget()
  }

  try {
    await run(topology.before)
    links.push(...(await openLinks(means, wires, shapeOf())))
    await run(topology.after)
  } catch (error) {
    await close()
    throw error
  }
  return {
    link: means.kind,
    why: means.why,
    congestionControl,
    exec: (site, peer) => ['ip', 'netns', 'exec', known(topology.peers, `${site}/${peer}`).namespace],
    address: (site, peer) => known(topology.peers, `${site}/${peer}`).address,
    async set(change) {
      shape = checked({ ...shape, ...change })
      await apply()
    },
    async down(site) {
      for (const link of chosen(site)) cut.add(link)
      await apply()
    },
    async up(site) {
      for (const link of chosen(site)) cut.delete(link)
      await apply()
    },
    async stats() {
      const all = await Promise.all(links.map((link) => link.stats()))
      return Object.fromEntries(
        [...uplinks].map(([site, { wire, far }]) => {
          const { forth, back } = all[wires.indexOf(wire)] as (typeof all)[number]
          return [site, far ? { out: back, in: forth } : { out: forth, in: back }]
        }),
      )
    },
    close,
  }
}

function loopback({ peers }: Topology, why: string): Lab {
  const refuse = (): Promise<never> => Promise.reject(new Error(`lab: no link on loopback (${why})`))
  return {
    link: 'loopback',
    why,
    congestionControl: setting('tcp_congestion_control')[0] ?? 'unknown',
    exec: (site, peer) => (known(peers, `${site}/${peer}`), []),
    address: (site, peer) => (known(peers, `${site}/${peer}`), '127.0.0.1'),
    set: refuse,
    down: refuse,
    up: refuse,
    stats: refuse,
    close: () => Promise.resolve(),
  }
}

/** Cubic, which is what most of the world's senders use, so that figures compare; Reno is in every kernel. */
function congestionControl(): string {
  return setting('tcp_available_congestion_control').includes('cubic') ? 'cubic' : 'reno'
}

function setting(name: string): string[] {
  try {
    return readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8').trim().split(' ')
  } catch {
    return [] // Not Linux.
  }
}

function checked(shape: LinkShape): LinkShape {
  const { rateMbit, rttMs, lossPercent } = shape
  assert(rateMbit > 0 && rateMbit <= RATE_MBIT_MAX, `rateMbit in 0..${RATE_MBIT_MAX}`)
  assert(rttMs >= 0 && rttMs <= RTT_MS_MAX, `rttMs in 0..${RTT_MS_MAX}`)
  assert(lossPercent >= 0 && lossPercent <= 100, 'lossPercent in 0..100')
  return shape
}

function known<T>(map: ReadonlyMap<string, T>, key: string): T {
  const found = map.get(key)
  if (found === undefined) throw new Error(`lab: no ${key}; there is ${[...map.keys()].join(', ')}`)
  return found
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Runs `last` when the process ends before the returned function is called. */
function onExit(last: () => void): () => void {
  // Node ends on a signal without 'exit'. Where somebody else listens, it is theirs to end the process.
  const onSignal = (signal: NodeJS.Signals): void => {
    if (process.listeners(signal).some((listener) => !ours.has(listener))) return
    last()
    forget()
    process.kill(process.pid, signal)
  }
  const forget = (): void => {
    ours.delete(onSignal)
    process.off('exit', last)
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
  ours.add(onSignal)
  process.on('exit', last)
  for (const signal of SIGNALS) process.on(signal, onSignal)
  return forget
}

/** Listeners of all labs of this process. */
const ours = new Set<unknown>()

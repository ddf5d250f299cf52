/**
 * WAN links between namespaces: netem where the kernel has it, else wanlink.pl. Both queue for as long, drop what
 * comes on top, and lose without a word while they are down.
 */
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ENV, failureOf, remove, run } from './namespaces.ts'
import type { End, Wire } from './topology.ts'

export type Shape = {
  readonly rateMbit: number
  readonly oneWayMs: number
  readonly lossPercent: number
  readonly down: boolean
}
/** What crossed the link in one direction, as IP packets and their bytes, and what did not. */
export type Flow = { readonly packets: number; readonly bytes: number; readonly dropped: number }

export type Link = {
  /** Resolves when the link is like that. */
  set(shape: Shape): Promise<void>
  stats(): Promise<{ readonly forth: Flow; readonly back: Flow }>
  /** Ends its process, if it has one; resolves when that is gone. */
  close(): Promise<void>
}

export type Means =
  | { readonly kind: 'netem'; readonly why: string }
  | { readonly kind: 'wanlink'; readonly why: string }
  | { readonly kind: 'loopback'; readonly why: string }

/** Deep enough for TCP to fill the link, short enough to feel: what a decent router's buffer holds. */
const QUEUE_MS = 100
const PACKET_BYTES = 1500
const ETHERNET_BYTES = 14
const WANLINK = join(import.meta.dirname, 'wanlink.pl')

/** What this machine can make a link of. `why` says why it is not netem. */
export function findMeans(): Means {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return { kind: 'loopback', why: 'not root' }
  const scratch = `godwit-${process.pid}-probe`
  const none = failureOf('ip', 'netns', 'add', scratch)
  if (none !== undefined) return { kind: 'loopback', why: `no network namespaces: ${none}` }
  const netem = failureOf('tc', '-n', scratch, 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms')
  remove([scratch])
  if (netem === undefined) return { kind: 'netem', why: '' }
  const why = `no netem: ${netem}`
  if (!existsSync('/dev/net/tun')) return { kind: 'loopback', why: `${why}; no /dev/net/tun` }
  const perl = failureOf('perl', '-c', WANLINK)
  return perl === undefined
    ? { kind: 'wanlink', why }
    : { kind: 'loopback', why: `${why}; wanlink.pl does not run: ${perl}` }
}

/** Makes the links with their devices; those have no addresses yet. */
export async function openLinks(
  means: Exclude<Means, { kind: 'loopback' }>,
  wires: readonly Wire[],
  shape: Shape,
): Promise<Link[]> {
  if (wires.length === 0) return []
  if (means.kind === 'wanlink') return openWanlink(wires, shape)
  const links: Link[] = []
  for (const { near, far } of wires) {
    assert(far !== undefined, 'netem joins two devices')
    links.push(await openNetem(near, far, shape))
  }
  return links
}

async function openNetem(near: End, far: End, first: Shape): Promise<Link> {
  const qdisc = (verb: string, { namespace, device }: End, shape: Shape): string => {
    // netem's limit counts what travels together with what waits.
    const packets = Math.ceil((shape.rateMbit * 1e3 * (shape.oneWayMs + QUEUE_MS)) / 8 / PACKET_BYTES)
    const loss = shape.down ? 100 : shape.lossPercent
    return `tc -n ${namespace} qdisc ${verb} dev ${device} root netem limit ${Math.max(packets, 16)} delay ${shape.oneWayMs}ms rate ${shape.rateMbit}mbit loss ${loss}%`
  }
  await run([
    `ip -n ${near.namespace} link add ${near.device} type veth peer name ${far.device} netns ${far.namespace}`,
    qdisc('add', near, first),
    qdisc('add', far, first),
  ])
  return {
    async set(shape) {
      await run([qdisc('change', near, shape), qdisc('change', far, shape)])
    },
    async stats() {
      const sent = await run(
        [near, far].map((end) => `tc -s -n ${end.namespace} qdisc show dev ${end.device} root`),
      )
      const flows = [...sent.matchAll(/Sent (\d+) bytes (\d+) pkt \(dropped (\d+),/g)].map(
        ([, ...figures]) => {
          const [bytes = 0, packets = 0, dropped = 0] = figures.map(Number)
          return { packets, bytes: bytes - packets * ETHERNET_BYTES, dropped }
        },
      )
      const [forth, back] = flows
      if (forth === undefined || back === undefined) throw new Error(`lab: tc says: ${sent}`)
      return { forth, back }
    },
    close: () => Promise.resolve(),
  }
}

/** One process for all of them. */
async function openWanlink(wires: readonly Wire[], first: Shape): Promise<Link[]> {
  const ends = wires.flatMap(({ near, far, prefix }) =>
    far === undefined
      ? [near.namespace, near.device, prefix]
      : [near.namespace, near.device, far.namespace, far.device],
  )
  const child = spawn('perl', [WANLINK, ...ends], { env: ENV })
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const ask = asking(child)
  // Its first line is unasked.
  await ask('')
  const links = wires.map((_, at): Link => ({
    async set({ rateMbit, oneWayMs, lossPercent, down }) {
      await ask(`shape ${at} ${rateMbit} ${oneWayMs} ${QUEUE_MS} ${lossPercent} ${down ? 1 : 0}\n`)
    },
    stats: async () => JSON.parse(await ask(`stats ${at}\n`)) as { forth: Flow; back: Flow },
    close() {
      child.kill('SIGKILL')
      return gone
    },
  }))
  for (const link of links) await link.set(first)
  return links
}

/** One line in, one line out, in order; when the process ends, nobody is left waiting. */
function asking(child: ChildProcessWithoutNullStreams): (line: string) => Promise<string> {
  const waiting: PromiseWithResolvers<string>[] = []
  let said = ''
  let ended: Error | undefined
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  child.stdin.on('error', () => {}) // It has ended: 'close' tells those who wait.
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.resolve(line))
  const end = (error?: Error): void => {
    ended = error ?? new Error(`lab: the link has ended: ${said.trim()}`)
    for (const { reject } of waiting.splice(0)) reject(ended)
  }
  child.once('error', end)
  child.once('close', () => end())
  return (line) => {
    if (ended !== undefined) return Promise.reject(ended)
    const answer = Promise.withResolvers<string>()
    waiting.push(answer)
    child.stdin.write(line)
    return answer.promise
  }
}

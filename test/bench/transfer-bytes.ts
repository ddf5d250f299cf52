/**
 * What an image costs on the wire, both ways, beside what is held already, for pairs of images (bytes/pairs.ts), from one real
 * peer to another over a slow link: that is when the second level is used. Beside it casync, rsync, zsync and fixed chunks of
 * 4 MiB on the same files. Counted are the bytes of messages, without TLS and TCP, for all alike.
 */
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Lab } from '../lab/lab.ts'
import { type Bench, type Row, row } from './bench.ts'
import { type Cost, download, openWan } from './bytes/ours.ts'
import { makePairs, type Pair } from './bytes/pairs.ts'
import { type Answer, casync, fixed4m, rsync, zsync } from './bytes/peers.ts'

const MIB = 1024 ** 2
const RATE_MBIT = 20
const RTT_MS = 40
const NAMES = ['grown', 'upgraded', 'rebuilt', 'other'] as const

const GOALS: Readonly<Record<string, { readonly must: number; readonly aim: number }>> = {
  grown: { must: 0.85, aim: 0.75 },
  upgraded: { must: 0.6, aim: 0.5 },
  rebuilt: { must: 0.15, aim: 0.05 },
  other: { must: 0.9, aim: 0.8 },
}

export const transferBytes: Bench = async ({ quick, say }) => {
  const mib = quick ? 48 : 192
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  try {
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize < mib * 12 * MIB)
      return { rows: [], note: `${folder} has less than ${mib * 12} MiB free`, impossible: true }
    const made = await makePairs(folder, { mib, quick }, say).catch((error: unknown) => error as Error)
    if (made instanceof Error) return { rows: [], note: `no images: ${made.message}`, impossible: true }
    const { pairs, from } = made
    const lab = await openWan(RATE_MBIT, RTT_MS)
    if (typeof lab === 'string') return { rows: [], note: lab, impossible: true }
    const rows: Row[] = []
    try {
      for (const name of NAMES) {
        const pair = pairs.find((each) => each.name === name)
        rows.push(...(pair === undefined ? missing(name) : await measure(pair, lab, folder, say)))
      }
    } finally {
      await lab.close()
    }
    const note =
      `two peers, ${RATE_MBIT} Mbit/s and ${RTT_MS} ms between (${lab.link}); ext4, in place by debugfs; ` +
      `${from}; messages without TLS and TCP`
    return { rows, note }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(pair: Pair, lab: Lab, folder: string, say: (line: string) => void): Promise<Row[]> {
  const cost = await download(lab, pair, folder)
  const mib = (bytes: number): string => (bytes / MIB).toFixed(2)
  say(
    `${pair.name}: ${mib(cost.wireBytes)} MiB (${mib(cost.linkBytes)} on the link) for ${mib(cost.dedupBytes)} MiB of ` +
      `missing chunks, ${mib(cost.matchedBytes)} MiB of them found here; ${cost.seconds.toFixed(1)} s, CPU ` +
      `${cost.cpuSeconds.toFixed(1)} s, ${mib(cost.rssBytes)} MiB RSS`,
  )
  const others: readonly (readonly [name: string, answer: Answer])[] = [
    ['casync', await casync(pair, folder)],
    ['rsync', await rsync(pair, folder)],
    ['zsync', await zsync(pair, folder)],
    ['fixed4m', await fixed4m(pair)],
  ]
  for (const [name, answer] of others)
    say(`${pair.name}: ${name} ${typeof answer === 'string' ? answer : `${(answer / MIB).toFixed(2)} MiB`}`)
  const about = { case: pair.name, better: 'lower' as const }
  return [
    row({ ...about, metric: 'wire_bytes', value: cost.wireBytes, unit: 'B' }),
    row({ ...about, metric: 'link_bytes', value: cost.linkBytes, unit: 'B' }),
    ...others.map(([name, answer]) => ratio(pair.name, name, cost, answer)),
    row({ ...about, metric: 'peak_rss_mib', value: cost.rssBytes / MIB, unit: 'MiB' }),
    row({
      ...about,
      metric: 'cpu_s_per_mib',
      value: cost.cpuSeconds / (cost.dedupBytes / MIB),
      unit: 's of both ends',
    }),
  ]
}

function ratio(name: string, peer: string, { wireBytes }: Cost, answer: Answer): Row {
  const about = { case: name, metric: `ratio_${peer}`, unit: 'ratio', better: 'lower' as const }
  const goal = peer === 'casync' ? GOALS[name] : peer === 'rsync' ? { must: 1, aim: 0.9 } : {}
  return typeof answer === 'string'
    ? row({ ...about, ...goal, value: null, why: answer })
    : row({ ...about, ...goal, value: wireBytes / answer })
}

const missing = (name: string): Row[] => [
  row({
    case: name,
    metric: 'wire_bytes',
    value: null,
    unit: 'B',
    better: 'lower',
    why: 'no mirror of Debian can be reached',
  }),
]

/**
 * What an image costs on the wire, both ways, beside what is held already, for pairs of images that this machine can make
 * (bytes/pairs.ts); beside it casync, rsync and fixed chunks of 4 MiB on the same files. Counted are the bytes of messages,
 * without TLS and TCP, for all alike. The link is taken to be slow: that is when the second level is used.
 */
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bench, type Row, row } from './bench.ts'
import { openImage } from './bytes/image.ts'
import { type Cost, download } from './bytes/ours.ts'
import { makePairs, type Pair } from './bytes/pairs.ts'
import { type Answer, casync, fixed4m, rsync } from './bytes/peers.ts'

const MIB = 1024 ** 2
/** 20 Mbit/s. */
const BYTES_PER_S = 2_500_000
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
    const pairs = await makePairs(folder, mib, say).catch((error: unknown) => error as Error)
    if (pairs instanceof Error) return { rows: [], note: `no images: ${pairs.message}`, impossible: true }
    const rows: Row[] = []
    for (const name of NAMES) {
      const pair = pairs.find((each) => each.name === name)
      rows.push(...(pair === undefined ? missing(name) : await measure(pair, folder, say)))
    }
    const note =
      `ext4 of ${mib} MiB of this machine's packages, in place by debugfs; "upgraded" is a model of what a release ` +
      'changes (bytes/pairs.ts), not two releases; messages without TLS and TCP'
    return { rows, note }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(pair: Pair, folder: string, say: (line: string) => void): Promise<Row[]> {
  const { cost, cpuS } = ours(pair)
  say(
    `${pair.name}: ${(cost.wireBytes / MIB).toFixed(2)} MiB for ${cost.missingChunks} missing chunks (fingerprints ` +
      `${(cost.printBytes / MIB).toFixed(2)}, blocks ${(cost.deltaBytes / MIB).toFixed(2)}), ${cost.again} again`,
  )
  const others: readonly (readonly [name: string, answer: Answer])[] = [
    ['casync', await casync(pair, folder)],
    ['rsync', await rsync(pair, folder)],
    ['zsync', 'it wants a web server with ranges, which is not built here'],
    ['fixed4m', await fixed4m(pair)],
  ]
  for (const [name, answer] of others)
    say(`${pair.name}: ${name} ${typeof answer === 'string' ? answer : `${(answer / MIB).toFixed(2)} MiB`}`)
  const about = { case: pair.name, better: 'lower' as const }
  return [
    row({ ...about, metric: 'wire_bytes', value: cost.wireBytes, unit: 'B' }),
    ...others.map(([name, answer]) => ratio(pair.name, name, cost, answer)),
    row({
      ...about,
      metric: 'cpu_s_per_mib',
      value: cpuS / cost.missingChunks / 0.25,
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
    why: 'the packages of another release are not on this machine',
  }),
]

/** Both ends' CPU, without reading the images in. */
function ours({ held, target }: Pair): { cost: Cost; cpuS: number } {
  const images = [...held, target].map(openImage)
  try {
    const before = process.cpuUsage()
    const cost = download(images.slice(0, -1), images.at(-1) as (typeof images)[number], BYTES_PER_S)
    const { user, system } = process.cpuUsage(before)
    return { cost, cpuS: (user + system) / 1e6 }
  } finally {
    for (const image of images) image.close()
  }
}

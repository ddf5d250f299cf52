/**
 * One image to many peers at once, real processes in network namespaces over slow links (test/lab): time of the last and
 * of the median over the fluid bound T* (simulator/swarm/fluid-bound.ts), and what the source sent over one copy W.
 *
 * Rates are half of the named ones, a quarter with 16 peers: at the whole, links in user space and so many processes take
 * more than two cores have. Ratios do not depend on it while the bandwidth-delay product is some chunks. T* counts 0.945
 * of a rate: that is what Ethernet, IP and TCP leave. Time runs from the order to download to the last sync; connections
 * between peers are there before, as they are in a mesh, channels for chunks are not.
 */
import { copyFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { fluidBound } from '../../simulator/swarm/fluid-bound.ts'
import { type Bench, type Row, row } from './bench.ts'
import { claimant, GOODPUT, inFolder, openLinks } from './swarm/setting.ts'
import { download, type Measured, type Member, writeRandom } from './swarm/stage.ts'

const MIB = 1024 ** 2
const PATIENCE = 10
/** What a server's disk of 1 GiB takes in the store; and half of that where four cases are run. */
const IMAGE_MIB = 231
const PART_MIB = 128
/** Of the image, what a partial holder has from another one. */
const HELD = 0.7

type Case = {
  readonly name: string
  readonly rttMs: number
  readonly peers: number
  /** Of the rates that follow, in Mbit/s, what the links have. */
  readonly scale: number
  readonly source: number
  readonly up: number
  readonly down: number
  readonly holders: number
  readonly mib: number
}

const EQUAL: Case = {
  name: '8x50/50@40ms',
  rttMs: 40,
  peers: 8,
  scale: 1 / 2,
  source: 50,
  up: 50,
  down: 50,
  holders: 0,
  mib: IMAGE_MIB,
}
const SLOW: Case = {
  ...EQUAL,
  name: '16x20/20@80ms',
  rttMs: 80,
  peers: 16,
  scale: 1 / 4,
  mib: PART_MIB,
  source: 20,
  up: 20,
  down: 20,
}
const UNEQUAL: Case = { ...EQUAL, name: '8x10/50@40ms', up: 10 }

export const swarm: Bench = (options) => cases(options.quick ? [EQUAL] : [EQUAL, SLOW, UNEQUAL], options)

export const partial: Bench = (options) =>
  cases(
    [0, 1, 2, 4].slice(0, options.quick ? 2 : 4).map((holders) => ({
      ...UNEQUAL,
      name: `${UNEQUAL.name}, ${holders} partial`,
      mib: PART_MIB,
      holders,
    })),
    options,
  )

type Options = Parameters<Bench>[0]

async function cases(all: readonly Case[], options: Options): ReturnType<Bench> {
  const rows: Row[] = []
  const notes: string[] = []
  for (const each of all) {
    if (!each.name.startsWith(options.only ?? '')) continue
    const run = await inFolder((folder) => runCase(each, folder, options))
    rows.push(...run.rows)
    notes.push(run.note)
    if (run.impossible === true) return { rows, note: run.note, impossible: true }
  }
  return { rows, note: notes.join('; ') }
}

async function runCase(each: Case, folder: string, { quick, say }: Options): ReturnType<Bench> {
  const mib = quick ? 16 : each.mib
  const file = join(folder, 'image.raw')
  const part = join(folder, 'part.raw')
  await writeRandom(file, mib)
  await copyFile(file, part)
  await truncate(part, Math.floor(mib * HELD) * MIB)
  const members = membersOf(each, file, part)
  const lab = await openLinks(members, each.rttMs, each.down * each.scale)
  if ('impossible' in lab) return { rows: [], ...lab }
  try {
    const boundMs = boundOf(each, mib)
    say(`${each.name}: T* is ${(boundMs / 1_000).toFixed(1)} s`)
    const measured = await download(lab, members, folder, boundMs * PATIENCE)
    say(`${each.name}: last ${((measured.ms.at(-1) ?? 0) / boundMs).toFixed(2)} T*`)
    const note = `${each.name}: netns+${lab.link}, rates are ${each.scale} of those named, ${mib} MiB of random data, T* counts ${GOODPUT} of a rate`
    return { rows: rowsOf(each, measured, boundMs, mib), note }
  } finally {
    await lab.close()
  }
}

function membersOf({ peers, scale, up, down, holders }: Case, file: string, part: string): Member[] {
  const slower = up < down ? { upMbit: up * scale } : {}
  return [
    { site: 'origin', name: 'source', file, downloads: false },
    ...Array.from({ length: holders }, (_, n) => ({
      site: `holder${n}`,
      name: 'one',
      file: part,
      downloads: false,
    })),
    ...Array.from({ length: peers }, (_, n) => ({
      site: `site${n}`,
      name: 'one',
      downloads: true,
      ...slower,
    })),
  ]
}

function boundOf({ peers, scale, source, up, down, holders }: Case, mib: number): number {
  const share = scale * GOODPUT
  const bytes = mib * MIB
  return fluidBound({
    source: { upMbit: source * share },
    sourceOnlyBytes: holders === 0 ? bytes : bytes * (1 - HELD),
    receivers: Array.from({ length: peers }, () => ({
      upMbit: up * share,
      downMbit: down * share,
      lacksBytes: bytes,
    })),
    helpers: Array.from({ length: holders }, () => ({ upMbit: down * share })),
  })
}

function rowsOf(each: Case, measured: Measured, boundMs: number, mib: number): Row[] {
  const { ms, copyBytes, served, cpuSeconds, duplicateBytes } = measured
  const about = { case: each.name, unit: 'ratio', better: 'lower' } as const
  const claim = claimant(measured.cpuShare)
  const isPartial = each.name.includes('partial')
  // Where the peers' uplinks bind, the bound itself needs more than one copy of the source.
  const sendsOnce = each.up >= each.source && !isPartial
  return [
    row({
      ...about,
      metric: 'last_over_tstar',
      ...claim((ms.at(-1) as number) / boundMs),
      ...(isPartial ? { must: 1.15, aim: 1.1 } : { must: 1.25, aim: 1.1 }),
    }),
    row({
      ...about,
      metric: 'median_over_tstar',
      ...claim((ms[Math.floor(ms.length / 2)] as number) / boundMs),
    }),
    row({
      ...about,
      metric: 'egress_over_w',
      ...claim((served.get('origin/source') as number) / copyBytes),
      ...(sendsOnce && { must: 1.1, aim: 1.03 }),
    }),
    row({ ...about, metric: 'duplicates_over_w', value: duplicateBytes / copyBytes / each.peers }),
    row({ ...about, metric: 'cpu_s_per_mib', value: cpuSeconds / (mib * each.peers), unit: 's/MiB' }),
    row({
      ...about,
      metric: 'cpu_share',
      value: measured.cpuShare,
    }),
  ]
}

/** Half of what is named, for each site. */
const SITES_MBIT = 25

/** Three sites of four peers, the source elsewhere: what came over each site's uplink, headers and all, over one copy. */
export const swarmSites: Bench = async ({ quick, say }) => {
  const mib = quick ? 16 : PART_MIB
  return inFolder(async (folder) => {
    const file = join(folder, 'image.raw')
    await writeRandom(file, mib)
    const sites = ['harbour', 'hill', 'quay']
    const members: Member[] = [
      { site: 'origin', name: 'source', file, downloads: false },
      ...sites.flatMap((site) =>
        Array.from({ length: 4 }, (_, n) => ({ site, name: `peer${n}`, downloads: true })),
      ),
    ]
    const lab = await openLinks(members, 40, SITES_MBIT)
    if ('impossible' in lab) return { rows: [], note: lab.note, impossible: true as const }
    try {
      const measured = await download(lab, members, folder, PATIENCE * ((mib * MIB) / (SITES_MBIT * 125)) * 2)
      say(`last after ${((measured.ms.at(-1) ?? 0) / 1_000).toFixed(1)} s`)
      const flows = await lab.stats()
      const rows = sites.map((site) =>
        row({
          case: site,
          metric: 'ingress_over_w',
          ...claimant(measured.cpuShare)((flows[site]?.in.bytes as number) / measured.copyBytes),
          unit: 'ratio',
          must: 1.1,
          aim: 1.03,
          better: 'lower',
        }),
      )
      rows.push(
        row({ case: 'all', metric: 'cpu_share', value: measured.cpuShare, unit: 'ratio', better: 'lower' }),
      )
      const note = `netns+${lab.link}; 3 sites x 4 peers, uplinks of ${SITES_MBIT} Mbit/s, 40 ms; ${mib} MiB of random data; IP packets and their headers count`
      return { rows, note }
    } finally {
      await lab.close()
    }
  })
}

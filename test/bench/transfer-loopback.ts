/**
 * One seeder process, one leecher process, this machine's loopback, random data: encrypted, verified, on disk and synced.
 * Beside it, on the same file: webtorrent (plain TCP, SHA-1), and a bare TLS copy into a file as the limit.
 *
 * Time runs from the leecher's first request to its last sync; connections are set up before. CPU is that of both ends.
 */
import { randomFillSync } from 'node:crypto'
import { mkdir, mkdtemp, open, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newPrivateKey, peerIdOf } from '../../protocols/libp2p/identity.ts'
import { type Bench, type Row, row } from './bench.ts'
import { Child, type Said } from './child.ts'

const MIB = 1024 ** 2
/** No copy takes longer, even at a tenth of what must be. */
const PATIENCE_MS = 600_000

type Figures = { readonly mibPerS: number; readonly cpuPerMib: number }
/**
 * Ours on sockets of its own, and on libp2p's streams (docs/decisions/0012-bulk-sockets.md); webtorrent in the order of the
 * file, as it does by default, and rarest first, as in a swarm and as ours.
 */
type Way = 'godwit' | 'godwit-streams' | 'bare-tls' | 'webtorrent' | 'webtorrent-rarest'

export const transferLoopback: Bench = async ({ quick, say }) => {
  const mib = quick ? 256 : 2_048
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  try {
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize < mib * MIB * 4)
      return { rows: [], note: `${folder} has less than ${mib * 4} MiB free`, impossible: true }
    const file = join(folder, 'data.raw')
    await writeRandom(file, mib)
    const results = new Map<Way, Figures | Error>()
    for (const way of ['bare-tls', 'godwit', 'godwit-streams', 'webtorrent', 'webtorrent-rarest'] as const) {
      const figures = await copy(way, file, mib, folder, say).catch((error: unknown) => error as Error)
      say(
        figures instanceof Error
          ? `${way}: ${figures.message}`
          : `${way}: ${figures.mibPerS.toFixed(0)} MiB/s`,
      )
      results.set(way, figures)
    }
    return { rows: rowsOf(results, mib), note: `loopback, ${mib} MiB of random data, page cache warm` }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function rowsOf(results: ReadonlyMap<Way, Figures | Error>, mib: number): Row[] {
  const rows: Row[] = []
  const get = (way: Way): Figures | undefined => {
    const figures = results.get(way)
    return figures instanceof Error ? undefined : figures
  }
  const why = (way: Way): { why?: string } => {
    const figures = results.get(way)
    return figures instanceof Error ? { why: (figures.message.split('\n')[0] ?? '').slice(0, 200) } : {}
  }
  const name = (way: Way): string => `${mib} MiB random${way === 'godwit' ? '' : ` (${way})`}`
  for (const way of results.keys()) {
    const goal = way === 'godwit' ? { must: 200 } : {}
    const about = { case: name(way), ...why(way) }
    rows.push(
      row({
        ...about,
        metric: 'throughput_mib_s',
        value: get(way)?.mibPerS ?? null,
        unit: 'MiB/s',
        better: 'higher',
        ...goal,
      }),
    )
    rows.push(
      row({
        ...about,
        metric: 'cpu_s_per_mib',
        value: get(way)?.cpuPerMib ?? null,
        unit: 's/MiB',
        better: 'lower',
      }),
    )
  }
  const ratio = (to: Way): { value: number | null; why?: string } => {
    const [ours, theirs] = [get('godwit'), get(to)]
    if (ours === undefined) return { value: null, ...why('godwit') }
    return theirs === undefined ? { value: null, ...why(to) } : { value: ours.mibPerS / theirs.mibPerS }
  }
  const about = { case: name('godwit'), unit: 'ratio', better: 'higher' as const }
  rows.push(row({ ...about, metric: 'ratio_webtorrent', ...ratio('webtorrent'), must: 4 }))
  rows.push(row({ ...about, metric: 'ratio_webtorrent_rarest', ...ratio('webtorrent-rarest'), must: 4 }))
  rows.push(row({ ...about, metric: 'ratio_tls', ...ratio('bare-tls'), aim: 0.6 }))
  return rows
}

/** What the launcher starts a peer with: young objects are as short of room here as there. */
const NODE_FLAGS: Readonly<Partial<Record<Way, readonly string[]>>> = {
  godwit: ['--max-semi-space-size=2'],
  'godwit-streams': ['--max-semi-space-size=2'],
}

/** Program of each way's two ends: `seed FILE FOLDER KEY OTHER HOW`, then `leech FOLDER HELLO KEY OTHER HOW`. */
const PROGRAMS: Readonly<Record<Way, string>> = {
  godwit: 'loopback/peer.ts',
  'godwit-streams': 'loopback/peer.ts',
  'bare-tls': 'loopback/tls.ts',
  webtorrent: 'loopback/torrent.ts',
  'webtorrent-rarest': 'loopback/torrent.ts',
}

/** What a program is told besides. */
const HOW: Readonly<Record<Way, string>> = {
  godwit: 'sockets',
  'godwit-streams': 'streams',
  'bare-tls': '',
  webtorrent: 'sequential',
  'webtorrent-rarest': 'rarest',
}

async function copy(
  way: Way,
  file: string,
  mib: number,
  folder: string,
  say: (line: string) => void,
): Promise<Figures> {
  const program = join(import.meta.dirname, PROGRAMS[way])
  const folders = [join(folder, `${way}-seed`), join(folder, `${way}-leech`)] as const
  for (const each of folders) await mkdir(each)
  const children: Child[] = []
  const start = (...args: string[]): Child => {
    const child = new Child(process.execPath, [...(NODE_FLAGS[way] ?? []), program, ...args])
    children.push(child)
    return child
  }
  try {
    say(`${way}: seeding`)
    const [seederKey, leecherKey] = [newPrivateKey(), newPrivateKey()]
    const seeder = start('seed', file, folders[0], hex(seederKey), peerIdOf(leecherKey), HOW[way])
    const hello = await seeder.next(PATIENCE_MS)
    const leecher = start(
      'leech',
      folders[1],
      JSON.stringify(hello),
      hex(leecherKey),
      peerIdOf(seederKey),
      HOW[way],
    )
    const done = await leecher.next(PATIENCE_MS)
    const seeded = await seeder.end()
    const cpu = number(done, 'cpu') + number(seeded, 'cpu')
    const bytes = number(done, 'bytes')
    if (bytes !== mib * MIB) throw new Error(`${way} brought ${bytes} bytes`)
    return {
      mibPerS: mib / (number(done, 'ms') / 1_000),
      cpuPerMib: cpu / mib,
    }
  } finally {
    for (const child of children) child.kill()
    for (const each of folders) await rm(each, { recursive: true, force: true })
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function number(said: Said, name: string): number {
  const value = said[name]
  if (typeof value !== 'number') throw new Error(`no ${name} in ${JSON.stringify(said)}`)
  return value
}

async function writeRandom(path: string, mib: number): Promise<void> {
  const file = await open(path, 'w')
  try {
    const block = Buffer.alloc(MIB)
    for (let n = 0; n < mib; n++) await file.write(randomFillSync(block))
    // Else the first copy waits for the disk to take it.
    await file.sync()
  } finally {
    await file.close()
  }
}

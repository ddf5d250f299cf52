/**
 * Import of real file-system data, from a sparse raw disk and from a qcow2 file: MiB of data a second, and how far the
 * process's resident memory rises above what it was before.
 *
 * The data are this machine's own files, each from a 4 KiB boundary on as a file system lays them. A further round of them
 * begins a block later, so that none of its chunks is one of an earlier round. A sixteenth each lies at a sixteenth of a
 * disk that is a dozen times as large: who reads holes pays for it.
 */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, open, opendir, readFile, rm, stat, statfs, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bench, type Row, row } from './bench.ts'
import { Child, type Said } from './child.ts'

const MIB = 1024 ** 2
const BLOCK_BYTES = 4_096
const PARTS = 16
const SPARSE = 12
/** One file's share at most: a few huge ones are not what a system's disk holds. */
const FILE_BYTES_MAX = 64 * MIB
const FOLDERS = ['/usr', '/opt', '/var/lib', '/etc']
/** No import takes longer, even at a tenth of what must be. */
const PATIENCE_MS = 900_000
const NODE_FLAGS = ['--max-semi-space-size=2']

export const ingest: Bench = async ({ quick, say }) => {
  const mib = quick ? 512 : 8_192
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  try {
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize < mib * MIB * 3.5)
      return { rows: [], note: `${folder} has less than ${mib * 3.5} MiB free`, impossible: true }
    const raw = join(folder, 'disk.raw')
    const rounds = await writeDisk(raw, mib)
    await synced(raw)
    say(`${mib} MiB of files on a disk of ${mib * SPARSE} MiB, ${rounds} rounds`)
    const rows: Row[] = []
    const images = new Set<unknown>()
    let fresh = 0
    for (const format of ['raw', 'qcow2'] as const) {
      const path = format === 'raw' ? raw : join(folder, 'disk.qcow2')
      if (format === 'qcow2') {
        execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path])
        await synced(path)
      }
      const said = await importOnce(path, format, join(folder, `stores-${format}`))
      images.add(said['image'])
      fresh = Number(said['newBytes']) / Number(said['dataBytes'])
      rows.push(...rowsOf(`${mib} MiB of files, ${format}`, said))
      say(`${format}: ${(rows.at(-3)?.value ?? 0).toString()} MiB/s`)
    }
    if (images.size !== 1) throw new Error('raw and qcow2 gave different images')
    return {
      rows,
      note: `${mib} MiB of this machine's files in ${rounds} rounds on a disk of ${mib * SPARSE} MiB, ${(fresh * 100).toFixed(1)} % of its chunks new; page cache warm; zstd level 3; CPU without qemu-nbd's; memory above idle`,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function rowsOf(name: string, said: Said): Row[] {
  const number = (key: string): number => {
    const value = said[key]
    if (typeof value !== 'number') throw new Error(`no ${key} in ${JSON.stringify(said)}`)
    return value
  }
  const mib = number('dataBytes') / MIB
  const about = { case: name }
  return [
    row({
      ...about,
      metric: 'mib_s',
      value: mib / (number('ms') / 1_000),
      unit: 'MiB/s',
      must: 150,
      aim: 250,
      better: 'higher',
    }),
    row({ ...about, metric: 'cpu_s_per_mib', value: number('cpu') / mib, unit: 's/MiB', better: 'lower' }),
    row({
      ...about,
      metric: 'peak_rss_mib',
      value: number('aboveIdle') / MIB,
      unit: 'MiB',
      must: 256,
      better: 'lower',
    }),
  ]
}

async function importOnce(path: string, format: string, folder: string): Promise<Said> {
  await mkdir(folder)
  const program = join(import.meta.dirname, 'ingest/import.ts')
  const child = new Child(process.execPath, [...NODE_FLAGS, program, path, format, folder])
  try {
    return await child.next(PATIENCE_MS)
  } finally {
    child.kill()
    await rm(folder, { recursive: true, force: true })
  }
}

/** What is measured would otherwise wait for the disk to take what the benchmark itself has just written. */
async function synced(path: string): Promise<void> {
  const file = await open(path, 'r+')
  await file.sync()
  await file.close()
}

/** Returns how many rounds of this machine's files it took. */
async function writeDisk(path: string, mib: number): Promise<number> {
  const disk = await open(path, 'w')
  try {
    await disk.truncate(mib * MIB * SPARSE)
    const partBytes = (mib * MIB) / PARTS
    let written = 0
    for (let round = 1; ; round++) {
      const before = written
      written += BLOCK_BYTES
      for await (const content of files(FOLDERS)) {
        written = await writeAt(disk, written, content, mib, partBytes)
        if (written >= mib * MIB) return round
      }
      if (written === before + BLOCK_BYTES) throw new Error(`there are no files in ${FOLDERS.join(', ')}`)
    }
  } finally {
    await disk.close()
  }
}

async function writeAt(
  disk: FileHandle,
  position: number,
  content: Buffer,
  mib: number,
  partBytes: number,
): Promise<number> {
  for (let at = 0; at < content.length && position < mib * MIB;) {
    const [part, inPart] = [Math.floor(position / partBytes), position % partBytes]
    const length = Math.min(content.length - at, partBytes - inPart)
    await disk.write(content, at, length, part * partBytes * SPARSE + inPart)
    at += length
    position += length
  }
  return Math.ceil(position / BLOCK_BYTES) * BLOCK_BYTES
}

async function* files(folders: readonly string[]): AsyncGenerator<Buffer> {
  for (const folder of folders) {
    const entries = await opendir(folder, { recursive: true }).catch(() => undefined)
    if (entries === undefined) continue
    for await (const entry of entries) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      const size = await stat(path).then(
        ({ size: bytes }) => bytes,
        () => 0,
      )
      if (size > 0 && size <= FILE_BYTES_MAX) yield await readFile(path).catch(() => Buffer.alloc(0))
    }
  }
}

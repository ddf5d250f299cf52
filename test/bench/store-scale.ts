/**
 * The chunk store with 4 million chunks indexed (a terabyte of disk at 256 KiB): bytes of index for each, time to open it, and
 * look-ups. The index is real; its segments are sparse files of the right sizes, since nothing here reads a frame.
 */
import { randomFillSync } from 'node:crypto'
import { mkdir, mkdtemp, open, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChunkId } from '../../protocols/ids.ts'
import { SEGMENT_BYTES_MAX } from '../../protocols/limits.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { HEADER_BYTES, type Place } from '../../storage/files/segment-frame.ts'
import { asked } from '../../storage/images/asked.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import { openChunkIndex } from '../../storage/level/chunk-index.ts'
import { type Bench, row } from './bench.ts'

const CHUNK_BYTES = 256 * 1024
/** At 2.8:1, as file systems compress. */
const FRAME_BYTES = Math.round(CHUNK_BYTES / 2.8)
const BATCH = 4_096
const LOOKUPS = 20_000

export const storeScale: Bench = async ({ quick, say }) => {
  const chunks = quick ? 200_000 : 4_000_000
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  try {
    const some = await fill(folder, chunks, say)
    // LevelDB compacts behind what was written: opened and closed once, it is as a restart finds it.
    await (await opened(folder)).close()
    const indexBytes = await bytesIn(join(folder, 'index'))
    const startedMs = performance.now()
    const store = await opened(folder)
    const startS = (performance.now() - startedMs) / 1_000
    say(`${(indexBytes / chunks).toFixed(1)} bytes a chunk, opened in ${startS.toFixed(2)} s`)

    const us: number[] = []
    for (const id of some) {
      const askedMs = performance.now()
      await asked<boolean[]>((done) => store.has([id], done))
      us.push((performance.now() - askedMs) * 1_000)
    }
    us.sort((a, b) => a - b)
    const manyMs = performance.now()
    const held = await asked<boolean[]>((done) => store.has(some, done))
    const manyUs = ((performance.now() - manyMs) * 1_000) / some.length
    if (!held.every(Boolean)) throw new Error('a chunk that was indexed is not held')
    await store.close()

    const marking = performance.now()
    const marked = new ChunkNames()
    marked.addHashes(randomFillSync(Buffer.alloc(chunks * 32)))
    const markS = (performance.now() - marking) / 1_000
    const setting = `${chunks} chunks`
    const p99 = us[Math.floor(us.length * 0.99)] ?? 0
    return {
      rows: [
        row({
          case: setting,
          metric: 'index_bytes_per_chunk',
          value: indexBytes / chunks,
          unit: 'B',
          must: 64,
          better: 'lower',
        }),
        row({ case: setting, metric: 'start_s', value: startS, unit: 's', must: 2, better: 'lower' }),
        row({
          case: `${setting}, one at a time`,
          metric: 'lookup_us_p99',
          value: p99,
          unit: 'us',
          better: 'lower',
        }),
        row({
          case: `${setting}, ${LOOKUPS} at once`,
          metric: 'lookup_us_mean',
          value: manyUs,
          unit: 'us',
          better: 'lower',
        }),
        row({ case: `${setting}, marked`, metric: 'mark_s', value: markS, unit: 's', better: 'lower' }),
      ],
      note: 'files in the page cache; ids of held chunks, in random order',
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function opened(folder: string) {
  const outcome = await openChunkStore(folder)
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  return outcome.value
}

/** Returns the ids of LOOKUPS chunks from all over the store. */
async function fill(folder: string, chunks: number, say: (line: string) => void): Promise<ChunkId[]> {
  const outcome = await openChunkIndex(join(folder, 'index'))
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
  const index = outcome.value
  await mkdir(join(folder, 'segments'), { recursive: true })
  const some: ChunkId[] = []
  const every = Math.max(1, Math.floor(chunks / LOOKUPS))
  let [segment, offset] = [1, 0]
  for (let at = 0; at < chunks;) {
    const places = new Map<ChunkId, Place>()
    const ids = randomFillSync(Buffer.alloc(BATCH * 32))
    for (let i = 0; i < BATCH && at < chunks; i++, at++) {
      const id = ids.toString('hex', i * 32, i * 32 + 32)
      if (offset >= SEGMENT_BYTES_MAX) {
        await sparse(folder, segment, offset)
        ;[segment, offset] = [segment + 1, 0]
      }
      places.set(id, { segment, offset, frameBytes: FRAME_BYTES, chunkBytes: CHUNK_BYTES })
      offset += HEADER_BYTES + FRAME_BYTES
      if (at % every === 0 && some.length < LOOKUPS) some.push(id)
    }
    await index.add(places, { segment, offset })
    if (at % (BATCH * 100) === 0) say(`${at} chunks indexed`)
  }
  await sparse(folder, segment, offset)
  await index.close()
  return some
}

async function sparse(folder: string, segment: number, bytes: number): Promise<void> {
  const file = await open(join(folder, 'segments', `${String(segment).padStart(8, '0')}.segment`), 'w')
  await file.truncate(bytes)
  await file.close()
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size
  return bytes
}

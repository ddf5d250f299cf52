/**
 * What encryption at rest costs the chunk store: frames of file-system size written and read again, as they are and encrypted,
 * in turns. The frames are packed before, and not verified: this is the store alone.
 */
import { hash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { giveBack } from '../../protocols/buffers.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { type FrameKeys, frameKeyOf, frameKeys, NO_KEYS } from '../../storage/files/frame-keys.ts'
import { asked } from '../../storage/images/asked.ts'
import { type Bench, row } from './bench.ts'

const CHUNK_BYTES = 256 * 1024
/** At 2.8:1, as file systems compress. */
const FRAME_BYTES = Math.round(CHUNK_BYTES / 2.8)
const MIB = 1024 ** 2
const BATCH = 32
const AT_ONCE = 16

type Frame = { readonly id: ChunkId; readonly frame: Uint8Array; readonly chunkBytes: number }
type Took = { readonly ms: number; readonly cpuMs: number }

export const storeEncryption: Bench = async ({ quick, say }) => {
  const frames = Array.from({ length: quick ? 1_000 : 8_000 }, (_, n): Frame => {
    return { id: hash('sha256', String(n)), frame: randomBytes(FRAME_BYTES), chunkBytes: CHUNK_BYTES }
  })
  const mib = (frames.length * FRAME_BYTES) / MIB
  const kinds: [what: string, keys: FrameKeys][] = [
    ['as they are', NO_KEYS],
    ['encrypted', frameKeys([frameKeyOf(randomBytes(32))])],
  ]
  const best = new Map<string, Took>()
  for (let round = 0; round < (quick ? 2 : 4); round++)
    for (const [what, keys] of kinds)
      for (const [does, took] of Object.entries(await once(keys, frames))) {
        const name = `${does}, ${what}`
        const known = best.get(name)
        if (known === undefined || took.cpuMs < known.cpuMs) best.set(name, took)
        say(`${name}: ${(mib / (took.ms / 1_000)).toFixed(0)} MiB/s, ${(took.cpuMs / mib).toFixed(2)} ms/MiB`)
      }
  const rows = [...best].flatMap(([name, { ms, cpuMs }]) => [
    row({
      case: name,
      metric: 'frames_mib_per_s',
      value: mib / (ms / 1_000),
      unit: 'MiB/s',
      better: 'higher',
    }),
    row({ case: name, metric: 'cpu_ms_per_mib', value: cpuMs / mib, unit: 'ms/MiB', better: 'lower' }),
  ])
  return {
    rows,
    note: `${mib.toFixed(0)} MiB of frames of ${FRAME_BYTES} bytes, in the page cache; the best round by CPU`,
  }
}

async function once(keys: FrameKeys, frames: readonly Frame[]): Promise<{ written: Took; read: Took }> {
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  const opened = await openChunkStore(folder, { keys })
  if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
  const store = opened.value
  try {
    const written = await timed(async () => {
      for (let at = 0; at < frames.length; at += BATCH)
        await asked<void>((done) => store.put(frames.slice(at, at + BATCH), done))
    })
    await asked<void>((done) => store.sync(done))
    const read = await timed(async () => {
      let next = 0
      const reader = async (): Promise<void> => {
        for (let frame = frames[next++]; frame !== undefined; frame = frames[next++]) {
          const { id } = frame
          giveBack(await asked<Uint8Array>((done) => store.read(id, done)))
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, reader))
    })
    return { written, read }
  } finally {
    await store.close()
    await rm(folder, { recursive: true })
  }
}

async function timed(run: () => Promise<void>): Promise<Took> {
  const [startedMs, before] = [performance.now(), process.cpuUsage()]
  await run()
  const { user, system } = process.cpuUsage(before)
  return { ms: performance.now() - startedMs, cpuMs: (user + system) / 1_000 }
}

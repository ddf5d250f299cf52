import { randomBytes } from 'node:crypto'
import { zstdDecompressSync } from 'node:zlib'
import test from 'ava'
import { chunkIdOf } from '../../storage/images/chunk-content.ts'
import { inWorker, withWorker, WORKERS } from '../../storage/files/pack-pool.ts'

test('more work than workers waits its turn, and each has its own answer', async (t) => {
  const jobs = Array.from({ length: WORKERS * 3 }, () => randomBytes(64 * 1024))
  const frames = await Promise.all(
    jobs.map((content) => inWorker('seal', { id: chunkIdOf(content), content })),
  )
  for (const [i, [frame]] of frames.entries())
    t.true(zstdDecompressSync(frame as Uint8Array).equals(jobs[i] as Uint8Array))
})

test('a task that fails says why, and the worker goes on', async (t) => {
  await withWorker(async (ask) => {
    const scan = { chunks: [{ position: 0, length: 1 }], from: 9_999, fingerprints: false }
    await t.throwsAsync(ask('scan', scan), { code: 'EBADF' })
    const { hashes } = await ask('scan', { ...scan, from: Uint8Array.of(0) })
    t.deepEqual(Buffer.from(hashes), Buffer.alloc(32))
  })
})

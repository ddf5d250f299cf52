import { randomBytes } from 'node:crypto'
import { zstdDecompressSync } from 'node:zlib'
import test from 'ava'
import { inWorker, withWorker, WORKERS } from '../../storage/files/pack-pool.ts'

test('a worker compresses with a dictionary, and more work than workers waits its turn', async (t) => {
  const dictionary = randomBytes(64 * 1024)
  const jobs = Array.from({ length: WORKERS * 3 }, (_, i) => dictionary.subarray(i * 1024))
  const frames = await Promise.all(
    jobs.map((content) => inWorker('compress', { content, level: 3, dictionary })),
  )
  for (const [i, frame] of frames.entries()) {
    t.true(frame.length < 1024, 'the dictionary has it')
    t.true(zstdDecompressSync(frame, { dictionary }).equals(jobs[i] as Uint8Array))
  }
})

test('a task that fails says why, and the worker goes on', async (t) => {
  await withWorker(async (ask) => {
    const scan = { chunks: [{ position: 0, length: 1 }], from: 9_999, fingerprints: false }
    await t.throwsAsync(ask('scan', scan), { code: 'EBADF' })
    const { hashes } = await ask('scan', { ...scan, from: Uint8Array.of(0) })
    t.deepEqual(Buffer.from(hashes), Buffer.alloc(32))
  })
})

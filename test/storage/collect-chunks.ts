/**
 * Run by collect.test.ts until it is killed: writes chunks from a number on, tells its parent up to which they are synced, and
 * collects all but every third while it writes on.
 */
import { ok } from '../../protocols/outcome.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { frameKeyOf, frameKeys } from '../../storage/files/frame-keys.ts'
import { asked } from '../../storage/images/asked.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { Collected } from '../../storage/images/chunk-store.ts'
import { chunk } from '../contracts/chunk.ts'

const [, , folder = '', from = '0', life = '0'] = process.argv
// Every other life writes another way, and collects what the one before has written.
const keys = frameKeys([frameKeyOf(Buffer.alloc(32, 1))], Number(life) % 2 === 1)
const opened = await openChunkStore(folder, { segmentBytesMax: 3_000, keys })
if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
const store = opened.value
const write = (n: number): Promise<void> =>
  asked((done) => store.write(chunk(n).id, chunk(n).frame, 4096, done))

for (let at = Number(from); ; at += 30) {
  for (let n = at; n < at + 30; n++) await write(n)
  await asked<void>((done) => store.sync(done))
  process.send?.({ synced: at + 30 })
  const marked = new ChunkNames()
  for (let n = 0; n < at + 30; n += 3) marked.add(chunk(n).id)
  process.send?.({ collecting: true })
  const collected = asked<Collected>((done) =>
    store.collect(
      { mark: (marks) => marks(ok(marked)), liveMax: 1, bytesPerSecondMax: 1e9, renew: true },
      done,
    ),
  )
  // Unsynced, so that there is a tail to lose; the next round writes them again.
  for (let n = at + 30; n < at + 40; n++) await write(n)
  await collected
}

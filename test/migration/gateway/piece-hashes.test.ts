import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { PieceHashes } from '../../../migration/gateway/piece-hashes.ts'
import { pieceBytesFor } from '../../../migration/torrent/metainfo.ts'
import { CHUNK_BYTES } from '../../../protocols/limits.ts'
import { asked } from '../../../storage/images/asked.ts'
import { content, open } from './support.ts'

// Holes, a hole at the end, and a last piece that is short.
const raw = Buffer.concat([content(5_000_192, 3), Buffer.alloc(700_416)])

test('pieces that are hashed while an image is imported are those of its bytes', async (t) => {
  const { folder, gateway, image } = await open(t)
  const path = join(folder, 'disk.raw')
  await writeFile(path, raw)
  const manifest = await image(path)
  const expected = Buffer.concat(
    Array.from({ length: Math.ceil(raw.length / CHUNK_BYTES) }, (_, i) =>
      createHash('sha1')
        .update(raw.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES))
        .digest(),
    ),
  )
  const published = join(folder, 'gateway', 'published')
  const held = await PieceHashes.open(published, [manifest.image])
  t.is(pieceBytesFor(raw.length), CHUNK_BYTES)
  t.true(expected.equals((await held.of(manifest, CHUNK_BYTES)) ?? Buffer.alloc(0)))

  // And those that are made of what is in the chunk store are the same.
  const none = await PieceHashes.open(published, [])
  t.is(await none.of(manifest, CHUNK_BYTES), undefined)
  const made = await asked<Uint8Array>((done) => gateway.hash(manifest, CHUNK_BYTES, () => {}, done))
  t.true(expected.equals(made))
})

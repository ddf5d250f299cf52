/** A disk image as a peer holds it: its manifest, its block list, its sketch, and its chunks. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { ChunkId } from '../../../protocols/ids.ts'
import { CHUNK_BYTES } from '../../../protocols/limits.ts'
import { chunkIdOf } from '../../../storage/images/chunk-content.ts'
import { fingerprintsOf } from '../../../storage/images/fingerprint.ts'
import { buildManifest, chunkCount, HASH_BYTES, type Manifest } from '../../../storage/images/manifest.ts'
import { type Sketch, sketchOf } from '../../../storage/images/sketch.ts'

export type Image = {
  readonly path: string
  readonly manifest: Manifest
  /** Indexes of the chunks that are not of zeros: the `n`-th block of the list is one of the (n / 64)-th's. */
  readonly content: readonly number[]
  readonly ordinals: ReadonlyMap<number, number>
  readonly ids: ReadonlyMap<number, ChunkId>
  readonly list: Uint8Array
  readonly sketch: Sketch
  read(index: number): Uint8Array
  close(): void
}

const ZEROS = Buffer.alloc(CHUNK_BYTES)

export function openImage(path: string): Image {
  const file = openSync(path, 'r')
  const bytes = fstatSync(file).size
  const disk = { bytes, chunkBytes: CHUNK_BYTES }
  const read = (index: number): Buffer => {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES))
    readSync(file, chunk, 0, chunk.length, index * CHUNK_BYTES)
    return chunk
  }
  const hashes = Buffer.alloc(chunkCount(disk) * HASH_BYTES)
  const content: number[] = []
  const ids = new Map<number, ChunkId>()
  const lists: Uint8Array[] = []
  for (let index = 0; index < chunkCount(disk); index++) {
    const chunk = read(index)
    if (chunk.compare(ZEROS, 0, chunk.length) === 0) continue
    const id = chunkIdOf(chunk)
    hashes.write(id, index * HASH_BYTES, 'hex')
    content.push(index)
    ids.set(index, id)
    lists.push(fingerprintsOf(chunk))
  }
  const manifest = buildManifest(bytes, CHUNK_BYTES, hashes)
  const fingerprints = Buffer.concat(lists)
  const sketch = sketchOf(fingerprints)
  const ordinals = new Map(content.map((index, ordinal) => [index, ordinal]))
  return {
    path,
    manifest,
    content,
    ordinals,
    ids,
    list: fingerprints,
    sketch,
    read,
    close: () => closeSync(file),
  }
}

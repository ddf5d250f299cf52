/** Chunks for tests, told apart by a number. */
import { hash } from 'node:crypto'
import type { ChunkId } from '../../protocols/ids.ts'
import { pack } from '../../storage/images/chunk-content.ts'

export type Chunk = { readonly id: ChunkId; readonly content: Uint8Array; readonly frame: Uint8Array }

/** Chunk `n`, the same every time. */
export function chunk(n: number, bytes = 4096): Chunk {
  const word = hash('sha256', String(n), 'buffer')
  const content = Buffer.concat([Buffer.alloc(bytes / 2, word), Buffer.alloc(bytes / 2, n % 256)])
  return { id: hash('sha256', content), content, frame: pack(content) }
}

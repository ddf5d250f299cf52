/**
 * Port: chunks in the bases that guests' disks lie on. Such a file is an image, written out once and never changed, and holds its
 * chunks whatever becomes of the store's. It is nobody's copy to count on: it goes with the last disk on it, and nobody scrubs it.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { ChunkStore } from './chunk-store.ts'

export type Bases = {
  /** Bytes of the content of each of `ids` as a base should hold it, in their order; 0 for none. */
  find(ids: readonly ChunkId[], done: Done<number[]>): void
  /** A frame of it as a store would have it; CHUNK_MISSING when no base has that content after all. */
  read(id: ChunkId, done: Done<Uint8Array>): void
}

/** Chunks of bases that are packed to tell how large the frames of many would be. */
const WEIGHED = 16

/** A chunk store that also gives what bases hold: for those who serve, not for those who keep. */
export function withBases(chunks: ChunkStore, bases: Bases): ChunkStore {
  return {
    ...portOf(chunks),
    has: (ids, done) =>
      chunks.has(ids, (held) => {
        if (!held.ok || !held.value.includes(false)) return done(held)
        const absent = ids.filter((_, at) => held.value[at] === false)
        bases.find(absent, (found) => {
          if (!found.ok) return done(held)
          let next = 0
          done(ok(held.value.map((has) => has || (found.value[next++] ?? 0) > 0)))
        })
      }),
    sizes: (ids, done) =>
      chunks.sizes(ids, (sizes) => {
        if (!sizes.ok || !sizes.value.includes(0)) return done(sizes)
        const absent = ids.filter((_, at) => sizes.value[at] === 0)
        weigh(bases, absent, (weighed) => {
          if (!weighed.ok) return done(sizes)
          let next = 0
          done(ok(sizes.value.map((size) => (size > 0 ? size : (weighed.value[next++] ?? 0)))))
        })
      }),
    read: (id, done) =>
      chunks.read(id, (frame) => {
        if (frame.ok) return done(frame)
        const { code } = frame.failure
        if (code !== 'CHUNK_MISSING' && code !== 'CHUNK_CORRUPT') return done(frame)
        bases.read(id, (packed) => done(packed.ok ? packed : failed(frame.failure)))
      }),
  }
}

/** Its methods, which a spread of an object of a class would leave behind. */
const portOf = (chunks: ChunkStore): ChunkStore => ({
  has: (ids, done) => chunks.has(ids, done),
  sizes: (ids, done) => chunks.sizes(ids, done),
  read: (id, done) => chunks.read(id, done),
  write: (id, frame, chunkBytes, done) => chunks.write(id, frame, chunkBytes, done),
  put: (packed, done) => chunks.put(packed, done),
  sync: (done) => chunks.sync(done),
  hold: () => chunks.hold(),
  bytes: () => chunks.bytes(),
  collect: (collection, done) => chunks.collect(collection, done),
  scrub: (scrub, done) => chunks.scrub(scrub, done),
})

/** What frames of these would take: of a few it is tried, the others are taken to be alike. */
function weigh(bases: Bases, ids: readonly ChunkId[], done: Done<number[]>): void {
  bases.find(ids, (found) => {
    if (!found.ok) return done(found)
    const there = ids.flatMap((id, at) =>
      (found.value[at] ?? 0) > 0 ? [{ id, bytes: found.value[at] ?? 0 }] : [],
    )
    const tried = there.filter((_, at) => at % Math.ceil(there.length / WEIGHED) === 0)
    const sum = { content: 0, frames: 0 }
    let waiting = tried.length
    const end = (): void => {
      const part = sum.content === 0 ? 0 : sum.frames / sum.content
      done(ok(found.value.map((bytes) => Math.ceil(bytes * part))))
    }
    if (waiting === 0) return end()
    for (const { id, bytes } of tried)
      bases.read(id, (frame) => {
        if (frame.ok) sum.content += bytes
        if (frame.ok) sum.frames += frame.value.length
        if (--waiting === 0) end()
      })
  })
}

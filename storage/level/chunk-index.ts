/**
 * Which segment holds a chunk: id (32 bytes) -> u32 segment, offset, frameBytes, chunkBytes. With it stands a
 * checkpoint: every frame before that position is in the index, and was on disk before it was; what lies past it is found
 * by reading the segments. So the index may be lost at any time: it is made anew from the segments.
 */
import type { ChunkId } from '../../protocols/ids.ts'
import { ok, type Outcome } from '../../protocols/outcome.ts'
import type { Place, Position } from '../files/segment-frame.ts'
import { openDatabase, type Change, type Database } from './database.ts'

export type ChunkIndex = {
  readonly checkpoint: Position
  has(ids: readonly ChunkId[]): Promise<boolean[]>
  get(id: ChunkId): Promise<Place | undefined>
  /** Of each, in their order. */
  places(ids: readonly ChunkId[]): Promise<(Place | undefined)[]>
  /** Synced. One call that changes anything at a time. @throws GodwitError DISK_FULL, IO */
  add(places: ReadonlyMap<ChunkId, Place>, checkpoint: Position): Promise<void>
  /** Of a few thousand at most. A power cut undoes it unless it is `synced`. */
  drop(ids: readonly ChunkId[], synced: boolean): Promise<void>
  /** The first `count` chunks past an id in their order, from the first one past ''; fewer only at the end. */
  page(past: ChunkId | '', count: number): Promise<(readonly [ChunkId, Place])[]>
  /** How far the store was scrubbed: up to this chunk. A power cut may take it back. */
  scrubbed(): Promise<ChunkId | ''>
  setScrubbed(upTo: ChunkId | ''): Promise<void>
  /** From now on versions that know of no encrypted frames do not open the folder. */
  markEncrypted(): Promise<void>
  close(): Promise<void>
}

/** 2: segments may hold encrypted frames; the index is the same. */
const VERSION = 2
const VERSION_PLAIN = 1
// Shorter than any chunk's key, so they cannot meet.
const VERSION_KEY = Buffer.from('format')
const CHECKPOINT_KEY = Buffer.from('checkpoint')
const SCRUBBED_KEY = Buffer.from('scrubbed')
const OWN_KEYS = 3
const KEY_BYTES = 32
/** Keys of one look-up, so that none keeps a thread of the pool for more than some 10 ms. */
const KEYS_MAX = 4_096

export async function openChunkIndex(folder: string): Promise<Outcome<ChunkIndex>> {
  const opened = await openDatabase<Uint8Array>(folder, {
    keyEncoding: 'view',
    versionKey: VERSION_KEY,
    version: VERSION,
    created: VERSION_PLAIN,
  })
  if (!opened.ok) return opened
  const [found] = await opened.value.getMany([CHECKPOINT_KEY])
  return ok(indexOn(opened.value, found === undefined ? { segment: 0, offset: 0 } : decode(found)))
}

function indexOn(database: Database<Uint8Array>, checkpoint: Position): ChunkIndex {
  const places = batched((ids: readonly ChunkId[]) => database.getMany(ids.map(keyOf)))
  return {
    checkpoint,
    async has(ids) {
      const held: boolean[] = []
      for (let at = 0; at < ids.length; at += KEYS_MAX)
        held.push(...(await database.hasMany(ids.slice(at, at + KEYS_MAX).map(keyOf))))
      return held
    },
    async get(id) {
      const found = await places(id)
      return found === undefined ? undefined : decode(found)
    },
    async places(ids) {
      const found: (Place | undefined)[] = []
      for (let at = 0; at < ids.length; at += KEYS_MAX)
        for (const value of await database.getMany(ids.slice(at, at + KEYS_MAX).map(keyOf)))
          found.push(value === undefined ? undefined : decode(value))
      return found
    },
    async add(places, checkpoint) {
      const changes: Change<Uint8Array>[] = []
      for (const [id, place] of places) changes.push({ type: 'put', key: keyOf(id), value: encode(place) })
      const value = encode({ ...checkpoint, frameBytes: 0, chunkBytes: 0 })
      await database.batch([...changes, { type: 'put', key: CHECKPOINT_KEY, value }], true)
    },
    drop: (ids, synced) =>
      database.batch(
        ids.map((id) => ({ type: 'del', key: keyOf(id) })),
        synced,
      ),
    async page(past, count) {
      // A key of one 0 comes before that of any chunk.
      const entries = await database.page(past === '' ? Buffer.alloc(1) : keyOf(past), count + OWN_KEYS)
      return entries
        .filter(([key]) => key.length === KEY_BYTES)
        .slice(0, count)
        .map(([key, value]) => [idOf(key), decode(value)])
    },
    async scrubbed() {
      const [found] = await database.getMany([SCRUBBED_KEY])
      return found?.length === KEY_BYTES ? idOf(found) : ''
    },
    setScrubbed: (upTo) => database.batch([{ type: 'put', key: SCRUBBED_KEY, value: keyOf(upTo) }], false),
    async markEncrypted() {
      const value = Buffer.from(String(VERSION))
      await database.batch([{ type: 'put', key: VERSION_KEY, value }], true)
    },
    close: () => database.close(),
  }
}

/**
 * What is asked while others are being looked up goes together in the next look-up: one costs 0.1 ms of the main thread and
 * a change of threads, whether it is for one key or for a hundred.
 */
function batched<K, V>(look: (keys: readonly K[]) => Promise<V[]>): (key: K) => Promise<V> {
  type Asked = { key: K; resolve: (value: V) => void; reject: (error: unknown) => void }
  const waiting: Asked[] = []
  let looking = false
  const run = async (): Promise<void> => {
    looking = true
    // What is asked in this turn, too.
    await Promise.resolve()
    while (waiting.length > 0) {
      const batch = waiting.splice(0, KEYS_MAX)
      try {
        const values = await look(batch.map(({ key }) => key))
        batch.forEach(({ resolve }, i) => resolve(values[i] as V))
      } catch (error) {
        batch.forEach(({ reject }) => reject(error))
      }
    }
    looking = false
  }
  return (key) =>
    new Promise((resolve, reject) => {
      waiting.push({ key, resolve, reject })
      if (!looking) void run()
    })
}

const keyOf = (id: ChunkId): Buffer => Buffer.from(id, 'hex')
const idOf = (key: Uint8Array): ChunkId => Buffer.from(key).toString('hex')

function encode({ segment, offset, frameBytes, chunkBytes }: Place): Buffer {
  const value = Buffer.alloc(16)
  for (const [i, number] of [segment, offset, frameBytes, chunkBytes].entries())
    value.writeUInt32BE(number, i * 4)
  return value
}

function decode(value: Uint8Array): Place {
  const view = Buffer.from(value.buffer, value.byteOffset, value.length)
  const [segment = 0, offset = 0, frameBytes = 0, chunkBytes = 0] = [0, 4, 8, 12].map((at) =>
    view.readUInt32BE(at),
  )
  return { segment, offset, frameBytes, chunkBytes }
}

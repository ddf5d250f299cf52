/**
 * Nothing that is referred to is ever lost, whatever is written, held, collected and cut short, in whatever order; and what
 * nothing refers to goes. By a model (properties), and by processes that are really killed.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cp, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { fc, testProp } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import type { ChunkId } from '../../protocols/ids.ts'
import { type Done, ok, type Outcome } from '../../protocols/outcome.ts'
import { SimChunkStore } from '../../simulator/chunk-store.ts'
import { World } from '../../simulator/world.ts'
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { frameKeyOf, frameKeys } from '../../storage/files/frame-keys.ts'
import { ChunkNames } from '../../storage/images/chunk-names.ts'
import type { ChunkStore, Collected } from '../../storage/images/chunk-store.ts'
import type { Hold } from '../../storage/images/holds.ts'
import { openChunkIndex } from '../../storage/level/chunk-index.ts'
import { chunk, type Chunk } from '../contracts/chunk.ts'
import { outcomeOf, worldUntil } from '../contracts/until.ts'
import { folderOf } from './folder.ts'

const CHUNKS = 24
const chunks: readonly Chunk[] = Array.from({ length: CHUNKS }, (_, n) => chunk(n))
const idOf = (n: number): ChunkId => (chunks[n] as Chunk).id

type Ask = <T>(call: (done: Done<T>) => void) => Promise<Outcome<T>>
/** Without looking every millisecond, as `realUntil` does: a run asks thousands of times. */
const promised: Ask = (call) => new Promise((resolve) => call(resolve))

type Life = {
  readonly store: ChunkStore
  /** What a call of the store comes to. */
  readonly ask: Ask
  /** The next life after a power cut: what was not synced may be gone. */
  cut(): Promise<Life>
  close(): Promise<void>
}

const n = fc.integer({ min: 0, max: CHUNKS - 1 })
const some = fc.uniqueArray(n, { maxLength: 8 })
const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('write' as const), chunks: some }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('refer' as const), chunks: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unrefer' as const), chunks: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hold' as const), chunks: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('collect' as const),
      liveMax: fc.constantFrom(0.3, 0.7, 1),
      /** Written, and asked for, while it runs. */
      writes: some,
      asks: some,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const) }) },
)
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never

/** Runs the commands on a store and on the model beside it. */
async function play(t: ExecutionContext, first: Life, commands: readonly Command[]): Promise<void> {
  let life = first
  /** What manifests name: all of it is held and synced. */
  const referred = new Set<number>()
  /** Held for something in hand, by hold. */
  let holds: { hold: Hold; seen: Set<number> }[] = []

  const value = async <T>(outcome: Promise<Outcome<T>>): Promise<T> => {
    const settled = await outcome
    if (!settled.ok) throw new Error(JSON.stringify(settled.failure))
    return settled.value
  }
  const has = async (ns: readonly number[]): Promise<number[]> => {
    const held = await value(life.ask<boolean[]>((done) => life.store.has(ns.map(idOf), done)))
    return ns.filter((_, i) => held[i] === true)
  }
  const write = async (ns: readonly number[]): Promise<void> => {
    const each = (at: number): Promise<Outcome<void>> =>
      life.ask((done) =>
        life.store.write(idOf(at), (chunks[at] as Chunk).frame, (chunks[at] as Chunk).content.length, done),
      )
    await Promise.all(ns.map((at) => value(each(at))))
  }
  const sync = (): Promise<void> => value(life.ask<void>((done) => life.store.sync(done)))
  const mark = (): ChunkNames => {
    const marked = new ChunkNames()
    for (const at of referred) marked.add(idOf(at))
    return marked
  }
  const collect = (liveMax: number, meanwhile: () => void = () => {}): Promise<Collected> =>
    value(
      life.ask<Collected>((done) =>
        life.store.collect(
          {
            mark: (marked) => {
              const set = mark()
              meanwhile()
              marked(ok(set))
            },
            liveMax,
            bytesPerSecondMax: 1e9,
          },
          done,
        ),
      ),
    )
  const checked = async (wanted: Iterable<number>, what: string): Promise<void> => {
    for (const at of wanted) {
      const outcome = await life.ask<Uint8Array>((done) => life.store.read(idOf(at), done))
      t.true(outcome.ok && Buffer.from((chunks[at] as Chunk).frame).equals(outcome.value), `${what}: ${at}`)
    }
  }

  for (const each of commands) {
    switch (each.do) {
      case 'write':
        await write(each.chunks)
        break
      case 'refer': {
        // As an ingest does it: held from the first question to the last.
        const hold = life.store.hold()
        const held = await has(each.chunks)
        await write(each.chunks.filter((at) => !held.includes(at)))
        await sync()
        for (const at of each.chunks) referred.add(at)
        hold.release()
        break
      }
      case 'unrefer':
        for (const at of each.chunks) referred.delete(at)
        break
      case 'hold':
        holds.push({ hold: life.store.hold(), seen: new Set(await has(each.chunks)) })
        break
      case 'release':
        holds.shift()?.hold.release()
        break
      case 'collect': {
        const seen = new Set<number>()
        const hold = life.store.hold()
        const hands: Promise<void>[] = []
        await collect(each.liveMax, () => {
          hands.push(write(each.writes).then(() => each.writes.forEach((at) => seen.add(at))))
          hands.push(has(each.asks).then((held) => held.forEach((at) => seen.add(at))))
        })
        await Promise.all(hands)
        await checked(seen, 'seen while it ran')
        hold.release()
        break
      }
      case 'cut':
        life = await life.cut()
        holds = []
        break
    }
    await checked(referred, `referred to, after ${each.do}`)
    for (const { seen } of holds) await checked(seen, `held, after ${each.do}`)
    await checked(await has(chunks.map((_, at) => at)), 'said to be held')
  }
  for (const { hold } of holds) hold.release()
  await collect(1)
  t.deepEqual(
    await has(chunks.map((_, at) => at)),
    [...referred].sort((a, b) => a - b),
    'in the end exactly what is referred to',
  )
  await life.close()
}

const segmentsIn = async (folder: string): Promise<string[]> =>
  (await readdir(join(folder, 'segments'))).sort().map((name) => join(folder, 'segments', name))

/** Takes away what was not synced, from some byte on: the index says up to where it was. */
async function loseTail(folder: string, share: number): Promise<void> {
  const index = await openChunkIndex(join(folder, 'index'))
  if (!index.ok) throw new Error(JSON.stringify(index.failure))
  const { segment, offset } = index.value.checkpoint
  await index.value.close()
  const last = (await segmentsIn(folder)).at(-1)
  if (last === undefined) return
  const number = Number(last.slice(-16, -8))
  const from = number > segment ? 0 : number === segment ? offset : Infinity
  const { size } = await stat(last)
  if (from < size) await truncate(last, from + Math.floor((size - from) * share))
}

/** As collect-chunks.ts has them. */
const KEYS = frameKeys([frameKeyOf(Buffer.alloc(32, 1))])

let copies = 0
/** A life on real files. The cut is a copy of the folder as a killed process leaves it, less some of what was not synced. */
async function onFiles(folder: string): Promise<Life> {
  // Some lives write encrypted, some do not: each reads what the others have written.
  const keys = copies % 3 === 1 ? KEYS : frameKeys([...KEYS.byId.values()], false)
  const opened = await openChunkStore(folder, { segmentBytesMax: 700, keys })
  if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
  const store = opened.value
  return {
    store,
    ask: promised,
    close: () => store.close(),
    async cut() {
      const next = `${folder.replace(/-\d+$/, '')}-${++copies}`
      await cp(folder, next, { recursive: true })
      await store.close()
      await rm(folder, { recursive: true })
      await loseTail(next, (copies % 7) / 7)
      return onFiles(next)
    },
  }
}

function inWorld(world: World, store: SimChunkStore): Life {
  return {
    store,
    ask: (call) => outcomeOf(worldUntil(world), call),
    close: async () => {},
    cut: async () => {
      store.crash()
      return inWorld(world, store.reopen())
    },
  }
}

testProp(
  'on files: what is referred to stays, the rest goes',
  [fc.array(command, { maxLength: 14 })],
  async (t, commands) => {
    const folder = await folderOf(t)
    await play(t, await onFiles(join(folder, 'store')), commands)
  },
  { numRuns: 40 },
)

testProp(
  'in the simulator: what is referred to stays, the rest goes',
  [fc.array(command, { maxLength: 20 }), fc.integer({ min: 1, max: 1_000_000 })],
  async (t, commands, seed) => {
    const world = new World(seed)
    await play(t, inWorld(world, new SimChunkStore(world, 'a')), commands)
  },
  { numRuns: 40 },
)

test('killed at any moment of a collection, and with its unsynced tail lost, a store keeps what it must', async (t) => {
  const folder = await folderOf(t)
  let from = 0
  let collections = 0
  for (let life = 0; life < 5; life++) {
    const child = fork(join(import.meta.dirname, 'collect-chunks.ts'), [folder, String(from), String(life)])
    child.on('message', (told: { synced?: number; collecting?: true }) => {
      if (told.synced !== undefined) from = told.synced
      if (told.collecting !== true) return
      // Each life dies a little later in a collection.
      if (++collections % 3 === 0) setTimeout(() => child.kill('SIGKILL'), life * 5)
    })
    await once(child, 'exit', { signal: AbortSignal.timeout(30_000) })
    t.is(child.signalCode, 'SIGKILL')
    await loseTail(folder, life / 5)
    const opened = await openChunkStore(folder, { segmentBytesMax: 3_000, keys: KEYS })
    if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
    const store = opened.value
    const ids = Array.from({ length: from }, (_, at) => chunk(at).id)
    const held = await promised<boolean[]>((done) => store.has(ids, done))
    if (!held.ok) throw new Error(JSON.stringify(held.failure))
    for (const [at, id] of ids.entries()) {
      if (at % 3 === 0) t.true(held.value[at], `chunk ${at} of ${from} is lost in life ${life}`)
      if (held.value[at] !== true) continue
      const outcome = await promised<Uint8Array>((done) => store.read(id, done))
      t.true(outcome.ok, `chunk ${at} is said to be held`)
    }
    await store.close()
  }
  t.true(collections >= 15)
})

test('a header that the disk has changed costs its frame alone when its segment is collected', async (t) => {
  const folder = await folderOf(t)
  const opened = await openChunkStore(folder, { segmentBytesMax: 1_000_000 })
  if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
  const store = opened.value
  t.teardown(() => store.close())
  for (const { id, frame, content } of chunks.slice(0, 6))
    await promised<void>((done) => store.write(id, frame, content.length, done))
  const [path = ''] = await segmentsIn(folder)
  const file = await open(path, 'r+')
  // The second frame's length is nonsense: nobody can step over it.
  await file.write(Buffer.alloc(4, 255), 0, 4, 52 + (chunks[0] as Chunk).frame.length + 12)
  await file.close()
  const marked = new ChunkNames()
  for (const { id } of chunks.slice(0, 5)) marked.add(id)
  const collection = {
    mark: (done: (set: Outcome<ChunkNames>) => void) => done(ok(marked)),
    liveMax: 1,
    bytesPerSecondMax: 1e9,
  }
  t.true((await promised<Collected>((done) => store.collect(collection, done))).ok)
  const ids = chunks.slice(0, 6).map(({ id }) => id)
  t.deepEqual(await promised<boolean[]>((done) => store.has(ids, done)), {
    ok: true,
    value: [true, false, true, true, true, false],
  })
  t.deepEqual(await segmentsIn(folder), [join(folder, 'segments', '00000002.segment')])
})

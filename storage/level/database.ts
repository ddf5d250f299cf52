/**
 * A LevelDB folder as the store and the chunk index use it: versioned, locked, and usable again after a write failed.
 *
 * LevelDB does not survive a full disk by itself: bytes of the failed record stay in its write buffer or are lost in the
 * middle of its log, so that what is acknowledged later may be gone after a restart, and what failed may be there.
 * Hence after a failed batch nothing is written before the folder has been opened anew and the keys of that batch hold
 * what they held before. Until there is room for that, reads go on and writes fail.
 */
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import { failureOf, GodwitError, type Failure } from '../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'

export type Key = string | Uint8Array
export type Change<K extends Key> =
  | { readonly type: 'put'; readonly key: K; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: K }

export type Database<K extends Key> = {
  entries(): AsyncIterable<readonly [K, Uint8Array]>
  /** Keys in [gte, lt), in order. */
  keys(range: { readonly gte: K; readonly lt: K }): Promise<K[]>
  /** The first `limit` entries past a key, in order. */
  page(gt: K, limit: number): Promise<(readonly [K, Uint8Array])[]>
  getMany(keys: readonly K[]): Promise<(Uint8Array | undefined)[]>
  hasMany(keys: readonly K[]): Promise<boolean[]>
  /** All or nothing, one call at a time. @throws GodwitError DISK_FULL, IO */
  batch(changes: readonly Change<K>[], sync: boolean): Promise<void>
  close(): Promise<void>
}

export type Layout<K extends Key> = {
  readonly keyEncoding: K extends string ? 'utf8' : 'view'
  /** Where the version of the folder's format stands. */
  readonly versionKey: K
  readonly version: number
  /** What a new folder is marked as, where older versions may still open it. */
  readonly created?: number
}

/** LevelDB's memtable and log before it makes a table of them. Its default is enough: our batches are small. */
const WRITE_BUFFER_BYTES = 4 * 1024 * 1024
/** LevelDB's cache of blocks that were read. Its default is 8 MiB, of a peer's 150. */
const CACHE_BYTES = 2 * 1024 * 1024
/** Room that opening anew may need: the log as a table, a new log, a new list of files. */
const REOPEN_BYTES = WRITE_BUFFER_BYTES * 2
/** The file that proves it. A crash may leave it; LevelDB takes no notice of it. */
const ROOM = 'room'

/** DATA_LOCKED, DATA_NEWER, DATA_CORRUPT, DISK_FULL or IO when the folder cannot be opened. */
export async function openDatabase<K extends Key>(
  folder: string,
  layout: Layout<K>,
): Promise<Outcome<Database<K>>> {
  const level = newLevel(folder, layout)
  try {
    await level.open()
    await rm(join(folder, ROOM), { force: true })
    await checkVersion(level, folder, layout)
    return ok(databaseOn(level, folder, layout))
  } catch (error) {
    await level.close()
    return failed(levelFailure(error, folder))
  }
}

const newLevel = <K extends Key>(folder: string, { keyEncoding }: Layout<K>): Level<K, Uint8Array> =>
  new Level<K, Uint8Array>(folder, {
    keyEncoding,
    valueEncoding: 'view',
    writeBufferSize: WRITE_BUFFER_BYTES,
    cacheSize: CACHE_BYTES,
  })

async function checkVersion<K extends Key>(
  level: Level<K, Uint8Array>,
  folder: string,
  { versionKey, version, created = version }: Layout<K>,
): Promise<void> {
  const found: Uint8Array | undefined = await level.get(versionKey)
  if (found === undefined) {
    const some = await level.keys({ limit: 1 }).all()
    if (some.length > 0) throw corrupt(folder, 'it has records but no format version')
    return level.put(versionKey, Buffer.from(String(created)), { sync: true })
  }
  const number = Number(Buffer.from(found).toString())
  if (!Number.isInteger(number) || number < 1) throw corrupt(folder, 'its format version is no number')
  if (number > version)
    throw new GodwitError({ code: 'DATA_NEWER', folder, version: number, supported: version })
}

const corrupt = (what: string, why: string): GodwitError =>
  new GodwitError({ code: 'DATA_CORRUPT', what, why })

function databaseOn<K extends Key>(
  opened: Level<K, Uint8Array>,
  folder: string,
  layout: Layout<K>,
): Database<K> {
  let level = opened
  /** What the keys of a failed batch held before it; while it is there, nothing else may be written. */
  let undo: Change<K>[] | undefined

  const priorOf = async (changes: readonly Change<K>[]): Promise<Change<K>[]> => {
    const keys = changes.map(({ key }) => key)
    const values: (Uint8Array | undefined)[] = await level.getMany(keys)
    return keys.map((key, i) => {
      const value = values[i]
      return value === undefined ? { type: 'del', key } : { type: 'put', key, value }
    })
  }
  /** Reads wait while the folder is opened anew. */
  let reopening: Promise<void> = Promise.resolve()
  const reopen = async (changes: readonly Change<K>[]): Promise<void> => {
    if (level.status === 'open') {
      await probeRoom(folder)
      await level.close()
    }
    level = newLevel(folder, layout)
    await level.open()
    await level.batch([...changes], { sync: true })
  }
  const guarded = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run()
    } catch (error) {
      throw new GodwitError(levelFailure(error, folder), { cause: error })
    }
  }

  const read = <T>(run: () => Promise<T>): Promise<T> =>
    guarded(async () => {
      await reopening
      return run()
    })

  return {
    entries: () => level.iterator(),
    keys: (range) => read(() => level.keys(range).all()),
    page: (gt, limit) => read(() => level.iterator({ gt, limit }).all()),
    getMany: (keys) => read(() => level.getMany([...keys])),
    hasMany: (keys) => read(() => level.hasMany([...keys])),
    batch: (changes, sync) =>
      guarded(async () => {
        if (undo !== undefined) {
          const reopened = reopen(undo)
          reopening = reopened.catch(() => {})
          await reopened
        }
        undo = undefined
        try {
          await level.batch([...changes], { sync })
        } catch (error) {
          undo = []
          undo = await priorOf(changes)
          throw error
        }
      }),
    close: () => guarded(() => level.close()),
  }
}

/** Throws ENOSPC while there is no room to open LevelDB anew: once closed it could not even be read. */
async function probeRoom(folder: string): Promise<void> {
  const path = join(folder, ROOM)
  const file = await open(path, 'w')
  try {
    const block = Buffer.alloc(1024 * 1024, 1)
    for (let at = 0; at < REOPEN_BYTES; at += block.length) await file.writeFile(block)
    await file.datasync()
  } finally {
    await file.close()
    await rm(path)
  }
}

/** LevelDB tells what happened in an English sentence: these are strerror's words for a full disk. */
const FULL = /No space left on device|Disk quota exceeded/

function levelFailure(error: unknown, folder: string): Failure {
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown }
  if (code === 'LEVEL_DATABASE_NOT_OPEN' && cause !== undefined) return levelFailure(cause, folder)
  if (FULL.test(String(message))) return { code: 'DISK_FULL', path: folder }
  if (code === 'LEVEL_LOCKED') return { code: 'DATA_LOCKED', folder }
  if (code === 'LEVEL_CORRUPTION')
    return { code: 'DATA_CORRUPT', what: folder, why: String(message).slice(0, 300) }
  if (typeof code === 'string' && code.startsWith('LEVEL_'))
    return { code: 'IO', path: folder, why: String(message).slice(0, 300) }
  const failure = failureOf(error)
  // A write to a file that is open fails without the file's name.
  return failure.code === 'DISK_FULL' || failure.code === 'IO' ? { ...failure, path: folder } : failure
}

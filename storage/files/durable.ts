/** Files that appear whole or not at all, and stay after a power cut. */
import { mkdir, open, readdir, rename, unlink, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { failureOf, type Failure } from '../../protocols/errors.ts'

/** What is being written; left-overs of a crash end in this too. */
export const PARTIAL = '.partial'

let serial = 0

/** Fills a new file beside `path` and puts it in its place once it is on disk. Nothing is left when `fill` throws. */
export async function writeWhole<T>(path: string, fill: (file: FileHandle) => Promise<T>): Promise<T> {
  const partial = `${path}.${process.pid}-${++serial}${PARTIAL}`
  try {
    const file = await open(partial, 'wx')
    let value: T
    try {
      value = await fill(file)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
    await syncFolder(dirname(path))
    return value
  } catch (error) {
    await unlink(partial).catch(() => {})
    throw error
  }
}

/** What the files of a folder are named for, by the first group of `named`; those that `isLeft` by a crash are removed. */
export async function namesIn(
  folder: string,
  named: RegExp,
  isLeft: (file: string) => boolean,
): Promise<Set<string>> {
  await mkdir(folder, { recursive: true })
  const names = new Set<string>()
  for (const file of await readdir(folder)) {
    const name = named.exec(file)?.[1]
    if (name !== undefined) names.add(name)
    else if (isLeft(file)) await unlink(join(folder, file))
  }
  return names
}

/** Makes names in a folder last: a file's own fsync does not cover its name. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Errors of open files do not say which file it was. */
export function fileFailure(error: unknown, path: string): Failure {
  const failure = failureOf(error)
  return failure.code === 'DISK_FULL' || failure.code === 'IO' ? { ...failure, path } : failure
}

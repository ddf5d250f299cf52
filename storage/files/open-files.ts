/** Files open for reading, the least recently used closed first: a store of terabytes has thousands of segments. */
import { open, type FileHandle } from 'node:fs/promises'

export type OpenFiles = {
  /** Bytes read into `buffer`: fewer when the file ends, 0 when there is none. */
  read(number: number, buffer: Uint8Array, position: number): Promise<number>
  /** The file is gone: who is reading it reads on, the next one opens it anew. */
  forget(number: number): Promise<void>
  close(): Promise<void>
}

/** Of the 1,024 files that a process may open by default; sixteen segments are 4 GiB of frames. */
const FILES_MAX = 16

type Entry = { readonly file: Promise<FileHandle>; uses: number; forgotten: boolean }

export function openFiles(pathOf: (number: number) => string): OpenFiles {
  const entries = new Map<number, Entry>()

  const closeOldest = async (): Promise<void> => {
    for (const [number, { file, uses }] of entries) {
      if (entries.size <= FILES_MAX) return
      if (uses > 0) continue
      entries.delete(number)
      await (await file).close()
    }
  }
  const opened = (number: number): Entry => {
    const entry = { file: open(pathOf(number), 'r'), uses: 0, forgotten: false }
    entry.file.catch(() => entries.delete(number))
    return entry
  }
  const taken = (number: number): Entry => {
    const entry = entries.get(number) ?? opened(number)
    // The newest use goes to the end.
    entries.delete(number)
    entries.set(number, entry)
    entry.uses++
    return entry
  }

  return {
    async read(number, buffer, position) {
      const entry = taken(number)
      try {
        const { bytesRead } = await (await entry.file).read(buffer, 0, buffer.length, position)
        return bytesRead
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
        throw error
      } finally {
        entry.uses--
        if (entry.forgotten && entry.uses === 0) await closeGone(entry)
        await closeOldest()
      }
    },
    async forget(number) {
      const entry = entries.get(number)
      if (entry === undefined) return
      entries.delete(number)
      entry.forgotten = true
      if (entry.uses === 0) await closeGone(entry)
    },
    async close() {
      for (const { file } of entries.values()) await (await file).close()
      entries.clear()
    },
  }
}

/** What could not be opened need not be closed. */
const closeGone = ({ file }: Entry): Promise<void> =>
  file.then(
    (opened) => opened.close(),
    () => {},
  )

/** Files open for reading, the least recently used closed first: a store of terabytes has thousands of segments. */
import { open, type FileHandle } from 'node:fs/promises'

export type OpenFiles = {
  /** Bytes read into `buffer`: fewer when the file ends, 0 when there is none. */
  read(number: number, buffer: Uint8Array, position: number): Promise<number>
  close(): Promise<void>
}

/** Of the 1,024 files that a process may open by default; sixteen segments are 4 GiB of frames. */
const FILES_MAX = 16

type Entry = { readonly file: Promise<FileHandle>; uses: number }

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
    const entry = { file: open(pathOf(number), 'r'), uses: 0 }
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
        await closeOldest()
      }
    },
    async close() {
      for (const { file } of entries.values()) await (await file).close()
      entries.clear()
    },
  }
}

/** Port: where `raft snapshot save` puts a file. Real: a file that is there whole or not at all, for its owner's eyes. */
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Failure, failureOf } from '../protocols/errors.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'

export type SnapshotFiles = { save(path: string, bytes: Uint8Array, done: Done<void>): void }

/** Specs may hold secrets of guests. */
const MODE = 0o600

export const snapshotFiles = (): SnapshotFiles => ({
  save(path, bytes, done) {
    write(path, bytes).then(
      () => done(ok(undefined)),
      (error: unknown) => done(failed(at(path, failureOf(error)))),
    )
  },
})

/** As the operator typed it: what stands in its place until it is whole is nobody's business. */
const at = (path: string, failure: Failure): Failure =>
  failure.code === 'IO'
    ? { ...failure, path, why: failure.why.split(`, `)[0] ?? failure.why }
    : failure.code === 'DISK_FULL'
      ? { ...failure, path }
      : failure

async function write(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.partial`
  try {
    const file = await open(partial, 'w', MODE)
    try {
      // An old one may have been left for others to read.
      await file.chmod(MODE)
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

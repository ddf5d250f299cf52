import { execFileSync } from 'node:child_process'
import { getuid } from 'node:process'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { folderOf } from './folder.ts'

/** From util-linux, which every Debian has. */
const UNSHARE = 'unshare'

/** Runs a program beside this file on a file system of `megabytes` of its own, which ends with the program. */
async function onSmallDisk(t: ExecutionContext, program: string, megabytes: number): Promise<unknown> {
  const mount = 'mount -t tmpfs -o size="$1" tmpfs "$2" && exec "$3" "$4" "$2"'
  const words = [`${megabytes}m`, await folderOf(t), process.execPath, join(import.meta.dirname, program)]
  const flags = ['-m', '--propagation', 'private', 'sh', '-c', mount, 'sh', ...words]
  return JSON.parse(execFileSync(UNSHARE, flags, { encoding: 'utf8', timeout: 60_000 }))
}

const mayMount = (): boolean => {
  try {
    execFileSync(UNSHARE, ['-m', 'true'], { stdio: 'ignore' })
    return getuid?.() === 0
  } catch {
    return false
  }
}

// Only root may mount; the simulated twins meet a full disk everywhere.
const asRoot = mayMount() ? test : test.skip

asRoot(
  'the store fails on a full disk, keeps what it acknowledged, and goes on with room again',
  async (t) => {
    t.deepEqual(await onSmallDisk(t, 'full-disk-store.ts', 24), {
      refused: Array.from({ length: 5 }, () => 'no room left on the disk of FOLDER/store'),
      after: ['ok', 'ok', 'ok'],
      heldAfter: 6,
      some: true,
      asAcknowledged: true,
    })
  },
)

asRoot('the chunk store fails on a full disk, goes on reading, and writes with room again', async (t) => {
  t.deepEqual(await onSmallDisk(t, 'full-disk-chunks.ts', 24), {
    refused: ['DISK_FULL'],
    some: true,
    whole: true,
    readWhenFull: true,
    after: 'ok',
    synced: true,
    readLater: true,
  })
})

asRoot('on a full disk garbage is counted and collected all the same', async (t) => {
  t.deepEqual(await onSmallDisk(t, 'full-disk-collect.ts', 32), {
    failure: 'DISK_FULL',
    counted: true,
    collected: true,
    kept: true,
    gone: true,
    again: 'ok',
  })
})

/** Temporary folders of a test, gone when it ends. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

export async function folderOf(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'godwit-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Failure } from '../../protocols/errors.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { key } from '../../storage/keyspace.ts'
import { openStore, type LevelStore } from '../../storage/level/store.ts'
import { contract, type Opened } from '../contracts/store.ts'
import { outcomeOf, realUntil } from '../contracts/until.ts'
import { folderOf } from './folder.ts'

async function opened(t: ExecutionContext, folder: string): Promise<LevelStore> {
  const outcome = await openStore(folder)
  if (!outcome.ok) throw new Error(`store does not open: ${JSON.stringify(outcome.failure)}`)
  t.teardown(() => outcome.value.close())
  return outcome.value
}

async function lives(t: ExecutionContext, folder: string): Promise<Opened> {
  const store = await opened(t, folder)
  return {
    store,
    until: realUntil,
    reopen: async () => {
      await store.close()
      return lives(t, folder)
    },
  }
}

contract('the store on LevelDB', async (t) => lives(t, join(await folderOf(t), 'store')))

test('a folder is opened by one process at a time', async (t) => {
  const folder = await folderOf(t)
  await opened(t, folder)
  t.deepEqual(await openStore(folder), { ok: false, failure: { code: 'DATA_LOCKED', folder } })
})

test('a newer format is refused, and one that is no number', async (t) => {
  const folder = await folderOf(t)
  for (const [version, failure] of [
    ['2', { code: 'DATA_NEWER', folder, version: 2, supported: 1 }],
    ['two', { code: 'DATA_CORRUPT', what: folder, why: 'its format version is no number' }],
  ] as [string, Failure][]) {
    // Each turn opens what the one before it left: put the version back to be able to.
    const store = await opened(t, folder)
    const write = (value: string): Promise<Outcome<void>> =>
      outcomeOf(realUntil, (done) =>
        store.write([{ kind: 'put', key: key('meta', 'format'), value: Buffer.from(value) }], true, done),
      )
    await write(version)
    await store.close()
    t.deepEqual(await openStore(folder), { ok: false, failure })
    execFileSync('rm', ['-r', folder])
  }
})

test('a file where the folder should be is refused', async (t) => {
  const outcome = await openStore(join(await folderOf(t), 'file', '..', 'x\0y'))
  t.false(outcome.ok)
})

test('what was acknowledged stands when close follows at once', async (t) => {
  const folder = await folderOf(t)
  const store = await opened(t, folder)
  let answers = 0
  for (let i = 0; i < 50; i++)
    store.write([{ kind: 'put', key: `a/${i}`, value: Buffer.alloc(1000) }], true, () => answers++)
  await store.close()
  t.is(answers, 50)
  t.is((await opened(t, folder)).recovered('a/').length, 50)
})

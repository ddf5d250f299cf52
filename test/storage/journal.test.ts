import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { JOURNAL_QUEUE_MAX } from '../../protocols/limits.ts'
import { openJournal, type HypercoreJournal } from '../../storage/hypercore/journal.ts'
import type { JournalEntry } from '../../storage/journal.ts'
import { SimJournal } from '../../simulator/journal.ts'
import { World } from '../../simulator/world.ts'
import { contract, type Opened } from '../contracts/journal.ts'
import { outcomeOf, realUntil, worldUntil } from '../contracts/until.ts'
import { folderOf } from './folder.ts'

const seed = Buffer.alloc(32, 9)

function opened(t: ExecutionContext, folder: string, boot: number): HypercoreJournal {
  const journal = openJournal({ folder, seed, boot })
  t.teardown(() => journal.close())
  return journal
}

function lives(t: ExecutionContext, folder: string, boot: number): Opened {
  const journal = opened(t, folder, boot)
  return {
    journal,
    until: realUntil,
    reopen: async () => {
      await journal.close()
      return lives(t, folder, boot + 1)
    },
  }
}

const simLives = (world: World, journal: SimJournal): Opened => ({
  journal,
  until: worldUntil(world),
  reopen: async () => simLives(world, journal.reopen()),
})

contract('the journal on hypercore', async (t) => lives(t, await folderOf(t), 1))
contract('the journal in the simulator', async () => {
  const world = new World(1)
  return simLives(world, new SimJournal(world, 'a'))
})

const entry: JournalEntry = { atMs: 1, kind: 'peer-started', subject: 'a', text: 'started' }
const tail = (journal: HypercoreJournal, limit: number) =>
  outcomeOf<JournalEntry[]>(realUntil, (done) => journal.tail(limit, done))

test('a boot number is used once: a second history under one key would end the core', async (t) => {
  const folder = await folderOf(t)
  const first = opened(t, folder, 1)
  first.append(entry)
  await first.close()
  const second = opened(t, folder, 1)
  second.append(entry)
  t.like(await tail(second, 1), { ok: false, failure: { why: 'boot 1 has a journal already' } })
})

test('entries past the bound are dropped, oldest first, and counted', async (t) => {
  const journal = opened(t, await folderOf(t), 1)
  for (let n = 0; n < JOURNAL_QUEUE_MAX + 3; n++) journal.append({ ...entry, atMs: n })
  const outcome = await tail(journal, JOURNAL_QUEUE_MAX + 10)
  const [first, second, ...rest] = outcome.ok ? outcome.value : []
  t.is(first?.text, '3 entries found no room and are lost')
  t.is(second?.atMs, 3)
  t.is(rest.length, JOURNAL_QUEUE_MAX - 1)
})

test('a damaged older journal is told in its place', async (t) => {
  const folder = await folderOf(t)
  const first = opened(t, folder, 1)
  first.append(entry)
  await first.close()
  const path = join(folder, '00000001')
  for (const name of await readdir(path)) await rm(join(path, name), { recursive: true })
  await writeFile(join(path, 'CURRENT'), 'nonsense')
  await writeFile(join(path, 'CORESTORE'), 'nonsense')
  const second = opened(t, folder, 2)
  second.append(entry)
  const outcome = await tail(second, 5)
  t.like(outcome, { ok: true, value: [{ kind: 'journal', subject: 'boot 1' }, entry] })
})

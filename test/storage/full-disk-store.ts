/**
 * Run by full-disk.test.ts in a mount namespace, with a small file system of its own as its argument: fills it through
 * the store, makes room, and prints what the store answered and what it holds in the next life.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeFailure } from '../../protocols/errors.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { openStore, type LevelStore } from '../../storage/level/store.ts'
import { outcomeOf, realUntil } from '../contracts/until.ts'

const [, , folder = ''] = process.argv

async function opened(): Promise<LevelStore> {
  const outcome = await openStore(join(folder, 'store'))
  assert(outcome.ok, JSON.stringify(outcome))
  return outcome.value
}

const write = (store: LevelStore, key: string, bytes: number): Promise<Outcome<void>> =>
  outcomeOf(realUntil, (done) =>
    store.write(
      [
        { kind: 'put', key: `${key}/1`, value: randomBytes(bytes / 2) },
        { kind: 'put', key: `${key}/2`, value: randomBytes(bytes / 2) },
      ],
      true,
      done,
    ),
  )

const ballast = join(folder, 'ballast')
await writeFile(ballast, randomBytes(14 * 1024 * 1024))
const store = await opened()
const acknowledged: string[] = []
const refused: string[] = []
for (let n = 0; refused.length < 5; n++) {
  const key = `a/${String(n).padStart(4, '0')}`
  const outcome = await write(store, key, 300_000)
  if (outcome.ok) acknowledged.push(key)
  else refused.push(describeFailure(outcome.failure).replace(folder, 'FOLDER'))
}
await rm(ballast)
const after: string[] = []
for (const key of ['b/1', 'b/2', 'b/3']) {
  const outcome = await write(store, key, 1000)
  after.push(outcome.ok ? 'ok' : outcome.failure.code)
}
await store.close()
const next = await opened()
const held = next.recovered('a/').map(([key]) => key)
const heldAfter = next.recovered('b/').length
await next.close()
console.log(
  JSON.stringify({
    refused,
    after,
    heldAfter,
    some: acknowledged.length > 0,
    asAcknowledged: held.join() === acknowledged.flatMap((key) => [`${key}/1`, `${key}/2`]).join(),
  }),
)

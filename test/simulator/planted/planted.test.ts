/**
 * Each planted bug still applies, exactly once, to the source as it is. Whether it is found says `npm run simulate -- planted`;
 * here only those that are found at once, so that planting itself is tested.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { seek } from '../../../simulator/planted/cli.ts'
import { plant, PLANTED, type Planted } from '../../../simulator/planted/planted.ts'

const ROOT = join(import.meta.dirname, '../../..')
const source = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

for (const bug of PLANTED) {
  test(`${bug.id} ${bug.name} applies`, (t) => {
    for (const file of new Set(bug.edits.map((edit) => edit.file)))
      t.not(plant(bug, file, source(file)), source(file))
  })
}

test('an edit that does not apply is an error, and so is one that applies twice', (t) => {
  const bug = { ...PLANTED[0]!, edits: [{ file: 'a.ts', find: 'x', replace: 'y' }] }
  t.throws(() => plant(bug, 'a.ts', 'nothing'), { message: /applies 0 times/ })
  t.throws(() => plant(bug, 'a.ts', 'x x'), { message: /applies 2 times/ })
  t.is(plant(bug, 'b.ts', 'x'), undefined)
})

// A process that has the bug and one that has not for each, 2 s of CPU.
for (const id of ['J4', 'J22']) {
  test(`${id} is found`, async (t) => {
    t.timeout(120_000)
    const { seeds, why } = await seek(PLANTED.find((bug) => bug.id === id) as Planted, 10)
    t.true(seeds !== null && seeds >= 1 && seeds <= 10)
    t.not(why, '')
  })
}

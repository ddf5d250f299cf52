import { hash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fc, testProp } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import type { Done } from '../../protocols/outcome.ts'
import { SimBlockLists } from '../../simulator/blocks.ts'
import { World } from '../../simulator/world.ts'
import { openBlockLists } from '../../storage/files/block-list-store.ts'
import {
  BLOCK_BYTES,
  fingerprintAt,
  FINGERPRINT_BYTES,
  fingerprintsOf,
  setFingerprint,
} from '../../storage/images/fingerprint.ts'
import {
  contract,
  CHUNK_BYTES,
  IMAGE as image,
  type Opened,
  printsOf,
  put,
} from '../contracts/block-lists.ts'
import { outcomeOf, realUntil, worldUntil } from '../contracts/until.ts'
import { folderOf } from './folder.ts'

const FORM =
  '4757424c01060000' +
  image +
  '0000000ca04345e1e851792a' +
  '000000000001000000000002000000000003000000000004000000000000000000000000000000000000000000000000' +
  '00000000000900000000000a00000000000b00000000000c' +
  '69c823cd0800000000000100000000000200000000000300000000000400000000000900000000000a00000000000b00000000000c'

test('a fingerprint is the head of the SHA-256 of a block, and zero for zeros', (t) => {
  const content = Buffer.alloc(3 * BLOCK_BYTES + 5)
  content.fill(7, 0, BLOCK_BYTES)
  content.write('short', 3 * BLOCK_BYTES)
  const list = fingerprintsOf(content)
  t.is(list.length, 4 * FINGERPRINT_BYTES)
  const head = (block: Uint8Array): number => Number.parseInt(hash('sha256', block).slice(0, 12), 16)
  const blocks = [head(content.subarray(0, BLOCK_BYTES)), 0, 0, head(Buffer.from('short'))]
  t.deepEqual(
    [0, 1, 2, 3].map((at) => fingerprintAt(list, at)),
    blocks,
  )
})

testProp(
  'a fingerprint is read as it was written',
  [fc.array(fc.maxSafeNat(), { maxLength: 9 })],
  (t, some) => {
    const fingerprints = some.map((each) => each % 2 ** 48)
    const list = new Uint8Array(fingerprints.length * FINGERPRINT_BYTES)
    fingerprints.forEach((each, at) => setFingerprint(list, at, each))
    t.deepEqual(
      fingerprints.map((_, at) => fingerprintAt(list, at)),
      fingerprints,
    )
  },
)

async function lives(t: ExecutionContext, folder: string): Promise<Opened> {
  const opened = await openBlockLists(folder)
  if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
  return { lists: opened.value, until: realUntil, reopen: () => lives(t, folder) }
}

contract('block lists in files', async (t) => lives(t, await folderOf(t)))

contract('block lists in the simulator', async () => {
  const world = new World(1)
  const live = (lists: SimBlockLists): Opened => ({
    lists,
    until: worldUntil(world),
    reopen: async () => live(lists.reopen()),
  })
  return live(new SimBlockLists(world))
})

test('version 1 of a block list keeps its bytes', async (t) => {
  const folder = await folderOf(t)
  await put(await lives(t, folder))
  t.is((await readFile(join(folder, `${image}.blocks`))).toString('hex'), FORM)
})

test('a list that was cut, or in which any byte was changed, is refused once, and is here no more', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, `${image}.blocks`)
  const encoded = Buffer.from(FORM, 'hex')
  const damages = Array.from({ length: encoded.length }, (_, at) => [
    encoded.subarray(0, at),
    Buffer.concat([
      encoded.subarray(0, at),
      Buffer.of((encoded[at] as number) ^ 0x10),
      encoded.subarray(at + 1),
    ]),
  ])
  for (const [at, changed] of damages.flat().entries()) {
    await writeFile(path, changed)
    const { lists } = await lives(t, folder)
    const failures: (string | undefined)[] = []
    for (const ask of [
      (done: Done<unknown>) => lists.read(image, 0, 12, done),
      (done: Done<unknown>) => lists.sketch(image, done),
    ]) {
      const outcome = await outcomeOf<unknown>(realUntil, ask)
      failures.push(outcome.ok ? undefined : outcome.failure.code)
    }
    t.true(failures.includes('DATA_CORRUPT'), `damage ${at}: ${failures.join(' ')}`)
    t.deepEqual(lists.list(), [])
    t.deepEqual(await readdir(folder), [])
  }
})

test('what a crash left of a draft is removed', async (t) => {
  const folder = await folderOf(t)
  const { lists } = await lives(t, folder)
  lists.draft(CHUNK_BYTES).set(0, printsOf(1, 2, 3, 4))
  t.is((await readdir(folder)).length, 1)
  await lives(t, folder)
  t.deepEqual(await readdir(folder), [])
})

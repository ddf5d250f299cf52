import { spawn } from 'node:child_process'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { readTail } from '../../../node/qemu/machine-folder.ts'
import { realUntil } from '../../contracts/until.ts'
import { folderOf } from '../../storage/folder.ts'

const MIB = 1024 * 1024
const KEEPER = join(import.meta.dirname, '../../../node/qemu/keeper.sh')

test('logs that grew long are cut, and their newest lines are still to be had', async (t) => {
  const folder = await folderOf(t)
  const [long, short] = [join(folder, 'serial.log'), join(folder, 'keeper.log')]
  await writeFile(long, `${'x'.repeat(9 * MIB)}\nthe newest line\n`)
  await writeFile(short, 'short\n')
  const trimmer = spawn('sh', [KEEPER, '--trim', folder], { stdio: 'ignore' })
  t.teardown(() => trimmer.kill('SIGKILL'))
  let bytes = Infinity
  await realUntil(() => {
    void stat(long).then(({ size }) => (bytes = size))
    return bytes === 0
  }, 5_000)
  t.is((await stat(`${long}.1`)).size, MIB)
  t.is(await readFile(short, 'utf8'), 'short\n')

  // QEMU appends: it goes on where the log ends now.
  await writeFile(long, 'and one more\n', { flag: 'a' })
  const tail = await readTail(long, 64 * 1024)
  t.true(tail.endsWith('x\nthe newest line\nand one more\n'))
  t.is(tail.length, 64 * 1024)
})

/** The NBD client against QEMU's server: what it negotiates, reads and is told. */
import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { connectNbd, type NbdExport } from '../../../storage/nbd/client.ts'
import { folderOf } from '../../storage/folder.ts'
import { serve } from './nbd-server.ts'

const KIB = 1024
const MIB = 1024 * KIB
const io = (format: string, path: string, ...commands: string[]): Buffer =>
  execFileSync('qemu-io', ['-f', format, ...commands.flatMap((command) => ['-c', command]), path])
const img = (...args: string[]): Buffer => execFileSync('qemu-img', args)

async function runsOf(
  opened: NbdExport,
  context: string,
): Promise<[start: number, length: number, flags: number][]> {
  const runs: [number, number, number][] = []
  await opened.runs(context, ({ start, length, flags }) => {
    const last = runs.at(-1)
    if (last?.[2] === flags && last[0] + last[1] === start) last[1] += length
    else runs.push([start, length, flags])
  })
  return runs
}

test('an overlay: its content, what is allocated, where, and what is dirty', async (t) => {
  const folder = await folderOf(t)
  const [base, overlay] = [join(folder, 'base.raw'), join(folder, 'overlay.qcow2')]
  img('create', '-q', '-f', 'raw', base, '64M')
  io('raw', base, 'write -q -P 1 0 1M', 'write -q -P 2 32M 1M')
  img('create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', overlay, '3G')
  io('qcow2', overlay, 'write -q -P 3 32M 64k')
  img('bitmap', '--add', '-g', '65536', overlay, 'b1')
  io('qcow2', overlay, 'write -q -P 4 40M 128k', 'write -q -z 0 64k')
  img('bitmap', '--disable', overlay, 'b1')

  const contexts = ['base:allocation', 'qemu:dirty-bitmap:b1', 'qemu:allocation-depth']
  const socketPath = serve(t, folder, [
    '--format=qcow2',
    '--read-only',
    '--bitmap=b1',
    '--allocation-depth',
    '--export-name=disk0',
    overlay,
  ])
  const opened = await connectNbd({ at: overlay, socketPath, name: 'disk0', contexts })
  t.is(opened.bytes, 3 * 1024 * MIB)
  t.deepEqual(
    contexts.map((context) => opened.has(context)),
    [true, true, true],
  )

  const end = 3 * 1024 * MIB
  t.deepEqual(await runsOf(opened, 'qemu:dirty-bitmap:b1'), [
    [0, 64 * KIB, 1],
    [64 * KIB, 40 * MIB - 64 * KIB, 0],
    [40 * MIB, 128 * KIB, 1],
    [40 * MIB + 128 * KIB, end - 40 * MIB - 128 * KIB, 0],
  ])
  const depth = await runsOf(opened, 'qemu:allocation-depth')
  t.deepEqual(
    depth.filter(([, , flags]) => flags === 1).map(([start, length]) => [start, length]),
    [
      [0, 64 * KIB],
      [32 * MIB, 64 * KIB],
      [40 * MIB, 128 * KIB],
    ],
  )
  const data = (await runsOf(opened, 'base:allocation')).filter(([, , flags]) => (flags & 2) === 0)
  t.deepEqual(
    data.map(([start, length]) => [start, length]),
    [
      [64 * KIB, MIB - 64 * KIB],
      [32 * MIB, MIB],
      [40 * MIB, 128 * KIB],
    ],
  )

  // More at once than may be in flight, across holes, in pieces that no cluster knows.
  const whole = Buffer.alloc(64 * MIB, 0xee)
  const part = 1_000 * KIB + 512
  await Promise.all(
    Array.from({ length: Math.ceil(whole.length / part) }, (_, i) =>
      opened.read(i * part, whole.subarray(i * part, (i + 1) * part)),
    ),
  )
  const expected = Buffer.alloc(64 * MIB)
  expected.fill(1, 64 * KIB, MIB)
  expected.fill(2, 32 * MIB, 33 * MIB)
  expected.fill(3, 32 * MIB, 32 * MIB + 64 * KIB)
  expected.fill(4, 40 * MIB, 40 * MIB + 128 * KIB)
  t.true(whole.equals(expected))

  // Longer than a server takes in one request.
  const long = Buffer.alloc(40 * MIB)
  await opened.read(0, long)
  t.true(long.equals(expected.subarray(0, long.length)))
  await opened.close()
})

test('an export of another name is refused', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  img('create', '-q', '-f', 'raw', path, '1M')
  const socketPath = serve(t, folder, ['--format=raw', '--read-only', '--export-name=disk0', path])
  const refused = connectNbd({ at: path, socketPath, name: 'disk1', contexts: ['base:allocation'] })
  await t.throwsAsync(refused, { message: /no such export/ })
})

test('a server that is killed fails every read, at once', async (t) => {
  const folder = await folderOf(t)
  const path = join(folder, 'disk.raw')
  img('create', '-q', '-f', 'raw', path, '64M')
  const socketPath = serve(t, folder, ['--format=raw', '--read-only', path])
  const opened = await connectNbd({ at: path, socketPath, name: '', contexts: [] })
  process.kill(Number(await readFile(join(folder, 'served.pid'), 'utf8')), 'SIGSTOP')
  const reads = [0, 1, 2].map((i) => opened.read(i * MIB, Buffer.alloc(MIB)))
  const all = Promise.allSettled(reads)
  process.kill(Number(await readFile(join(folder, 'served.pid'), 'utf8')), 'SIGKILL')
  for (const each of await all) t.is(each.status, 'rejected')
  await t.throwsAsync(() => opened.read(0, Buffer.alloc(512)), { message: /NBD|ECONNRESET|hung up/ })
  await opened.close()
})

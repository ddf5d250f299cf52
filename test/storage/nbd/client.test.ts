import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { connectNbd, type NbdExport } from '../../../storage/nbd/client.ts'
import { folderOf } from '../folder.ts'
import { data, handshake, hole, refusal, scripted, status } from './server.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
/** What the client says until the export is open, and with each request. */
const HANDSHAKE_BYTES = 87
const REQUEST_BYTES = 28

const connectTo = (socketPath: string): Promise<NbdExport> =>
  connectNbd({ at: 'disk', socketPath, name: '', contexts: ['base:allocation'] })

async function served(
  t: ExecutionContext,
  bytes: number,
  answers: readonly [requests: number, said: Buffer | 'hang up'][],
) {
  const server = await scripted(t, [
    [0, handshake(bytes)],
    ...answers.map(([requests, said]): [number, Buffer | 'hang up'] => [
      HANDSHAKE_BYTES + requests * REQUEST_BYTES,
      said,
    ]),
  ])
  const opened = await connectTo(server.socketPath)
  t.teardown(() => opened.close())
  return { ...server, opened }
}

test('content arrives where it is asked for, in any order, and the client says good-bye', async (t) => {
  const { opened, heard, over } = await served(t, MIB, [
    [2, Buffer.concat([data(1, 8, Buffer.from('wxyz')), hole(0, 0, 4, 0), data(0, 4, Buffer.from('efgh'))])],
  ])
  const [one, other] = [Buffer.alloc(8, 0xee), Buffer.alloc(4)]
  await Promise.all([opened.read(0, one), opened.read(8, other)])
  t.deepEqual([one.toString(), other.toString()], ['\0\0\0\0efgh', 'wxyz'])
  await opened.close()
  await over
  const said = Buffer.concat(heard)
  t.is(said.length, HANDSHAKE_BYTES + 3 * REQUEST_BYTES)
  t.is(said.readUInt16BE(said.length - REQUEST_BYTES + 6), 2, 'NBD_CMD_DISC')
})

test('what is asked for at once is bounded by bytes', async (t) => {
  const answer = (cookie: number): Buffer => hole(cookie, cookie * 8 * MIB, 8 * MIB)
  const { opened, saidAt } = await served(t, GIB, [
    [2, answer(0)],
    [3, Buffer.concat([answer(1), answer(2)])],
  ])
  const into = Buffer.alloc(24 * MIB, 1)
  await Promise.all(
    [0, 1, 2].map((i) => opened.read(i * 8 * MIB, into.subarray(i * 8 * MIB, (i + 1) * 8 * MIB))),
  )
  t.true(into.every((byte) => byte === 0))
  t.is(saidAt[1], HANDSHAKE_BYTES + 2 * REQUEST_BYTES, 'the third waited for the first answer')
})

test('states are told in order, however the server cuts them', async (t) => {
  const { opened } = await served(t, GIB + 4096, [
    [1, status(0, 7, [[MIB, 0]])],
    [
      2,
      status(1, 7, [
        [MIB, 3],
        [2 * GIB, 0],
      ]),
    ],
  ])
  const runs: [number, number, number][] = []
  await opened.runs('base:allocation', ({ start, length, flags }) => void runs.push([start, length, flags]))
  t.deepEqual(runs, [
    [0, MIB, 0],
    [MIB, MIB, 3],
    // What was asked for ends with the disk, whatever the server says of what follows.
    [2 * MIB, GIB + 4096 - 2 * MIB, 0],
  ])
  await t.throwsAsync(() => opened.runs('qemu:dirty-bitmap:b', () => {}), { message: /does not provide/ })
})

test('an error is told to whoever asked, and the rest goes on', async (t) => {
  const { opened } = await served(t, MIB, [[2, Buffer.concat([refusal(0, 5, 'worn out'), hole(1, 0, 512)])]])
  const [first, second] = await Promise.allSettled([
    opened.read(0, Buffer.alloc(512)),
    opened.read(0, Buffer.alloc(512)),
  ])
  t.like(first, { status: 'rejected', reason: { failure: { code: 'IO', why: 'NBD: error 5: worn out' } } })
  t.is(second.status, 'fulfilled')
})

const ends: [what: string, said: Buffer | 'hang up', why: RegExp][] = [
  ['hangs up', 'hang up', /hung up/],
  ['says what is no reply', Buffer.alloc(64, 1), /reply that begins with 1010101/],
  ['answers what nobody asked', hole(9, 0, 512), /answer to nothing/],
]

for (const [what, said, why] of ends)
  test(`when the server ${what}, every request fails, and every later one`, async (t) => {
    const { opened } = await served(t, MIB, [[2, said]])
    const reads = [0, 512].map((position) => opened.read(position, Buffer.alloc(512)))
    for (const each of await Promise.allSettled(reads)) {
      t.like(each, { status: 'rejected', reason: { failure: { code: 'IO', path: 'disk' } } })
      if (each.status === 'rejected') t.regex(String(each.reason), why)
    }
    await t.throwsAsync(() => opened.read(0, Buffer.alloc(512)), { message: why })
    await opened.close()
  })

test('to close it fails what is under way', async (t) => {
  const { opened } = await served(t, MIB, [])
  const read = t.throwsAsync(() => opened.read(0, Buffer.alloc(512)), { message: /hung up/ })
  await opened.close()
  await read
})

test('a server that refuses, or is not there, is told', async (t) => {
  const { socketPath } = await scripted(t, [[0, Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')]])
  await t.throwsAsync(connectTo(socketPath), { message: /no server of the newstyle/ })
  await t.throwsAsync(connectTo(join(await folderOf(t), 'none')), { code: 'ENOENT' })
  const silent = await scripted(t, [[0, 'hang up']])
  await t.throwsAsync(connectTo(silent.socketPath), { message: /hung up|ECONNRESET/ })
})

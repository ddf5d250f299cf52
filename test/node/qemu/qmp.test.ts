import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { connectQmp, type QmpEvent } from '../../../node/qemu/qmp.ts'
import { realUntil } from '../../contracts/until.ts'
import { folderOf } from '../../storage/folder.ts'

type Command = { execute: string; arguments: Record<string, unknown>; id: number }
const GREETING = '{"QMP":{"version":{}}}\n'

/** A QEMU of the test's making: `hear` gets each command and may write what it likes. */
async function qemu(
  t: ExecutionContext,
  hear: (command: Command, socket: Socket) => void,
  greeting = GREETING,
): Promise<string> {
  const path = join(await folderOf(t), 'qmp')
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(greeting)
    socket.on('data', (data) => {
      for (const line of data.toString().trim().split('\n')) {
        const command = JSON.parse(line) as Command
        if (command.execute === 'qmp_capabilities') socket.write(`{"return":{},"id":${command.id}}\n`)
        else hear(command, socket)
      }
    })
    t.teardown(() => socket.destroy())
  })
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return path
}

test('answers find their commands in any order, between events and in pieces', async (t) => {
  const ids: number[] = []
  const path = await qemu(t, ({ id }, socket) => {
    ids.push(id)
    if (ids.length < 2) return
    const [first, second] = ids
    socket.write(`{"return":"second","id":${second}}\r\n{"event":"STOP","timestamp":{}}\n{"return":"fi`)
    setImmediate(() => socket.write(`rst","id":${first}}\n`))
  })
  const qmp = await connectQmp(path, 'web')
  const events: QmpEvent[] = []
  qmp.onEvent((event) => events.push(event))
  t.deepEqual(await Promise.all([qmp.execute('a'), qmp.execute('b')]), ['first', 'second'])
  t.deepEqual(events, [{ name: 'STOP', data: {} }])
  qmp.close()
  await qmp.closed
})

test('refusals carry the words of QEMU', async (t) => {
  const path = await qemu(t, ({ id }, socket) =>
    socket.write(`{"error":{"class":"GenericError","desc":"no such thing"},"id":${id}}\n`),
  )
  const qmp = await connectQmp(path, 'web')
  await t.throwsAsync(qmp.execute('x'), { message: 'web: no such thing' })
  qmp.close()
})

// What QEMU does, and what every command in hand then fails with.
const ends: [what: string, hear: (command: Command, socket: Socket) => void, message: RegExp][] = [
  ['hangs up', (_, socket) => socket.destroy(), /QEMU is gone/],
  ['says something else', (_, socket) => socket.write('SSH-2.0\n'), /not QMP/],
  ['never ends its line', (_, socket) => socket.write('x'.repeat(5 * 1024 * 1024)), /in one line/],
]

for (const [what, hear, message] of ends) {
  test(`a QEMU that ${what} fails what was asked of it`, async (t) => {
    const qmp = await connectQmp(await qemu(t, hear), 'web')
    await t.throwsAsync(qmp.execute('x'), { message })
    await qmp.closed
    await t.throwsAsync(qmp.execute('y'), { message })
  })
}

test('silence has an end: of a command, and of a greeting', async (t) => {
  const qmp = await connectQmp(await qemu(t, () => {}), 'web')
  await t.throwsAsync(qmp.execute('x', {}, 20), { message: "QEMU's x did not end in 20 ms" })
  qmp.close()
  const mute = await qemu(t, () => {}, '')
  await t.throwsAsync(connectQmp(mute, 'web', 20), { message: /greet/ })
  await t.throwsAsync(connectQmp(`${mute}.none`, 'web', 20), { message: /ENOENT/ })
  await realUntil(() => true, 1)
})

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { connectControl, must } from '../../../node/control/client.ts'
import { lines } from '../../../node/control/protocol.ts'
import { serveControl } from '../../../node/control/server.ts'
import { silentLog } from '../../../node/log.ts'
import { fakePeer, refusing, served, VERSION, vmView } from '../cli/support.ts'

test('a client asks and is answered; the socket is its owner’s and group’s', async (t) => {
  const { socket, peer, end } = await served()
  t.is(statSync(socket).mode & 0o777, 0o660)
  const client = must(await connectControl(socket, VERSION))
  t.like(client.hello, { peer: 'crane', version: VERSION, protocol: 1 })
  const answers = await Promise.all([
    client.ask('vm.list', {}, 1_000),
    client.ask('vm.start', { name: 'web' }, 1_000),
  ])
  t.like(answers[1], { ok: true, value: { value: vmView } })
  t.regex(must(answers[0]).asOf, /^\d{4}-\d\d-\d\dT/)
  t.deepEqual(peer.asked[1], { method: 'vm.start', params: { name: 'web' } })
  client.close()
  await end()
  t.false(existsSync(socket))
})

test('params are checked before the peer hears of them, and defaults filled in', async (t) => {
  const { socket, peer, end } = await served()
  const client = must(await connectControl(socket, VERSION))
  const refused: [method: string, params: unknown, failure: object][] = [
    ['vm.start', {}, { code: 'USAGE' }],
    ['vm.start', { name: 'web', force: true }, { code: 'USAGE' }],
    ['vm.list', { all: 1 }, { code: 'USAGE' }],
    ['vm.logs', { name: 'web', lines: 0 }, { code: 'USAGE' }],
    ['vm.create', { spec: { name: 'web', disks: [] } }, { code: 'USAGE' }],
    ['vm.explode', {}, { code: 'UNSUPPORTED', what: 'vm.explode' }],
    ['constructor', {}, { code: 'UNSUPPORTED' }],
  ]
  for (const [method, params, failure] of refused) {
    const outcome = await client.ask(method, params, 1_000)
    t.false(outcome.ok)
    t.like(outcome, { failure })
  }
  t.deepEqual(peer.asked, [])
  await client.ask('vm.move', { name: 'web', to: 'hill' }, 1_000)
  t.deepEqual(peer.asked[0]?.params, { name: 'web', to: 'hill', mode: 'auto' })
  client.close()
  await end()
})

test('a failure comes over as it was said', async (t) => {
  const failure = { code: 'NAME_TAKEN' as const, what: 'vm', name: 'web' }
  const { socket, end } = await served({ 'vm.start': refusing(failure) })
  const client = must(await connectControl(socket, VERSION))
  t.deepEqual(await client.ask('vm.start', { name: 'web' }, 1_000), { ok: false, failure })
  client.close()
  await end()
})

test('an operation that throws costs its asker only', async (t) => {
  const boom = (): never => {
    throw new TypeError('boom')
  }
  const { socket, end } = await served({ 'vm.start': boom })
  const client = must(await connectControl(socket, VERSION))
  t.like(await client.ask('vm.start', { name: 'web' }, 1_000), { failure: { code: 'INTERNAL' } })
  t.true((await client.ask('status', {}, 1_000)).ok)
  client.close()
  await end()
})

test('a question without an answer ends in time; one whose peer went away, at once', async (t) => {
  const { socket, control, end } = await served({ 'vm.start': () => undefined })
  const client = must(await connectControl(socket, VERSION))
  t.like(await client.ask('vm.start', { name: 'web' }, 20), { failure: { code: 'TIMEOUT', afterMs: 20 } })
  const left = client.ask('vm.start', { name: 'web' }, 60_000)
  await client.ask('status', {}, 1_000)
  await control.close()
  t.like(await left, { failure: { code: 'DAEMON_UNREACHABLE' } })
  await end()
})

test('nobody there is DAEMON_UNREACHABLE', async (t) => {
  const outcome = await connectControl(join(tmpdir(), 'godwit-no-such.sock'), VERSION)
  t.like(outcome, { ok: false, failure: { code: 'DAEMON_UNREACHABLE' } })
})

test('a draining peer refuses what is new', async (t) => {
  const { socket, control, end } = await served()
  const client = must(await connectControl(socket, VERSION))
  control.drain()
  t.like(await client.ask('status', {}, 1_000), { failure: { code: 'STOPPING' } })
  client.close()
  await end()
})

test('a socket that a killed peer left is taken over; one that answers is not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-control-'))
  const socket = join(folder, 'control.sock')
  const serving = { socket, peer: fakePeer(), name: 'crane', version: VERSION, log: silentLog }
  writeFileSync(socket, '')
  const first = await serveControl(serving)
  await t.throwsAsync(serveControl(serving), { message: /another godwit runs on/ })
  t.true(must(await connectControl(socket, VERSION)).hello.peer === 'crane')
  await first.close()
  rmSync(folder, { recursive: true })
})

/** Sends bytes and gathers lines until the other side closes, or `enough` of them are there. */
function talk(socket: string, bytes: string, enough: number): Promise<Record<string, unknown>[]> {
  return new Promise((resolve, reject) => {
    const heard: Record<string, unknown>[] = []
    const stream = connect(socket)
    stream.on(
      'data',
      lines(
        1 << 20,
        (line) => {
          heard.push(JSON.parse(line) as Record<string, unknown>)
          if (heard.length >= enough) stream.end()
        },
        reject as () => void,
      ),
    )
    stream.on('error', () => {})
    stream.on('close', () => resolve(heard))
    stream.write(bytes)
  })
}

test('what is no request is refused, and the server lives on', async (t) => {
  const { socket, end } = await served()
  const rows: [what: string, bytes: string, enough: number, failure: object][] = [
    ['no JSON', 'hello\n', 2, { code: 'USAGE' }],
    ['a list', '[]\n', 2, { code: 'USAGE' }],
    ['another major', '{"hello":{"protocol":2}}\n', 99, { code: 'UNSUPPORTED' }],
    ['a line without an end', 'x'.repeat(1024 * 1024 + 1), 99, { code: 'FRAME_TOO_LARGE' }],
    ['no method', '{"id":1}\n', 2, { code: 'UNSUPPORTED' }],
  ]
  for (const [what, bytes, enough, failure] of rows) {
    const heard = await talk(socket, bytes, enough)
    t.like(heard[1], { ok: false, failure }, what)
  }
  const client = must(await connectControl(socket, VERSION))
  t.true((await client.ask('status', {}, 1_000)).ok)
  client.close()
  await end()
})

test('requests of one client and clients are bounded', async (t) => {
  const { socket, end } = await served({ 'vm.start': () => undefined })
  const many = Array.from(
    { length: 65 },
    (_, id) => `{"id":${id + 1},"method":"vm.start","params":{"name":"a"}}\n`,
  )
  const [, refused] = await talk(socket, many.join(''), 2)
  t.like(refused, { id: 65, ok: false, failure: { code: 'PEER_BUSY' } })

  const clients = await Promise.all(Array.from({ length: 64 }, () => connectControl(socket, VERSION)))
  t.true(clients.every(({ ok }) => ok))
  t.like(await connectControl(socket, VERSION), { ok: false, failure: { code: 'PEER_BUSY' } })
  for (const client of clients) must(client).close()
  await end()
})

test('a client refuses a peer of another major', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-control-'))
  const socket = join(folder, 's')
  const server = createServer((stream) => {
    stream.on('error', () => {})
    stream.write('{"hello":{"version":"9.0.0","protocol":9,"peer":"new"}}\n')
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  t.like(await connectControl(socket, VERSION), { failure: { code: 'UNSUPPORTED' } })
  server.close()
  rmSync(folder, { recursive: true })
})

test('lines are cut wherever the bytes are', (t) => {
  const heard: string[] = []
  const take = lines(
    8,
    (line) => heard.push(line),
    () => heard.push('too long'),
  )
  for (const part of ['a', 'b\nc', '\n\n', 'dé'.slice(0, 2), '\n12345678\n', '123456789', '\nx\n'])
    take(Buffer.from(part))
  t.deepEqual(heard, ['ab', 'c', 'dé', '12345678', 'too long'])
})

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { readConfig } from '../../../node/config.ts'
import { connectControl, must } from '../../../node/control/client.ts'
import { keepNames, namesFile, readNames } from '../../../node/control/names-file.ts'
import { silentLog } from '../../../node/log.ts'
import { up } from '../../../node/peer.ts'
import { GodwitError } from '../../../protocols/errors.ts'
import { fakePeer, VERSION } from '../cli/support.ts'

const configIn = async (folder: string, http = '127.0.0.1:0') =>
  must(await readConfig({ 'data-dir': folder, http, config: '/dev/null' }, {})).config

test('up serves its faces, and drains them before and after the peer', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-up-'))
  const config = await configIn(folder)
  const peer = fakePeer()
  const told: string[] = []
  const stop = Promise.withResolvers<string>()
  const address = Promise.withResolvers<string>()
  const log = {
    ...silentLog,
    info: (fields: Readonly<Record<string, unknown>>, text: string) => {
      told.push(text)
      if (text === 'ready') address.resolve(String(fields['http']))
    },
  }
  const ended = up(config, log, () => Promise.resolve(peer), stop.promise)
  const http = await address.promise
  t.is((await fetch(`${http}/readyz`)).status, 200)
  const client = must(await connectControl(config.socket, VERSION))
  t.true((await client.ask('status', {}, 1_000)).ok)
  stop.resolve('SIGTERM')
  t.deepEqual(await ended, { ok: true, value: undefined })
  t.true(peer.stopped)
  t.deepEqual(told, ['ready', 'stopping', 'stopped'])
  t.like(await connectControl(config.socket, VERSION), { failure: { code: 'DAEMON_UNREACHABLE' } })
  await t.throwsAsync(fetch(`${http}/healthz`))
  rmSync(folder, { recursive: true })
})

test('a peer that does not start is a failure; a face that does not, stops the peer', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-up-'))
  const never = new Promise<string>(() => {})
  const failing = (): Promise<never> => Promise.reject(new GodwitError({ code: 'DATA_MISSING', folder }))
  t.like(await up(await configIn(folder), silentLog, failing, never), { failure: { code: 'DATA_MISSING' } })

  const first = fakePeer()
  const stop = Promise.withResolvers<string>()
  const ready = Promise.withResolvers<void>()
  const log = { ...silentLog, info: (_: object, text: string) => void (text === 'ready' && ready.resolve()) }
  const running = up(await configIn(folder, 'off'), log, () => Promise.resolve(first), stop.promise)
  await ready.promise
  const second = fakePeer()
  const outcome = await up(await configIn(folder, 'off'), silentLog, () => Promise.resolve(second), never)
  t.like(outcome, { failure: { code: 'DATA_LOCKED' } })
  t.true(second.stopped)
  t.false(first.stopped)
  stop.resolve('SIGINT')
  t.true((await running).ok)
  rmSync(folder, { recursive: true })
})

test('names are kept for completion, and silence when there are none', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-names-'))
  t.is(readNames(folder), undefined)
  const peer = fakePeer()
  const keeping = keepNames(peer, folder)
  while (readNames(folder) === undefined) await new Promise((resolve) => setImmediate(resolve))
  keeping.stop()
  t.like(readNames(folder), {
    peer: ['crane', 'heron'],
    vm: ['web', 'db'],
    site: ['harbour'],
    image: ['debian-12'],
  })
  t.notRegex(readFileSync(namesFile(folder), 'utf8'), /SECRET/)
  rmSync(folder, { recursive: true })
})

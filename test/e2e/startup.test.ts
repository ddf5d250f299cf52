/** What a data folder, a configuration or a machine that cannot be used gets at the start: exit 2, the reason, what next. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import test from 'ava'
import { bind, FORMAT, openFolder } from '../../node/data-folder.ts'
import type { TokenView } from '../../node/views.ts'
import { Mesh, must, type Peer } from './support.ts'

const mesh = new Mesh()
let crane: Peer

test.before('one peer runs', async () => {
  crane = await mesh.peer('crane', 'harbour')
  await mesh.form(crane)
})
test.after.always(() => mesh.close())

test.serial('init of a folder in use is refused, and so is a second up', async (t) => {
  const again = await mesh.godwit(crane, ['up', '-o', 'json'])
  t.is(again.code, 2)
  t.like(again.error, { code: 'DATA_LOCKED', details: { folder: crane.folder } })
  t.regex((again.error as { next: string }).next, /^godwit status;/)
  t.is((await mesh.godwit(crane, ['init', '--site', 'harbour'])).code, 2)
})

test.serial('a token is not made while something else has the port of the door', async (t) => {
  const holder = await listening(crane.ports.join)
  const ran = await mesh.godwit(crane, ['token', 'create', '-o', 'json'])
  await holder.close()
  t.is(ran.code, 2, ran.err)
  t.like(ran.error, {
    code: 'ADDRESS_IN_USE',
    details: { address: `/ip4/127.0.0.1/tcp/${crane.ports.join}` },
  })
})

test('init twice is refused, and tells the next step', async (t) => {
  const peer = await mesh.peer('twice', 'harbour')
  must(await mesh.godwit(peer, ['init', '--site', 'harbour']))
  const before = readFileSync(`${peer.folder}/identity.key`)
  const second = await mesh.godwit(peer, ['init', '--site', 'hill'])
  t.is(second.code, 2)
  t.is(second.out, '')
  t.regex(second.err, /belongs to a mesh already\n {2}try: godwit up\n$/)
  t.deepEqual(readFileSync(`${peer.folder}/identity.key`), before)
})

test('up on an empty folder is refused, and tells the next step', async (t) => {
  const peer = await mesh.peer('empty', 'harbour')
  const ran = await mesh.godwit(peer, ['up'])
  t.is(ran.code, 2)
  t.regex(ran.err, /empty belongs to no mesh yet\n {2}try: godwit init --site NAME, or godwit join\n$/)
})

test('a folder of another mesh does not join, and the token stays open', async (t) => {
  const peer = await mesh.peer('other', 'hill')
  must(await mesh.godwit(peer, ['init', '--site', 'hill']))
  const { token, id } = await mesh.ask<{ token: string; id: string }>(crane, 'token.create')
  const ran = await mesh.godwit(peer, ['join', '--site', 'hill', '-o', 'json'], { input: token })
  t.is(ran.code, 2)
  t.like(ran.error, { code: 'DATA_EXISTS', details: { folder: peer.folder } })
  const tokens = await mesh.ask<TokenView[]>(crane, 'token.list')
  t.is(tokens.find((each) => each.id === id)?.state, 'open')
})

test('a folder of a newer format is refused before anything is opened', async (t) => {
  const peer = await mesh.peer('newer', 'harbour')
  must(await mesh.godwit(peer, ['init', '--site', 'harbour']))
  const opened = await openFolder(peer.folder)
  if (!opened.ok || opened.value.identity === undefined) return t.fail('the folder does not open')
  const { identity, store } = opened.value
  t.true((await bind(store, { ...identity, format: FORMAT + 1 })).ok)
  await store.close()
  for (const command of [['up'], ['init', '--site', 'harbour']]) {
    const ran = await mesh.godwit(peer, [...command, '-o', 'json'])
    t.is(ran.code, 2)
    t.like(ran.error, { code: 'DATA_NEWER', details: { version: FORMAT + 1, supported: FORMAT } })
  }
})

test('a port in use is named', async (t) => {
  const peer = await mesh.peer('ports', 'harbour')
  must(await mesh.godwit(peer, ['init', '--site', 'harbour']))
  const { http, listen } = peer.ports
  for (const [port, address] of [
    [listen, `/ip4/127.0.0.1/tcp/${listen}`],
    [http, `127.0.0.1:${http}`],
  ] as const) {
    const holder = await listening(port)
    const ran = await mesh.godwit(peer, ['up'])
    await holder.close()
    t.is(ran.code, 2, ran.err)
    t.regex(ran.err, new RegExp(`something else listens on ${address}\n`))
  }
})

async function listening(port: number): Promise<{ close(): Promise<unknown> }> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return { close: () => new Promise((resolve) => server.close(resolve)) }
}

const faults: [what: string, line: string, place: string, why: RegExp][] = [
  ['an unknown key', 'lisen: [/ip4/0.0.0.0/tcp/1]', '11:1: lisen', /./],
  ['an unknown key inside another', 'log: { levle: info }', '11:8: log.levle', /./],
  ['a wrong type', 'labels: crane', '11:1: labels', /must be a map/],
  ['a value that is none of the choices', 'log: { level: loud }', '11:8: log.level', /debug or info/],
  ['a key said twice', 'name: heron', '11:1: yaml', /unique/],
]

for (const [what, line, place, why] of faults) {
  test(`a configuration with ${what} is refused with its place`, async (t) => {
    const peer = await mesh.peer(`fault${faults.findIndex(([each]) => each === what)}`, 'harbour')
    appendFileSync(peer.config, `${line}\n`)
    const ran = await mesh.godwit(peer, ['up'])
    t.is(ran.code, 2)
    t.true(ran.err.includes(`${peer.config}:${place}: `), ran.err)
    t.regex(ran.err, why)
  })
}

test('a configuration that is no file is named', async (t) => {
  const peer = await mesh.peer('gone', 'harbour')
  writeFileSync(peer.config, '')
  const ran = await mesh.godwit({ ...peer, config: `${peer.config}.gone` }, ['up'])
  t.is(ran.code, 2)
  t.true(ran.err.includes(`${peer.config}.gone: no such file`), ran.err)
})

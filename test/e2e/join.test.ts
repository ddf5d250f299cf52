/** Tokens with real processes: who is let in, who is refused and why, and that a token is never where others can see it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { PeerView, StatusView, TokenView } from '../../node/views.ts'
import { decodeToken, encodeToken, type Token } from '../../protocols/join/token.ts'
import { Mesh, must, type Peer, until } from './support.ts'

type Made = { token: string; id: string }

const mesh = new Mesh()
/** Two issuers, because a door hears five attempts a minute from one address. */
let crane: Peer
let heron: Peer

test.before('a mesh of two', async () => {
  crane = await mesh.peer('crane', 'harbour')
  heron = await mesh.peer('heron', 'harbour')
  await mesh.form(crane, heron)
})
test.after.always(() => mesh.close())

const create = (issuer: Peer, expiryMs = 60_000): Promise<Made> =>
  mesh.ask<Made>(issuer, 'token.create', { expiryMs })

const stateOf = async (id: string): Promise<string | undefined> =>
  (await mesh.ask<TokenView[]>(crane, 'token.list')).find((each) => each.id === id)?.state

const isListed = async (at: Peer, name: string): Promise<boolean> =>
  (await mesh.ask<PeerView[]>(at, 'peer.list')).some((each) => each.name === name)

function contentOf(text: string): Token {
  const token = decodeToken(text)
  if (!token.ok) throw new Error('no token')
  return token.value
}

async function refused(t: ExecutionContext, name: string, token: string, why: string): Promise<void> {
  const peer = await mesh.peer(name, 'hill')
  const ran = await mesh.godwit(peer, ['join', '--site', 'hill', '-o', 'json'], { input: token })
  t.is(ran.code, 3, `${name}: ${ran.err}`)
  t.is(ran.out, '')
  t.like(ran.error, { code: 'TOKEN_REFUSED', exit: 3, details: { why } })
  t.regex(ran.error?.next ?? '', /godwit token create/)
  t.false(await isListed(crane, name))
}

// First, while its issuer has no other token that would keep the door open.
test.serial('a revoked token is refused', async (t) => {
  const { token, id } = await create(heron)
  must(await mesh.godwit(heron, ['token', 'revoke', id]))
  await refused(t, 'revoked', token, 'revoked')
})

test('garbage is refused without a connection', async (t) => {
  const { token } = await create(heron)
  const slip = `${token.slice(0, 40)}${token[40] === 'A' ? 'B' : 'A'}${token.slice(41)}`
  await Promise.all(
    ['hello', slip, 'x'.repeat(9_000)].map((text, index) => refused(t, `garbage${index}`, text, 'malformed')),
  )
})

test('no token at all is a usage error', async (t) => {
  const peer = await mesh.peer('none', 'hill')
  const ran = await mesh.godwit(peer, ['join', '--site', 'hill'])
  t.is(ran.code, 2)
  t.regex(ran.err, /standard input, in --token-file or in GODWIT_TOKEN/)
})

test('a token with another secret is refused, and the right one stays good', async (t) => {
  const { token, id } = await create(crane)
  const wrong = encodeToken({ ...contentOf(token), secret: new Uint8Array(32).fill(7) })
  await refused(t, 'wrong', wrong, 'unknown')
  t.is(await stateOf(id), 'open')
})

test('an expired token is refused', async (t) => {
  const { token, id } = await create(crane, 1_000)
  await until('the token to expire', async () => (await stateOf(id)) === 'expired')
  await refused(t, 'late', token, 'expired')
  // A newcomer whose clock is slow asks all the same; the issuer's clock decides.
  const slow = encodeToken({ ...contentOf(token), expiresMs: Date.now() + 60_000 })
  await refused(t, 'slow', slow, 'expired')
})

test('a token from standard input lets one peer in, and no second; no argument ever shows it', async (t) => {
  const peer = await mesh.peer('stork', 'hill')
  const { token, id } = await create(crane)
  const lines = new Set<string>()
  let running = true
  const joined = mesh.godwit(peer, ['join', '--site', 'hill', '-o', 'json'], {
    input: `${token}\n`,
    onStart: (child) => {
      child.once('exit', () => (running = false))
      void until('the join to end', () => {
        lines.add(read(`/proc/${child.pid}/cmdline`))
        return !running
      })
    },
  })
  t.is(must(await joined).err.includes(token), false)
  t.true([...lines].some((line) => line.includes('join')))
  t.false([...lines].some((line) => line.includes(token)))
  t.is(await stateOf(id), 'used')
  await until('all to know it', async () => (await isListed(crane, 'stork')) && isListed(heron, 'stork'))
  await refused(t, 'replay', token, 'used')
})

test('a token from a file and one from the environment let peers in', async (t) => {
  const [a, b] = [await create(heron), await create(heron)]
  const [swift, plover] = [await mesh.peer('swift', 'hill'), await mesh.peer('plover', 'hill')]
  const file = join(mesh.folder, 'token')
  writeFileSync(file, `${a.token}\n`, { mode: 0o600 })
  const [fromFile, fromEnv] = await Promise.all([
    mesh.godwit(swift, ['join', '--site', 'hill', '--token-file', file]),
    mesh.godwit(plover, ['join', '--site', 'hill'], { env: { GODWIT_TOKEN: b.token } }),
  ])
  t.is(fromFile.code, 0, fromFile.err)
  t.is(fromEnv.code, 0, fromEnv.err)
  await until('crane to know both', async () => (await isListed(crane, 'swift')) && isListed(crane, 'plover'))
})

test('a token as an argument is refused without being said again', async (t) => {
  const peer = await mesh.peer('shouter', 'hill')
  const { token } = await create(heron)
  for (const args of [[token], [`--token=${token}`]]) {
    const ran = await mesh.godwit(peer, ['join', '--site', 'hill', ...args])
    t.is(ran.code, 2)
    t.false(ran.err.includes(token))
  }
})

test('a peer whose admission was never answered joins again with the same token', async (t) => {
  const peer = await mesh.peer('gull', 'moor')
  const { token, id } = await create(heron)
  const content = contentOf(token)
  const proxy = await slowAnswers(content)
  let kill = (): void => {}
  const first = mesh.godwit(peer, ['join', '--site', 'moor'], {
    input: encodeToken({ ...content, addresses: [`/ip4/127.0.0.1/tcp/${proxy.port}`] }),
    onStart: (child) => (kill = () => void child.kill('SIGKILL')),
  })
  await until('the admission to be agreed on', async () => (await stateOf(id)) === 'used')
  kill()
  t.is((await first).code, 137)
  await proxy.close()

  const again = await mesh.godwit(peer, ['join', '--site', 'moor'], { input: token })
  t.is(again.code, 0, again.err)
  await mesh.up(peer)
  await until('all three to see each other', async () => {
    const seen = await Promise.all([crane, heron, peer].map((each) => mesh.ask<StatusView>(each, 'status')))
    return seen.every(({ peersAlive }) => peersAlive === 3)
  })
  for (const each of [crane, heron, peer]) t.true(await isListed(each, 'gull'))
})

/** A way to the door on which every answer takes its time, so that who asked can die before it comes. */
async function slowAnswers({ addresses }: Token): Promise<{ port: number; close(): Promise<void> }> {
  const door = Number(/\/tcp\/(\d+)/.exec(addresses[0] ?? '')?.[1])
  const sockets = new Set<{ destroy(): unknown }>()
  const server = createServer((near) => {
    const far = connect(door, '127.0.0.1')
    for (const each of [near, far]) sockets.add(each.on('error', () => {}))
    near.on('data', (bytes) => far.write(bytes)).on('close', () => far.destroy())
    far
      .on('data', (bytes) => setTimeout(() => near.write(bytes), ANSWER_MS))
      .on('close', () => near.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    port,
    close: () => {
      for (const each of sockets) each.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Several times what the test needs to see the admission. */
const ANSWER_MS = 300

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/**
 * Peers behind NAT, with real processes and the kernel's NAT: one relay with a public address; two pairs behind routers
 * that masquerade and drop what comes unasked. One pair punches no holes, so that it stays on the relay.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { CIRCUIT_BULK_BYTES_PER_S, DIAL_MS_MAX } from '../../protocols/limits.ts'
import { openNat, whyNoNat, type Nat } from './nat.ts'

const why = whyNoNat()
if (why !== undefined) console.warn(`nat: tests of peers behind NAT skipped: ${why}`)
const withNat = why === undefined ? test.serial : test.serial.skip

const PROGRAM = join(import.meta.dirname, 'nat-peer.ts')
const PATIENCE_MS = 30_000
const MIB = 1024 * 1024

type Peer = {
  readonly child: ChildProcess
  readonly id: string
  ask(...words: string[]): Promise<unknown>
}
const behind = ['quay', 'mast', 'hill', 'moor'] as const
const members = ['relay', ...behind] as const
type Name = (typeof members)[number] | 'stranger'

let nat: Nat | undefined
const peers = {} as Record<Name, Peer>

async function start(name: Name, ...args: string[]): Promise<void> {
  const [command = '', ...rest] = [...(nat?.exec(name) ?? []), process.execPath, PROGRAM, ...args]
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let last: Promise<unknown> = Promise.resolve()
  const ask = (...words: string[]): Promise<unknown> => {
    last = last.then(async () => {
      child.stdin.write(`${JSON.stringify(words)}\n`)
      const line = await lines.next()
      return line.done === true ? 'gone' : (JSON.parse(line.value) as unknown)
    })
    return last
  }
  peers[name] = { child, id: String(await ask('self')), ask }
}

/** What the mesh's log does: everybody learns everybody's addresses, as they are now. */
async function tell(names: readonly Name[]): Promise<void> {
  const all = await Promise.all(
    names.map(async (name) => [peers[name].id, await peers[name].ask('addresses')] as const),
  )
  const catalog = JSON.stringify(Object.fromEntries(all))
  await Promise.all(names.map((name) => peers[name].ask('allow', catalog)))
}

async function until(what: string, is: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS
  while (!(await is())) {
    if (performance.now() > deadlineMs) {
      const logs = await Promise.all(
        members.map(async (name) => `${name}: ${String(await peers[name].ask('log'))}`),
      )
      throw new Error(`not within ${PATIENCE_MS} ms: ${what}\n${logs.join('\n')}`)
    }
    await sleep(50)
  }
}

const path = (from: Name, to: Name): Promise<unknown> => peers[from].ask('path', peers[to].id)

test.before(async () => {
  if (why !== undefined) return
  nat = await openNat(['relay', 'stranger'], behind)
  await Promise.all([
    start('relay'),
    start('stranger'),
    start('quay', 'no-punching'),
    start('mast', 'no-punching'),
    start('hill'),
    start('moor'),
  ])
})

test.after.always(() => {
  for (const { child } of Object.values(peers)) child.kill()
  nat?.close()
})

withNat('a peer that cannot be dialled tells addresses through a relay, one that can does not', async (t) => {
  await tell(members)
  const relayed = async (name: Name): Promise<string[]> =>
    ((await peers[name].ask('addresses')) as string[]).filter((each) => each.includes('/p2p-circuit'))
  await until('slots', async () => {
    const all = await Promise.all(behind.map(relayed))
    return all.every(({ length }) => length > 0)
  })
  t.deepEqual(await relayed('quay'), [
    `/ip4/11.0.0.10/tcp/4710/p2p/${peers.relay.id}/p2p-circuit/p2p/${peers.quay.id}`,
  ])
  t.deepEqual(await peers.relay.ask('addresses'), [`/ip4/11.0.0.10/tcp/4710/p2p/${peers.relay.id}`])
  await tell(members)
})

withNat('two peers behind NAT reach each other through the relay, by requests and channels', async (t) => {
  await until(
    'a path',
    async () => (await path('quay', 'mast')) !== null && (await path('mast', 'quay')) !== null,
  )
  t.is(await path('quay', 'mast'), 'relay')
  t.is(await path('quay', 'relay'), 'direct')
  t.is(await peers.quay.ask('request', peers.mast.id, 'hello'), `${peers.quay.id} said hello`)
  t.is(await peers.mast.ask('request', peers.quay.id, 'hello'), `${peers.mast.id} said hello`)
  const ms = await peers.quay.ask('channel', peers.mast.id, String(MIB))
  t.is(typeof ms, 'number', String(ms))
  t.log(`1 MiB there and back through the relay: ${Number(ms).toFixed(0)} ms`)
  const paceMs = (1_000 * MIB) / CIRCUIT_BULK_BYTES_PER_S
  t.true(Number(ms) > paceMs / 2, 'bulk keeps to its pace')
  t.is(await path('mast', 'quay'), 'relay')
})

// The relay is told to let the stranger in, so that what is seen is the other end's refusal.
withNat('a stranger gets nowhere through a relay', async (t) => {
  const { stranger, relay, quay } = peers
  const addresses = async (...names: Name[]): Promise<string> =>
    JSON.stringify(
      Object.fromEntries(
        await Promise.all(
          names.map(async (name) => [peers[name].id, await peers[name].ask('addresses')] as const),
        ),
      ),
    )
  await stranger.ask('allow', await addresses('relay', 'quay'))
  t.is(await stranger.ask('request', relay.id, 'hello'), 'PEER_UNREACHABLE')
  t.is(await stranger.ask('request', quay.id, 'hello'), 'PEER_UNREACHABLE')

  await relay.ask('allow', await addresses(...members, 'stranger'))
  await until('the stranger in', async () => (await path('stranger', 'relay')) !== null)
  t.is(await stranger.ask('request', relay.id, 'hello'), `${stranger.id} said hello`)
  t.is(await stranger.ask('request', quay.id, 'hello'), 'PEER_UNREACHABLE')
  t.false(((await quay.ask('connected')) as string[]).includes(stranger.id))
  await relay.ask('allow', await addresses(...members))
})

withNat('two peers behind NAT get a direct connection, which needs the relay no more', async (t) => {
  await until(
    'a hole',
    async () => (await path('hill', 'moor')) === 'direct' && (await path('moor', 'hill')) === 'direct',
  )
  t.is(await peers.hill.ask('request', peers.moor.id, 'hello'), `${peers.hill.id} said hello`)
  // The deadline of the dial that made it must not end it.
  const parted = Number(await peers.hill.ask('parted', peers.moor.id))
  await sleep(DIAL_MS_MAX + 200)
  t.is(await peers.hill.ask('parted', peers.moor.id), parted)
  t.is(await path('moor', 'hill'), 'direct')
  peers.relay.child.kill()
  await once(peers.relay.child, 'exit')
  await until('the relay gone', async () => (await path('hill', 'relay')) === null)
  t.is(await peers.moor.ask('request', peers.hill.id, 'still there?'), `${peers.moor.id} said still there?`)
  const ms = await peers.hill.ask('channel', peers.moor.id, String(MIB))
  t.is(typeof ms, 'number', `${String(ms)} ${String(await peers.hill.ask('log'))}`)
  await until('the pair without holes parted', async () => (await path('quay', 'mast')) === null)
})

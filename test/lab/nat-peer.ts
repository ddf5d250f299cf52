/** What nat.test.ts runs as one peer: a network that takes lines of JSON and answers each with one; ends with its input. */
import { createInterface } from 'node:readline'
import { newPrivateKey } from '../../protocols/libp2p/identity.ts'
import { openNetwork } from '../../protocols/libp2p/node.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import type { Channel } from '../../protocols/transport.ts'

const PROTOCOL = '/godwit/test/1'
const PATIENCE_MS = 8_000

const log: string[] = []
const network = await openNetwork({
  privateKey: newPrivateKey(),
  meshId: '01JZZZZZZZZZZZZZZZZZZZZZZZ',
  listen: ['/ip4/0.0.0.0/tcp/4710'],
  mdns: false,
  log: (line) => log.push(`${Math.round(performance.now())} ${line}`),
  ...(process.argv.includes('no-punching') ? { holePunching: false } : {}),
})
const { transport } = network
transport.serve(PROTOCOL, {
  request: (from, frame, reply) =>
    reply({ ok: true, value: Buffer.from(`${from} said ${Buffer.from(frame).toString()}`) }),
  channel: (_, channel) => channel.onFrame((frame) => channel.send(frame)),
})

/** How often each peer's last connection went down. */
const parted = new Map<string, number>()
transport.watch((peer, up) => {
  if (!up) parted.set(peer, (parted.get(peer) ?? 0) + 1)
})

type Verb = (...args: string[]) => unknown
const VERBS: Record<string, Verb> = {
  self: () => transport.self,
  addresses: () => transport.addresses(),
  connected: () => transport.connected(),
  path: (peer = '') => transport.path(peer) ?? null,
  rtt: (peer = '') => transport.rttMs(peer) ?? null,
  log: () => log,
  parted: (peer = '') => parted.get(peer) ?? 0,
  allow: (peers = '') =>
    transport.allow(new Map(Object.entries(JSON.parse(peers) as Record<string, string[]>))),
  request: (peer = '', said = '') =>
    new Promise((resolve) => {
      transport.request(peer, PROTOCOL, Buffer.from(said), PATIENCE_MS, (outcome) =>
        resolve(outcome.ok ? Buffer.from(outcome.value).toString() : outcome.failure.code),
      )
    }),
  /** Sends so many bytes there and back over one channel; the time it took in ms. */
  channel: (peer = '', bytes = '') =>
    new Promise((resolve) => {
      transport.open(peer, PROTOCOL, (outcome) => resolve(echoed(outcome, Number(bytes))))
    }),
}

function echoed(outcome: Outcome<Channel>, bytes: number): Promise<number | string> | string {
  if (!outcome.ok) return outcome.failure.code
  const channel = outcome.value
  const piece = new Uint8Array(Math.min(bytes, 64 * 1024))
  const begun = performance.now()
  return new Promise((resolve) => {
    let [sent, back] = [0, 0]
    const pump = (): void => {
      while (sent < bytes) {
        sent += piece.length
        if (!channel.send(piece)) return
      }
    }
    channel.onDrain(pump)
    channel.onClose(() => resolve('closed'))
    channel.onFrame((frame) => {
      back += frame.length
      if (back < bytes) return
      resolve(performance.now() - begun)
      channel.close()
    })
    pump()
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const [verb = '', ...args] = JSON.parse(line) as string[]
  const answer = await VERBS[verb]?.(...args)
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`)
}
await network.close()
process.exit()

/**
 * One voter of `bench raft`: the product's own Group on the real network and the real store, with a state machine that
 * counts. Clients speak to the leader by frames of a fixed size (load.ts).
 *
 *   member.ts FOLDER KEY PORT      says {"peer", "addresses"}, hears {"peers": {id: addresses}}, says {"ready"}, then {"leads"}
 */
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { foundingOps } from '../../../node/founding.ts'
import { Group } from '../../../node/group.ts'
import { Proposing } from '../../../node/proposing.ts'
import { codec } from '../../../protocols/codec.ts'
import type { Clock } from '../../../protocols/clock.ts'
import { openNetwork } from '../../../protocols/libp2p/node.ts'
import { ok } from '../../../protocols/outcome.ts'
import type { Machine } from '../../../protocols/raft/envelope.ts'
import { memberOf, peerOf } from '../../../protocols/raft/member.ts'
import { message, PROTOCOL } from '../../../protocols/raft/messages.ts'
import { bytes, integer, record } from '../../../protocols/shape.ts'
import { openStore } from '../../../storage/level/store.ts'
import { say } from '../child.ts'

const MESH = '01JBENCHBENCHBENCHBENCHBEN'
const FRAME_BYTES = 4 + 256

type State = { count: number }
type Command = { data: Uint8Array }

const machine: Machine<State, Command> = {
  empty: () => ({ count: 0 }),
  state: codec('bench state', record({ count: integer(0, 2 ** 52) })),
  command: codec('bench command', record({ data: bytes(1_024) })),
  apply(state) {
    state.count++
    return ok(undefined)
  },
}

const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, run) {
    if (delayMs <= 0) {
      const immediate = setImmediate(run)
      return { cancel: () => clearImmediate(immediate) }
    }
    const timer = setTimeout(run, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}

const [folder = '', keyText = '', port = ''] = process.argv.slice(2)
const opened = await openStore(join(folder, 'store'))
if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
const network = await openNetwork({
  privateKey: Buffer.from(keyText, 'hex'),
  listen: ['/ip4/127.0.0.1/tcp/0'],
  meshId: MESH,
  mdns: false,
})
const { transport } = network
say({ peer: transport.self, addresses: transport.addresses() })

const input = createInterface(process.stdin)
const line = await new Promise<string>((resolve) => input.once('line', resolve))
input.on('close', () => process.exit())
const { peers } = JSON.parse(line) as { peers: Record<string, string[]> }
const others = Object.entries(peers).filter(([peer]) => peer !== transport.self)
transport.allow(new Map(others))
while (transport.connected().length < others.length) await new Promise((resolve) => setTimeout(resolve, 20))

const voters = Object.keys(peers)
  .map((peer) => memberOf(peer, '1'))
  .toSorted()
// What a founder finds on its disk.
const first = foundingOps('mesh', memberOf(transport.self, '1'), voters)
await new Promise((resolve) => opened.value.write(first, true, resolve))
await opened.value.close()
const store = await openStore(join(folder, 'store'))
if (!store.ok) throw new Error(JSON.stringify(store.failure))
const group: Group<State, Command> = new Group(
  { name: 'mesh', cluster: MESH, peer: transport.self },
  machine,
  {
    clock,
    dice: Math.random,
    store: store.value,
    send: (sent) => transport.send(peerOf(sent.to), PROTOCOL, message.encode(sent)),
  },
  {
    applied() {},
    restored() {},
    moved() {},
    putAside() {},
    halted() {},
    turned() {},
    role: (role) => role === 'leader' && say({ leads: true }),
  },
)
const proposing = new Proposing(group, clock, (asked, _timeoutMs, done) => group.submit(asked, done))
transport.serve(PROTOCOL, { frame: (_from, frame) => group.hear(message.decode(frame)) })
group.start()
serveClients(Number(port))
say({ ready: true })

function serveClients(at: number): void {
  createServer((socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => {})
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (data: Buffer) => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data])
      let from = 0
      for (; from + FRAME_BYTES <= rest.length; from += FRAME_BYTES) take(socket, rest, from)
      rest = rest.subarray(from)
    })
  }).listen(at, '127.0.0.1')
}

function take(socket: Socket, frames: Buffer, from: number): void {
  const client = frames.readUInt32BE(from)
  const command = machine.command.encode({ data: frames.subarray(from + 4, from + FRAME_BYTES) })
  proposing.propose(command, (outcome) => {
    const answer = Buffer.allocUnsafe(5)
    answer.writeUInt32BE(client, 0)
    answer[4] = outcome.ok ? 1 : 0
    // Answers of one turn go in one write.
    if (socket.writableCorked === 0) {
      socket.cork()
      process.nextTick(() => socket.uncork())
    }
    socket.write(answer)
  })
}

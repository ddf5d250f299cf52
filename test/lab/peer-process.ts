/**
 * What lab.test.ts runs inside a namespace: a server of echoes, and a client that measures the way to one. Takes lines
 * and answers each with one line of JSON; ends with its input.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [ECHO, SINK, GROUP_PORT] = [4000, 4001, 4002]
const GROUP = '239.1.2.3'
const MIB = 1024 * 1024

let link: Socket
const group = createSocket({ type: 'udp4', reuseAddr: true })
const heard = once(group, 'message')

const VERBS: Record<string, (...args: string[]) => Promise<unknown>> = {
  async serve() {
    createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(ECHO)
    createServer(measure).listen(SINK)
    group.bind(GROUP_PORT, () => group.addMembership(GROUP))
    await once(group, 'listening')
  },
  /** How long the handshake took, in ms: one round trip. */
  async connect(address = '') {
    const begun = performance.now()
    link = connect(ECHO, address)
      .setNoDelay()
      .on('error', () => {})
    await once(link, 'connect')
    return performance.now() - begun
  },
  /** How long a byte took there and back, in ms. */
  async echo() {
    const begun = performance.now()
    link.write('.')
    await once(link, 'data')
    return performance.now() - begun
  },
  /** Mbit/s between the first and the last byte, as the other end saw them. */
  async send(address = '', mib = '') {
    const sink = connect({ port: SINK, host: address, allowHalfOpen: true })
    sink.end(Buffer.alloc(Number(mib) * MIB))
    const [answer] = (await once(sink, 'data')) as [Buffer]
    return Number(answer)
  },
  async shout(text = '') {
    group.send(text, GROUP_PORT, GROUP)
  },
  async hear() {
    const [message] = (await heard) as [Buffer]
    return String(message)
  },
}

function measure(socket: Socket): void {
  let [begun, bytes] = [0, 0]
  socket.on('data', (data) => {
    if (bytes === 0) begun = performance.now()
    bytes += data.length
  })
  socket.on('end', () => socket.end(String((bytes * 8) / 1e3 / (performance.now() - begun))))
}

for await (const line of createInterface({ input: process.stdin })) {
  const [verb = '', ...args] = line.split(' ')
  const answer = await VERBS[verb]?.(...args)
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`)
}
process.exit()

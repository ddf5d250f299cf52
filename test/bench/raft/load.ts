/**
 * The load of `bench raft`: N clients, each with one proposal of 256 bytes under way, against one address, for a while.
 * Both systems get the same loop; they differ in how one proposal is carried there and back.
 *
 *   load.ts godwit|etcd PORT CLIENTS SECONDS      says {"count", "ms", "p50", "p99", "failed"}
 */
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { say } from '../child.ts'

const VALUE_BYTES = 256
/** Left out of the figures: code is compiled and connections are opened in it. */
const WARM_UP_MS = 1_500
/** What etcd's own load generator does: many clients share a connection, but not all of them one. */
const CLIENTS_PER_SESSION = 16

/** One proposal by one client; resolves to whether it was taken. */
type Propose = (client: number) => Promise<boolean>

/** Ours: frames of a client's number (4 bytes), length-prefixed by nothing, since all have the same size. */
async function overTcp(port: number): Promise<Propose> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opening = connectTcp(port, '127.0.0.1', () => resolve(opening))
    opening.on('error', reject)
  })
  socket.setNoDelay(true)
  const waiting = new Map<number, (taken: boolean) => void>()
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    rest = rest.length === 0 ? data : Buffer.concat([rest, data])
    let at = 0
    for (; at + 5 <= rest.length; at += 5) {
      const client = rest.readUInt32BE(at)
      waiting.get(client)?.(rest[at + 4] === 1)
    }
    rest = rest.subarray(at)
  })
  const fill = Buffer.alloc(4 + VALUE_BYTES, 7)
  return (client) =>
    new Promise((resolve) => {
      waiting.set(client, resolve)
      const frame = Buffer.from(fill)
      frame.writeUInt32BE(client, 0)
      // Those of one turn go in one write, as the frames of an HTTP/2 session do.
      if (socket.writableCorked === 0) {
        socket.cork()
        process.nextTick(() => socket.uncork())
      }
      socket.write(frame)
    })
}

/** etcd's KV.Put over gRPC: one message, by hand, on HTTP/2. */
function overGrpc(port: number, clients: number): Promise<Propose> {
  const sessions: ClientHttp2Session[] = []
  for (let n = 0; n < Math.ceil(clients / CLIENTS_PER_SESSION); n++)
    sessions.push(connectHttp2(`http://127.0.0.1:${port}`))
  const value = Buffer.alloc(VALUE_BYTES, 7)
  return Promise.resolve(
    (client) =>
      new Promise<boolean>((resolve) => {
        const session = sessions[client % sessions.length] as ClientHttp2Session
        const call = session.request({
          ':method': 'POST',
          ':path': '/etcdserverpb.KV/Put',
          'content-type': 'application/grpc',
          te: 'trailers',
        })
        let taken = false
        call.on('trailers', (trailers) => (taken = trailers['grpc-status'] === '0'))
        call.on('error', () => resolve(false))
        call.on('end', () => resolve(taken))
        call.resume()
        call.end(grpcFrame(putRequest(Buffer.from(`client-${client}`), value)))
      }),
  )
}

/** etcdserverpb.PutRequest: 1 key, 2 value. */
const putRequest = (key: Buffer, value: Buffer): Buffer =>
  Buffer.concat([field(1, key.length), key, field(2, value.length), value])

function field(number: number, length: number): Buffer {
  const varint = length < 128 ? [length] : [(length & 0x7f) | 0x80, length >> 7]
  return Buffer.from([(number << 3) | 2, ...varint])
}

function grpcFrame(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

const [system = '', port = '', clientsText = '', secondsText = ''] = process.argv.slice(2)
const clients = Number(clientsText)
const propose = await (system === 'etcd' ? overGrpc(Number(port), clients) : overTcp(Number(port)))

const latencies: number[] = []
let failures = 0
const fromMs = performance.now() + WARM_UP_MS
const untilMs = fromMs + Number(secondsText) * 1_000

async function client(number: number): Promise<void> {
  for (;;) {
    const startMs = performance.now()
    if (startMs >= untilMs) return
    const taken = await propose(number)
    const endMs = performance.now()
    if (startMs < fromMs) continue
    if (taken) latencies.push(endMs - startMs)
    else failures++
  }
}

await Promise.all(Array.from({ length: clients }, (_, number) => client(number)))
latencies.sort((a, b) => a - b)
const quantile = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? Number.NaN
say({
  count: latencies.length,
  ms: performance.now() - fromMs,
  p50: quantile(0.5),
  p99: quantile(0.99),
  failed: failures,
})
process.exit()

/** One end of a bare copy over TLS 1.2 with a shared key (no certificate to make), AES-128-GCM, into a synced file. */
import { createReadStream, createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { connect, createServer } from 'node:tls'
import { cpuMeter, say, untilTold } from '../child.ts'

const BLOCK_BYTES = 256 * 1024
const IDENTITY = 'bench'
const PSK = Buffer.alloc(16, 7)
const SECURE = { ciphers: 'PSK-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' as const }

async function seed(file: string): Promise<void> {
  const server = createServer({ ...SECURE, pskCallback: () => PSK }, (socket) => {
    pipeline(createReadStream(file, { highWaterMark: BLOCK_BYTES }), socket).catch(() => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cpu = cpuMeter()
  say({ port: (server.address() as AddressInfo).port })
  await untilTold()
  say({ cpu: cpu() })
  server.close()
}

async function leech(folder: string, hello: string): Promise<void> {
  const { port } = JSON.parse(hello) as { port: number }
  const path = join(folder, 'data.raw')
  const socket = connect({
    ...SECURE,
    port,
    host: '127.0.0.1',
    pskCallback: () => ({ identity: IDENTITY, psk: PSK }),
    checkServerIdentity: () => undefined,
  })
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
  const cpu = cpuMeter()
  const startedMs = performance.now()
  await pipeline(socket, createWriteStream(path, { highWaterMark: 4 * BLOCK_BYTES }))
  const copied = await open(path, 'r+')
  await copied.sync()
  const { size } = await copied.stat()
  await copied.close()
  say({ ms: performance.now() - startedMs, cpu: cpu(), bytes: size, wire: socket.bytesRead })
}

const [role, first = '', second = ''] = process.argv.slice(2)
await (role === 'seed' ? seed(first) : leech(first, second))

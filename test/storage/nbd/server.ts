/** What NBD servers say, byte by byte, and one that says what a test makes it say. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { folderOf } from '../folder.ts'

const numbers = (...fields: [bytes: 2 | 4 | 8, value: number | bigint][]): Buffer =>
  Buffer.concat(
    fields.map(([bytes, value]) => {
      const field = Buffer.alloc(8)
      field.writeBigUInt64BE(BigInt(value))
      return field.subarray(8 - bytes)
    }),
  )

export const greeting = (flags = 3): Buffer =>
  Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), numbers([2, flags])])

export const optionReply = (option: number, kind: number, data: Uint8Array = Buffer.alloc(0)): Buffer =>
  Buffer.concat([numbers([8, 0x3e889045565a9n], [4, option], [4, kind], [4, data.length]), data])

export const ack = (option: number): Buffer => optionReply(option, 1)
export const context = (id: number, name: string): Buffer =>
  optionReply(10, 4, Buffer.concat([numbers([4, id]), Buffer.from(name)]))
export const size = (bytes: number | bigint): Buffer => optionReply(7, 3, numbers([2, 0], [8, bytes], [2, 3]))
export const blocks = (least: number, most: number): Buffer =>
  optionReply(7, 3, numbers([2, 3], [4, least], [4, 4096], [4, most]))

export const simple = (cookie: number, error: number, content: Uint8Array = Buffer.alloc(0)): Buffer =>
  Buffer.concat([numbers([4, 0x67446698], [4, error], [8, cookie]), content])

export const chunk = (cookie: number, kind: number, payload: Uint8Array, flags = 1): Buffer =>
  Buffer.concat([numbers([4, 0x668e33ef], [2, flags], [2, kind], [8, cookie], [4, payload.length]), payload])
export const data = (cookie: number, offset: number, content: Uint8Array, flags = 1): Buffer =>
  chunk(cookie, 1, Buffer.concat([numbers([8, offset]), content]), flags)
export const hole = (cookie: number, offset: number, bytes: number, flags = 1): Buffer =>
  chunk(cookie, 2, numbers([8, offset], [4, bytes]), flags)
export const status = (cookie: number, id: number, runs: [number, number][], flags = 1): Buffer =>
  chunk(
    cookie,
    5,
    Buffer.concat([numbers([4, id]), ...runs.map(([length, state]) => numbers([4, length], [4, state]))]),
    flags,
  )
export const refusal = (cookie: number, error: number, words: string, flags = 1): Buffer =>
  chunk(cookie, 0x8001, Buffer.concat([numbers([4, error], [2, words.length]), Buffer.from(words)]), flags)

/** A handshake with structured replies and one context. */
export const handshake = (bytes: number): Buffer =>
  Buffer.concat([greeting(), ack(8), context(7, 'base:allocation'), ack(10), size(bytes), ack(7)])

/** A server that says `answers` one after the other, each once the client has sent as many bytes as it names. */
export async function scripted(
  t: ExecutionContext,
  answers: readonly [afterBytes: number, said: Buffer | 'hang up'][],
): Promise<{ socketPath: string; heard: Buffer[]; saidAt: number[]; over: Promise<void> }> {
  const socketPath = join(await folderOf(t), 'nbd')
  const heard: Buffer[] = []
  /** What it had heard of when it said each answer. */
  const saidAt: number[] = []
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const server = createServer((socket) => {
    const left = [...answers]
    const speak = (): void => {
      const bytes = heard.reduce((sum, { length }) => sum + length, 0)
      for (let next = left[0]; next !== undefined && next[0] <= bytes; next = left[0]) {
        left.shift()
        saidAt.push(bytes)
        if (next[1] === 'hang up') socket.destroy()
        else socket.write(next[1])
      }
    }
    socket.on('data', (some: Buffer) => {
      heard.push(some)
      speak()
    })
    socket.on('error', () => {})
    socket.on('close', resolve)
    speak()
  })
  server.listen(socketPath)
  await once(server, 'listening')
  t.teardown(() => void server.close())
  return { socketPath, heard, saidAt, over }
}

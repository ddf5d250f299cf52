/**
 * Reads a disk of any format through qemu-nbd: the least of the NBD protocol (github.com/NetworkBlockDevice/nbd,
 * doc/proto.md), fixed newstyle with simple replies, reads in any number at once. The server is ours, lives as long as
 * the export is open, and dies with this process.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join, resolve as absolute } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GodwitError } from '../../protocols/errors.ts'
import { PARTIAL } from '../../storage/files/durable.ts'
import { missing } from './tools.ts'

export type NbdExport = {
  readonly bytes: number
  /** Any part of the disk, at most READ_BYTES_MAX of it. */
  read(position: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

/** What NBD servers take in one request without being asked for more. */
const READ_BYTES_MAX = 32 * 1024 * 1024
/** qemu-nbd opens the image before it listens. */
const OPEN_MS = 15_000
/** One read of a disk that is worn out; past it something is wrong for good. */
const READ_MS = 60_000
const POLL_MS = 5

type Exported = {
  readonly path: string
  readonly format: 'raw' | 'qcow2'
  readonly vm: string
  /** Where the socket's folder is made; whoever clears this place after a crash knows it by PARTIAL in its name. */
  readonly place: string
}

/** Opens a stopped guest's disk for reading. ILLEGAL_STATE when a guest writes to it. */
export async function openExport({ path, format, vm, place }: Exported): Promise<NbdExport> {
  const folder = await mkdtemp(join(place, `nbd${PARTIAL}-`))
  // A socket's path has at most 107 bytes, and a data folder's may have more: both ends name the folder by what they hold.
  const held = await open(folder, 'r')
  const socketPath = `/proc/self/fd/${held.fd}/nbd`
  const args = ['--read-only', `--format=${format}`, '--socket=/proc/self/cwd/nbd', absolute(path)]
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-nbd', ...args], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  })
  let said = ''
  let ended = false
  const gone = new Promise<void>((resolve) => {
    server.on('close', () => {
      ended = true
      resolve()
    })
  })
  server.on('error', (error) => (said = error.message))
  server.stderr.on('data', (data: Buffer) => (said = `${said}${data.toString()}`.slice(-2000)))

  let socket: Socket | undefined
  const close = async (): Promise<void> => {
    socket?.destroy()
    server.kill('SIGKILL')
    await gone
    await held.close()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const deadline = performance.now() + OPEN_MS
    while ((socket = await tryConnect(socketPath)) === undefined) {
      if (ended) throw refusal(said, path, vm)
      if (performance.now() > deadline)
        throw new GodwitError({ code: 'TIMEOUT', what: 'qemu-nbd', afterMs: OPEN_MS })
      await sleep(POLL_MS)
    }
    const { bytes, read } = await talk(socket, path).catch(async (error: unknown) => {
      // It listens before it opens the image: when it hangs up, its last words say why.
      await Promise.race([gone, sleep(OPEN_MS, undefined, { ref: false })])
      throw ended && said !== '' ? refusal(said, path, vm) : error
    })
    return { bytes, read, close }
  } catch (error) {
    await close()
    throw error
  }
}

function refusal(said: string, path: string, vm: string): GodwitError {
  if (/ENOENT|No such file or directory\b.*qemu-nbd|failed to execute/.test(said)) return missing('qemu-nbd')
  if (/Failed to get .* lock/.test(said))
    return new GodwitError({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'read' })
  const why = said.trim().split('\n').at(-1) ?? ''
  return new GodwitError({ code: 'IO', path, why: (why || 'qemu-nbd does not open it').slice(0, 300) })
}

const tryConnect = (path: string): Promise<Socket | undefined> =>
  new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
  })

const OPTION_GO = 7
const REPLY_ACK = 1
const REPLY_INFO = 3
const REQUEST_MAGIC = 0x25609513
const REPLY_MAGIC = 0x67446698

/** Fixed newstyle, no zeroes: 124 bytes that nobody needs are left out. */
const CLIENT_FLAGS = 3

type Waiting = {
  readonly length: number
  readonly resolve: (bytes: Uint8Array) => void
  readonly reject: (error: Error) => void
}

async function talk(socket: Socket, path: string): Promise<Pick<NbdExport, 'bytes' | 'read'>> {
  const fault = (why: string): GodwitError => new GodwitError({ code: 'IO', path, why: `NBD: ${why}` })
  const take = taker(socket, () => fault('the server hung up'))
  const timer = setTimeout(() => socket.destroy(), OPEN_MS)
  const bytes = await greet(socket, take, fault).finally(() => clearTimeout(timer))

  const waiting = new Map<bigint, Waiting>()
  let nextHandle = 1n
  const hear = async (): Promise<void> => {
    for (;;) {
      const head = await take(16)
      const asked = waiting.get(head.readBigUInt64BE(8))
      if (head.readUInt32BE(0) !== REPLY_MAGIC || asked === undefined) throw fault('an answer to nothing')
      waiting.delete(head.readBigUInt64BE(8))
      const error = head.readUInt32BE(4)
      if (error !== 0) asked.reject(fault(`the disk cannot be read: error ${error}`))
      else asked.resolve(await take(asked.length))
    }
  }
  hear().catch((error: Error) => {
    socket.destroy()
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  })

  const read: NbdExport['read'] = (position, length) =>
    new Promise((resolve, reject) => {
      if (length < 1 || length > READ_BYTES_MAX || position + length > bytes)
        return reject(fault(`no bytes ${position}..${position + length} in a disk of ${bytes}`))
      if (socket.destroyed) return reject(fault('the server hung up'))
      const handle = nextHandle++
      // Silence ends the connection: every read in hand is of the same disk.
      const silence = setTimeout(() => socket.destroy(), READ_MS)
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T): void => {
          clearTimeout(silence)
          settle(value)
        }
      }
      waiting.set(handle, { length, resolve: settled(resolve), reject: settled(reject) })
      const request = Buffer.alloc(28)
      request.writeUInt32BE(REQUEST_MAGIC, 0)
      request.writeBigUInt64BE(handle, 8)
      request.writeBigUInt64BE(BigInt(position), 16)
      request.writeUInt32BE(length, 24)
      socket.write(request)
    })
  return { bytes, read }
}

/** Negotiates the one export that there is; returns its size. */
async function greet(
  socket: Socket,
  take: (bytes: number) => Promise<Buffer>,
  fault: (why: string) => GodwitError,
): Promise<number> {
  const greeting = await take(18)
  if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw fault('this is no NBD server')
  const go = Buffer.alloc(4 + 16 + 6)
  go.writeUInt32BE(CLIENT_FLAGS, 0)
  go.write('IHAVEOPT', 4)
  go.writeUInt32BE(OPTION_GO, 12)
  // The export's name, which is empty, and no more questions: 32 bits and 16 bits of zero.
  go.writeUInt32BE(6, 16)
  socket.write(go)
  let bytes: number | undefined
  for (;;) {
    const reply = await take(20)
    const kind = reply.readUInt32BE(12)
    const length = reply.readUInt32BE(16)
    if (length > 4096) throw fault('an answer without end')
    const data = await take(length)
    if (kind === REPLY_INFO && data.length >= 10 && data.readUInt16BE(0) === 0)
      bytes = Number(data.readBigUInt64BE(2))
    else if (kind === REPLY_ACK && bytes !== undefined) return bytes
    else if (kind !== REPLY_INFO) throw fault(`the export is refused: ${kind.toString(16)}`)
  }
}

/** Reads a stream in pieces of the sizes asked for, one after the other; rejects once it has ended. */
function taker(socket: Socket, ended: () => GodwitError): (bytes: number) => Promise<Buffer> {
  let pending: Buffer[] = []
  let pendingBytes = 0
  let wanted: { bytes: number; resolve: (bytes: Buffer) => void; reject: (error: Error) => void } | undefined
  const serve = (): void => {
    if (wanted === undefined || pendingBytes < wanted.bytes) return
    const all = pending.length === 1 ? (pending[0] as Buffer) : Buffer.concat(pending)
    const { bytes, resolve } = wanted
    wanted = undefined
    pending = all.length > bytes ? [all.subarray(bytes)] : []
    pendingBytes = all.length - bytes
    resolve(all.subarray(0, bytes))
  }
  socket.on('data', (data: Buffer) => {
    pending.push(data)
    pendingBytes += data.length
    serve()
  })
  socket.on('error', () => {})
  socket.on('close', () => wanted?.reject(ended()))
  return (bytes) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed && pendingBytes < bytes) return reject(ended())
      wanted = { bytes, resolve, reject }
      serve()
    })
}

/**
 * QEMU's machine protocol over its unix socket: one line of JSON each way, answers in any order by `id`, events between
 * them. Every command has a deadline, every line a bound.
 */
import { connect, type Socket } from 'node:net'
import { z } from 'zod'
import { GodwitError } from '../../protocols/errors.ts'

/** The longest answer is a list of block nodes with their bitmaps: some KiB for each of DISKS_MAX disks. */
const LINE_BYTES_MAX = 4 * 1024 * 1024
/** QEMU answers between two slices of its main loop; one that is busy writing out a disk may take seconds. */
const COMMAND_MS = 10_000

const messageSchema = z.union([
  z.looseObject({ QMP: z.unknown() }),
  z.looseObject({ event: z.string(), data: z.record(z.string(), z.unknown()).default({}) }),
  z.looseObject({ return: z.unknown(), id: z.number() }),
  z.looseObject({ error: z.object({ class: z.string(), desc: z.string() }), id: z.number().optional() }),
])

type Message = z.infer<typeof messageSchema>

export type QmpEvent = { readonly name: string; readonly data: Record<string, unknown> }

export type Qmp = {
  /** Rejects with HYPERVISOR and QEMU's own words when it refuses or goes away, with TIMEOUT when it is silent. */
  execute(command: string, args?: Record<string, unknown>, timeoutMs?: number): Promise<unknown>
  onEvent(handler: (event: QmpEvent) => void): void
  /** Settles once the connection is gone, whoever ended it. */
  readonly closed: Promise<void>
  close(): void
}

type Waiting = {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Connects and leaves negotiation mode; `vm` names the guest in errors. QEMU speaks to one client at a time. */
export async function connectQmp(path: string, vm: string, timeoutMs = COMMAND_MS): Promise<Qmp> {
  const socket = connect(path)
  const waiting = new Map<number, Waiting>()
  const handlers: ((event: QmpEvent) => void)[] = []
  const gone = Promise.withResolvers<void>()
  const greeting = Promise.withResolvers<void>()
  // A connection that ends before anybody waits for its greeting must not end this process.
  greeting.promise.catch(() => {})
  let fault = 'QEMU is gone'
  let nextId = 1

  const hear = (line: string): void => {
    const message = parse(line)
    if (message === undefined) return end('QEMU said something that is not QMP')
    if ('QMP' in message) return greeting.resolve()
    if (isEvent(message))
      return handlers.forEach((handler) => handler({ name: message.event, data: message.data }))
    const asked = typeof message.id === 'number' ? waiting.get(message.id) : undefined
    if (asked === undefined) return
    clearTimeout(asked.timer)
    waiting.delete(message.id as number)
    if (isError(message)) asked.reject(hypervisor(vm, message.error.desc))
    else asked.resolve(message['return'])
  }
  const end = (why: string): void => {
    fault = why
    socket.destroy()
  }

  readLines(socket, hear, () => end(`QEMU said more than ${LINE_BYTES_MAX} bytes in one line`))
  socket.on('error', (error) => (fault = error.message))
  socket.on('close', () => {
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer)
      reject(hypervisor(vm, fault))
    }
    waiting.clear()
    greeting.reject(hypervisor(vm, fault))
    gone.resolve()
  })

  const execute: Qmp['execute'] = (command, args = {}, limitMs = COMMAND_MS) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(hypervisor(vm, fault))
      const id = nextId++
      const timer = setTimeout(() => {
        waiting.delete(id)
        reject(new GodwitError({ code: 'TIMEOUT', what: `QEMU's ${command}`, afterMs: limitMs }))
      }, limitMs)
      waiting.set(id, { resolve, reject, timer })
      socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    })

  const timer = setTimeout(() => end(`QEMU did not greet in ${timeoutMs} ms`), timeoutMs)
  try {
    await greeting.promise
    await execute('qmp_capabilities', {}, timeoutMs)
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
  return {
    execute,
    onEvent: (handler) => void handlers.push(handler),
    closed: gone.promise,
    close: () => end('the connection was closed here'),
  }
}

/** Calls `hear` for each line, `overflow` once one is too long. */
function readLines(socket: Socket, hear: (line: string) => void, overflow: () => void): void {
  let pending: Buffer[] = []
  let pendingBytes = 0
  socket.on('data', (data: Buffer) => {
    let from = 0
    for (let at = data.indexOf(10); at >= 0 && !socket.destroyed; at = data.indexOf(10, from)) {
      const line = Buffer.concat([...pending, data.subarray(from, at)])
      pending = []
      pendingBytes = 0
      from = at + 1
      hear(line.toString())
    }
    if (from < data.length) pending.push(data.subarray(from))
    pendingBytes += data.length - from
    if (pendingBytes > LINE_BYTES_MAX) overflow()
  })
}

function parse(line: string): Message | undefined {
  try {
    return messageSchema.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}

type EventMessage = Extract<Message, { event: string }>
type ErrorMessage = Extract<Message, { error: object }>
const isEvent = (message: Message): message is EventMessage => 'event' in message
const isError = (message: Message): message is ErrorMessage => 'error' in message

const hypervisor = (vm: string, why: string): GodwitError =>
  new GodwitError({ code: 'HYPERVISOR', vm, why: why.slice(0, 300) })

/**
 * The process's worker threads for hashing and compressing: half a second of CPU for 64 MiB does not belong on a peer's main
 * thread, nor in libuv's pool, where Raft's fsync waits its turn. One pool for all who have such work, since they share
 * the cores. What they can do is the table of pack-worker.ts.
 *
 *   none ──work──▶ started ──▶ busy ◀──work──▶ free ──IDLE_MS──▶ ended
 *
 * Work waits in the order it came. A worker that dies fails what it had in hand, and is replaced by the next one started.
 * None of them keeps a process alive that has nothing else to do.
 */
import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Answer, Input, Output, Task } from './pack-worker.ts'

/** Buffers in `transfer` go to the worker without a copy, and are empty here afterwards. */
export type Ask = <T extends Task>(
  task: T,
  input: Input<T>,
  transfer?: readonly ArrayBuffer[],
) => Promise<Output<T>>

/** More threads than this outrun any disk a small site has. */
export const WORKERS = Math.min(availableParallelism(), 8)

/** The worker beside this file, by type stripping or as emitted. */
const WORKER = new URL(`./pack-worker${extname(import.meta.filename)}`, import.meta.url)

/**
 * The heap of one worker, which needs a quarter of it. V8 lets buffers outside of the heap pile up in proportion to its
 * limit before it collects them: without one, an import on two workers takes 250 MiB instead of 130, and no less CPU. A message
 * that does not fit into it ends the process, not only the worker: what is large goes in buffers.
 */
const HEAP_MIB = 32
/** A worker is 10 MiB of memory to keep, and 30 ms of CPU to start. */
const IDLE_MS = 5_000

const free: Thread[] = []
const waiting: ((thread: Thread) => void)[] = []
let threads = 0

/** Runs `use` with a worker that is nobody else's until it ends: what one task leaves in it the next one finds. */
export async function withWorker<T>(use: (ask: Ask) => Promise<T>): Promise<T> {
  const thread = await taken()
  try {
    return await use(thread.ask)
  } finally {
    release(thread)
  }
}

/** One task on a free worker, waiting for one. */
export const inWorker: Ask = (task, input, transfer) => withWorker((ask) => ask(task, input, transfer))

function taken(): Promise<Thread> {
  const thread = free.pop()
  if (thread !== undefined) return Promise.resolve(thread.take())
  if (threads < WORKERS) return Promise.resolve(new Thread())
  return new Promise((resolve) => waiting.push(resolve))
}

function release(thread: Thread): void {
  const next = waiting.shift()
  if (thread.isDead) next?.(new Thread())
  else if (next !== undefined) next(thread)
  else free.push(thread.rest())
}

class Thread {
  readonly #worker: Worker
  #settle: { resolve(value: unknown): void; reject(error: unknown): void } | undefined
  #idle: NodeJS.Timeout | undefined
  isDead = false

  constructor() {
    threads++
    this.#worker = new Worker(WORKER, { resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } })
    this.#worker.on('message', (answer: Answer) => {
      if (answer.ok) return this.#settle?.resolve(answer.value)
      this.#settle?.reject(Object.assign(new Error(answer.why), { code: answer.code }))
    })
    this.#worker.on('error', (error) => {
      this.#end()
      this.#settle?.reject(error)
    })
    this.#worker.on('exit', () => {
      this.#end()
      this.#settle?.reject(new Error('the worker has ended'))
    })
  }

  readonly ask: Ask = <T extends Task>(task: T, input: Input<T>, transfer: readonly ArrayBuffer[] = []) =>
    new Promise<Output<T>>((resolve, reject) => {
      if (this.isDead) return reject(new Error('the worker has ended'))
      this.#settle = { resolve, reject }
      this.#worker.postMessage({ task, input }, transfer)
    })

  take(): this {
    clearTimeout(this.#idle)
    this.#worker.ref()
    return this
  }

  rest(): this {
    this.#worker.unref()
    this.#idle = setTimeout(() => {
      this.#end()
      void this.#worker.terminate()
    }, IDLE_MS).unref()
    return this
  }

  /** Nobody is given it any more, from now on and not only once it is gone. */
  #end(): void {
    if (this.isDead) return
    this.isDead = true
    threads--
    clearTimeout(this.#idle)
    const at = free.indexOf(this)
    if (at !== -1) free.splice(at, 1)
  }
}

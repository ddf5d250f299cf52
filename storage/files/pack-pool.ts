/**
 * Worker threads that hash and compress for ingest: half a second of CPU for 64 MiB does not belong on a peer's main
 * thread, nor in libuv's pool, where Raft's fsync waits its turn. They live as long as one ingest.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Answer, Job, Wanted } from './pack-worker.ts'

export type PackPool = {
  readonly size: number
  /**
   * One job on a free worker, waiting for one. `choose` is told the job's hashes and says which chunks are to be packed;
   * the frames come back in that order.
   */
  run(job: Omit<Job, 'kind'>, choose: (hashes: Uint8Array) => Promise<number[]>): Promise<Uint8Array[]>
  close(): Promise<void>
}

type Hand = (message: Job | Wanted, transfer: ArrayBuffer[]) => Promise<Answer>

/** The worker beside this file, by type stripping or as emitted. */
const WORKER = new URL(`./pack-worker${extname(import.meta.filename)}`, import.meta.url)

/**
 * The heap of one worker, which needs a quarter of it. V8 lets buffers outside of the heap pile up in proportion to its
 * limit before it collects them: without one, an import on two workers takes 250 MiB instead of 130, and no less CPU.
 */
const HEAP_MIB = 32

/** `path` is the file that jobs without content are read from. */
export function openPackPool(size: number, path?: string): PackPool {
  const options = { workerData: { path }, resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } }
  const workers = Array.from({ length: size }, () => new Worker(WORKER, options))
  const free: Hand[] = workers.map(handOf)
  const waiting: ((hand: Hand) => void)[] = []

  const taken = (): Promise<Hand> => {
    const hand = free.pop()
    return hand === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(hand)
  }
  const release = (hand: Hand): void => {
    const next = waiting.shift()
    if (next === undefined) free.push(hand)
    else next(hand)
  }

  return {
    size,
    async run(job, choose) {
      const hand = await taken()
      try {
        const content = job.content?.buffer
        const hashed = await hand({ kind: 'hash', ...job }, content instanceof ArrayBuffer ? [content] : [])
        if (hashed.kind !== 'hashes') throw new Error('an answer out of turn')
        const wanted = await choose(hashed.hashes)
        if (wanted.length === 0) return []
        const packed = await hand({ kind: 'pack', wanted }, [])
        if (packed.kind !== 'frames') throw new Error('an answer out of turn')
        return [...packed.frames]
      } finally {
        release(hand)
      }
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.terminate()))
    },
  }
}

/** One question at a time; a worker that dies fails the one that waits, and all later ones. */
function handOf(worker: Worker): Hand {
  let settle: { resolve(answer: Answer): void; reject(error: unknown): void } | undefined
  let dead: Error | undefined
  worker.on('message', (answer: Answer) => {
    if (answer.kind !== 'failed') return settle?.resolve(answer)
    settle?.reject(Object.assign(new Error(answer.why), { code: answer.code }))
  })
  worker.on('error', (error: Error) => {
    dead = error
    settle?.reject(error)
  })
  return (message, transfer) =>
    new Promise((resolve, reject) => {
      if (dead !== undefined) return reject(dead)
      settle = { resolve, reject }
      worker.postMessage(message, transfer)
    })
}

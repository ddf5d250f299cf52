/**
 * Many seeds of one kind of simulation, over as many threads as there are cores. A thread takes the next seed when it has
 * done one; every seed has a world of its own, so the order does not matter.
 */
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Kind, Range, Report } from './kind.ts'
import { PEERS } from './peers.ts'
import { CORES } from './raft/cores.ts'

/** Functions do not go to another thread: it looks the kind up by its name. */
const KINDS: readonly Pick<Kind<never, Report, unknown>, 'name' | 'run'>[] = [PEERS, CORES]

type Work = { readonly kind: string; readonly job: unknown }

/** Runs a seed here, in this thread. */
export const runHere = <Job, Seed extends Report, Total>(
  kind: Kind<Job, Seed, Total>,
  job: Job,
  seed: number,
): Seed => kind.run(job, seed, threadCpuMs)

/** @param hear Called with each seed's report, in the order in which they end. */
export async function runBatch<Job extends Range, Seed extends Report, Total>(
  kind: Kind<Job, Seed, Total>,
  job: Job,
  hear: (report: Seed) => void = () => {},
): Promise<Total> {
  const started = performance.now()
  const reports: Seed[] = []
  const take = (report: Seed): void => {
    reports.push(report)
    hear(report)
  }
  const { firstSeed, seeds } = job
  // A thread loads all of the simulator once more: not for a single seed.
  const threads = Math.min(job.threads ?? availableParallelism(), seeds)
  const end = firstSeed + seeds
  if (threads === 1) {
    for (let seed = firstSeed; seed < end; seed++) take(runHere(kind, job, seed))
  } else {
    let next = firstSeed
    const give = (): number | undefined => (next < end ? next++ : undefined)
    const work: Work = { kind: kind.name, job }
    await Promise.all(Array.from({ length: threads }, () => thread(work, give, take)))
  }
  return kind.total(job, reports, performance.now() - started)
}

/** A thread that asks for seeds until there are none. */
function thread<Seed extends Report>(
  work: Work,
  give: () => number | undefined,
  take: (report: Seed) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: work })
    worker.on('message', (report: Seed | 'ready') => {
      if (report !== 'ready') take(report)
      worker.postMessage(give())
    })
    worker.on('error', reject)
    worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a thread ended with ${code}`))))
  })
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

/** What the other side of `thread` does; other modules' threads load this file too, and have other data. */
function serve({ kind, job }: Partial<Work>): void {
  const simulation = KINDS.find(({ name }) => name === kind)
  if (simulation === undefined) return
  parentPort?.on('message', (seed: number | undefined) => {
    if (seed === undefined) parentPort?.close()
    else parentPort?.postMessage(simulation.run(job as never, seed, threadCpuMs))
  })
  parentPort?.postMessage('ready')
}

if (!isMainThread) serve((workerData ?? {}) as Partial<Work>)

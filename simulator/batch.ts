/**
 * Many seeds of one scenario, over as many threads as there are cores. A thread takes the next seed when it has done
 * one; every seed has a world of its own, so the order does not matter.
 */
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { runSeed, type SeedReport } from './scenario.ts'
import { scenarioNamed } from './scenarios.ts'

export type Batch = {
  readonly scenario: string
  readonly peers: number
  readonly firstSeed: number
  readonly seeds: number
  readonly virtualMs?: number
  readonly threads?: number
}

export type BatchReport = {
  readonly scenario: string
  readonly ok: boolean
  readonly seeds: number
  readonly failed: readonly number[]
  /** Moments that no seed reached. */
  readonly missing: readonly string[]
  readonly virtualMs: number
  readonly cpuMs: number
  readonly wallMs: number
}

/** A batch this large must have reached every moment; with fewer seeds that would be luck. */
const MOMENTS_AFTER_SEEDS = 20

type Job = { readonly batch: Batch; readonly mine: true }

/** Runs a seed here, in this thread. */
export function runHere(batch: Batch, seed: number): SeedReport {
  const scenario = scenarioNamed(batch.scenario)
  if (scenario === undefined) throw new Error(`no scenario ${batch.scenario}`)
  const { peers, virtualMs } = batch
  return runSeed(scenario, { seed, peers, ...(virtualMs !== undefined && { virtualMs }) }, threadCpuMs)
}

/** @param hear Called with each seed's report, in the order in which they end. */
export async function runBatch(
  batch: Batch,
  hear: (report: SeedReport) => void = () => {},
): Promise<BatchReport> {
  const started = performance.now()
  const reports: SeedReport[] = []
  let next = batch.firstSeed
  const end = batch.firstSeed + batch.seeds
  const threads = Math.min(batch.threads ?? availableParallelism(), batch.seeds)
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { batch, mine: true } satisfies Job })
      const give = (): void => worker.postMessage(next < end ? next++ : undefined)
      worker.on('message', (report: SeedReport | 'ready') => {
        if (report !== 'ready') {
          reports.push(report)
          hear(report)
        }
        give()
      })
      worker.on('error', reject)
      worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a thread ended with ${code}`))))
    })
  await Promise.all(Array.from({ length: threads }, work))
  return summary(batch, reports, performance.now() - started)
}

function summary(batch: Batch, reports: readonly SeedReport[], wallMs: number): BatchReport {
  const failed = reports.filter(({ ok }) => !ok).map(({ seed }) => seed)
  const missing = Object.keys(reports[0]?.moments ?? {}).filter((name) =>
    reports.every(({ moments }) => !moments[name]),
  )
  return {
    scenario: batch.scenario,
    ok: failed.length === 0 && (missing.length === 0 || reports.length < MOMENTS_AFTER_SEEDS),
    seeds: reports.length,
    failed: failed.toSorted((a, b) => a - b),
    missing,
    virtualMs: sum(reports.map(({ atMs }) => atMs)),
    cpuMs: sum(reports.map(({ cpuMs }) => cpuMs)),
    wallMs: Math.round(wallMs),
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

if (!isMainThread && (workerData as Partial<Job> | null)?.mine === true) {
  const { batch } = workerData as Job
  parentPort?.on('message', (seed: number | undefined) => {
    if (seed === undefined) parentPort?.close()
    else parentPort?.postMessage(runHere(batch, seed))
  })
  parentPort?.postMessage('ready')
}

/**
 * Many seeds of tier A over as many threads as are wanted. A thread takes the next seed when it has done one; every seed is
 * a world of its own, so the order does not matter.
 */
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type RaftReport, runSetup } from './run.ts'
import { setupOf } from './scenarios.ts'

export type RaftBatch = {
  /** Swarm seeds when absent. */
  readonly scenario?: string
  readonly firstSeed: number
  readonly seeds: number
  readonly minutes?: number
  readonly threads?: number
}

export type RaftBatchReport = {
  readonly scenario: string
  readonly ok: boolean
  readonly seeds: number
  readonly failed: readonly number[]
  readonly virtualSeconds: number
  readonly cpuSeconds: number
  readonly wallSeconds: number
  /** Over all seeds. */
  readonly faults: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
  readonly figures: Readonly<Record<string, Quantiles>>
}

type Quantiles = { readonly mean: number; readonly p50: number; readonly p99: number; readonly p999: number }

type Job = { readonly batch: RaftBatch; readonly raft: true }

export function runHere(batch: RaftBatch, seed: number): RaftReport {
  return runSetup(setupOf(batch.scenario, seed, batch.minutes), threadCpuMs).report
}

/** @param hear Called with each seed's report, in the order in which they end. */
export async function runBatch(
  batch: RaftBatch,
  hear: (report: RaftReport) => void = () => {},
): Promise<RaftBatchReport> {
  const started = performance.now()
  const reports: RaftReport[] = []
  const take = (report: RaftReport): void => {
    reports.push(report)
    hear(report)
  }
  const threads = Math.min(batch.threads ?? availableParallelism(), batch.seeds)
  const end = batch.firstSeed + batch.seeds
  if (threads <= 1) {
    for (let seed = batch.firstSeed; seed < end; seed++) take(runHere(batch, seed))
    return summary(batch, reports, performance.now() - started)
  }
  let next = batch.firstSeed
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { batch, raft: true } satisfies Job })
      worker.on('message', (report: RaftReport | 'ready') => {
        if (report !== 'ready') take(report)
        worker.postMessage(next < end ? next++ : undefined)
      })
      worker.on('error', reject)
      worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a thread ended with ${code}`))))
    })
  await Promise.all(Array.from({ length: threads }, work))
  return summary(batch, reports, performance.now() - started)
}

function summary(batch: RaftBatch, reports: readonly RaftReport[], wallMs: number): RaftBatchReport {
  const total = (of: (report: RaftReport) => number): number =>
    reports.reduce((sum, each) => sum + of(each), 0)
  const totals = (of: (report: RaftReport) => Readonly<Record<string, number>>): Record<string, number> => {
    const sums: Record<string, number> = {}
    for (const report of reports) {
      for (const [name, value] of Object.entries(of(report))) sums[name] = (sums[name] ?? 0) + value
    }
    return sums
  }
  const failed = reports.filter(({ ok }) => !ok).map(({ seed }) => seed)
  return {
    scenario: batch.scenario ?? 'swarm',
    ok: failed.length === 0,
    seeds: reports.length,
    failed: failed.toSorted((a, b) => a - b),
    virtualSeconds: Math.round(total(({ atUs }) => atUs) / 1e6),
    cpuSeconds: Math.round(total(({ cpuMs }) => cpuMs) / 100) / 10,
    wallSeconds: Math.round(wallMs / 100) / 10,
    faults: totals(({ faults }) => faults),
    counts: totals(({ counts }) => counts),
    figures: Object.fromEntries(
      Object.keys(reports[0]?.figures ?? {}).map((name) => [
        name,
        quantiles(reports.flatMap(({ figures }) => figures[name] ?? [])),
      ]),
    ),
  }
}

function quantiles(values: readonly number[]): Quantiles {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
  const mean = sorted.reduce((sum, each) => sum + each, 0) / Math.max(1, sorted.length)
  return { mean: Math.round(10 * mean) / 10, p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

if (!isMainThread && (workerData as Partial<Job> | null)?.raft === true) {
  const { batch } = workerData as Job
  parentPort?.on('message', (seed: number | undefined) => {
    if (seed === undefined) parentPort?.close()
    else parentPort?.postMessage(runHere(batch, seed))
  })
  parentPort?.postMessage('ready')
}

/** Tier A: simulations of the Raft cores alone under a nemesis; what a batch of seeds is, and what it comes to. */
import type { Kind, Range } from '../kind.ts'
import { type RaftReport, runSetup } from './run.ts'
import { setupOf } from './scenarios.ts'

export type CoresJob = Range & {
  /** Swarm seeds when absent. */
  readonly scenario?: string
  readonly minutes?: number
}

type CoresTotal = {
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

export const CORES: Kind<CoresJob, RaftReport, CoresTotal> = {
  name: 'raft',
  run: ({ scenario, minutes }, seed, cpuMs) => runSetup(setupOf(scenario, seed, minutes), cpuMs).report,
  total,
  seedText,
  totalText,
}

function total({ scenario }: CoresJob, reports: readonly RaftReport[], wallMs: number): CoresTotal {
  const sum = (of: (report: RaftReport) => number): number => reports.reduce((all, each) => all + of(each), 0)
  const totals = (of: (report: RaftReport) => Readonly<Record<string, number>>): Record<string, number> => {
    const sums: Record<string, number> = {}
    for (const report of reports) {
      for (const [name, value] of Object.entries(of(report))) sums[name] = (sums[name] ?? 0) + value
    }
    return sums
  }
  const failed = reports.filter(({ ok }) => !ok).map(({ seed }) => seed)
  return {
    scenario: scenario ?? 'swarm',
    ok: failed.length === 0,
    seeds: reports.length,
    failed: failed.toSorted((a, b) => a - b),
    virtualSeconds: Math.round(sum(({ atUs }) => atUs) / 1e6),
    cpuSeconds: Math.round(sum(({ cpuMs }) => cpuMs) / 100) / 10,
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

function seedText({ seed, ok, why, atUs, cpuMs, events, hash, faults, counts }: RaftReport): string {
  const struck = Object.entries(faults).map(([name, times]) => `${name} ${times}`)
  const figures = Object.entries(counts).map(([name, value]) => `${name} ${value}`)
  return (
    `seed ${seed} ${ok ? 'held' : 'FAILED'}  ${(atUs / 1e6).toFixed(1)} virtual s in ${(cpuMs / 1e3).toFixed(2)} s of CPU, ` +
    `${events} events, hash ${hash}\n  ${figures.join(', ')}\n` +
    `${struck.length > 0 ? `  faults: ${struck.join(', ')}\n` : ''}${ok ? '' : `  ${why}\n`}`
  )
}

function totalText({
  ok,
  seeds,
  failed,
  virtualSeconds,
  cpuSeconds,
  wallSeconds,
  figures,
}: CoresTotal): string {
  const measured = Object.entries(figures).map(
    ([name, { mean, p50, p99, p999 }]) => `${name}: mean ${mean}, p50 ${p50}, p99 ${p99}, p99.9 ${p999}\n`,
  )
  const speed = Math.round(virtualSeconds / Math.max(0.1, cpuSeconds))
  return (
    `${ok ? 'held' : 'FAILED'}: ${seeds - failed.length} of ${seeds} seeds, ${virtualSeconds} virtual s in ${cpuSeconds} s of CPU ` +
    `and ${wallSeconds} s (${speed} virtual s per CPU-s)${ok ? '' : `; failed: ${failed.join(' ')}`}\n${measured.join('')}`
  )
}

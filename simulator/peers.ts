/** Simulations of whole peers: what a batch of one scenario's seeds is, and what it comes to. */
import type { Kind, Range } from './kind.ts'
import { runSeed, type SeedReport } from './scenario.ts'
import { scenarioNamed } from './scenarios.ts'

type PeersJob = Range & {
  readonly scenario: string
  readonly peers: number
  readonly virtualMs?: number
}

type PeersTotal = {
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

export const PEERS: Kind<PeersJob, SeedReport, PeersTotal> = {
  name: 'peers',
  run({ scenario, peers, virtualMs }, seed, cpuMs) {
    const named = scenarioNamed(scenario)
    if (named === undefined) throw new Error(`no scenario ${scenario}`)
    return runSeed(named, { seed, peers, ...(virtualMs !== undefined && { virtualMs }) }, cpuMs)
  },
  total,
  seedText,
  totalText,
}

function total({ scenario }: PeersJob, reports: readonly SeedReport[], wallMs: number): PeersTotal {
  const failed = reports.filter(({ ok }) => !ok).map(({ seed }) => seed)
  const missing = Object.keys(reports[0]?.moments ?? {}).filter((name) =>
    reports.every(({ moments }) => !moments[name]),
  )
  return {
    scenario,
    ok: failed.length === 0 && (missing.length === 0 || reports.length < MOMENTS_AFTER_SEEDS),
    seeds: reports.length,
    failed: failed.toSorted((a, b) => a - b),
    missing,
    virtualMs: sum(reports.map(({ atMs }) => atMs)),
    cpuMs: sum(reports.map(({ cpuMs }) => cpuMs)),
    wallMs: Math.round(wallMs),
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0)

function seedText(report: SeedReport): string {
  const { seed, ok, atMs, cpuMs, events, hash, moments, counts } = report
  const ratio = (atMs / Math.max(1, cpuMs)).toFixed(1)
  const reached = Object.entries(moments).map(([name, times]) => `${name} ${times}`)
  const figures = Object.entries(counts).map(([name, value]) => `${name} ${value}`)
  const said =
    `seed ${seed} ${ok ? 'held' : 'FAILED'}  ${(atMs / 1_000).toFixed(1)} virtual s in ${(cpuMs / 1_000).toFixed(2)} s of CPU ` +
    `(${ratio} x), ${events} events, hash ${hash.slice(0, 16)}\n` +
    `  moments: ${reached.join(', ')}\n${figures.length > 0 ? `  counts: ${figures.join(', ')}\n` : ''}`
  if (ok) return said
  return (
    `${said}${report.trace.map((line) => `  ${line}\n`).join('')}  ${report.why}\n` +
    `  again: npm run simulate -- ${report.scenario} --peers ${report.peers} --seed ${seed}\n`
  )
}

/** Nothing for a single seed, which has said it all. */
function totalText({ ok, seeds, failed, missing, virtualMs, cpuMs, wallMs }: PeersTotal): string {
  if (seeds === 1) return ''
  const faults = [
    ...(failed.length > 0 ? [`failed: ${failed.join(' ')}`] : []),
    ...(missing.length > 0 ? [`never reached: ${missing.join(' ')}`] : []),
  ]
  return (
    `${ok ? 'held' : 'FAILED'}: ${seeds - failed.length} of ${seeds} seeds, ${virtualMs / 1_000} virtual s in ` +
    `${(cpuMs / 1_000).toFixed(1)} s of CPU and ${(wallMs / 1_000).toFixed(1)} s${faults.length > 0 ? `; ${faults.join('; ')}` : ''}\n`
  )
}

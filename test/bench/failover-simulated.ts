/**
 * What no lab shows in a sitting: the time without a leader over a thousand seeds, at the distances of Ongaro's thesis
 * (chapter 9), and how often a leader is unseated without cause in a day of a slow and lossy link. Tier A of the simulator,
 * with the product's timing; a seed of which anything else does not hold is an error.
 */
import { runBatch } from '../../simulator/batch.ts'
import { CORES } from '../../simulator/raft/cores.ts'
import { type Row, row } from './bench.ts'

type Terms = { readonly quick: boolean; readonly say: (line: string) => void }

export async function simulated({ quick, say }: Terms): Promise<Row[]> {
  const total = async (scenario: string, seeds: number) => {
    const report = await runBatch(CORES, { firstSeed: 1, seeds, scenario })
    if (!report.ok) throw new Error(`${scenario}: seeds ${report.failed.join(' ')} did not hold`)
    say(`${scenario}: ${seeds} seeds, ${report.virtualSeconds} virtual s in ${report.cpuSeconds} s of CPU`)
    return report
  }
  const deaths = await total('wan/us-5', quick ? 20 : 1_000)
  const days = await total('wan/day-150ms-2pct', quick ? 1 : 10)
  const { mean = null, p999 = null } = deaths.figures['leaderless_ms'] ?? {}
  const leaderless = { metric: 'leaderless_ms', unit: 'ms', better: 'lower' } as const
  const near = `simulated, 30-40 ms one way, 5 voters, ${deaths.seeds} seeds`
  return [
    row({ ...leaderless, case: `${near}, mean`, value: mean, must: 475, aim: 350 }),
    row({ ...leaderless, case: `${near}, p99.9`, value: p999, must: 1_500, aim: 1_000 }),
    row({
      case: `simulated, 150 ms RTT and 2 % loss, 5 voters, ${days.seeds} days`,
      metric: 'spurious_per_day',
      value: days.figures['elected']?.mean ?? null,
      unit: 'leader changes',
      must: 0,
      better: 'lower',
    }),
  ]
}

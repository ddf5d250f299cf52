/**
 * How fast tier A is: virtual seconds per second of CPU for a healthy mesh group and fifty one-voter sites with clients,
 * checkers on; and how many seeds of ten virtual minutes under faults an hour of this machine's cores would take.
 */
import { availableParallelism } from 'node:os'
import { runSetup } from '../../simulator/raft/run.ts'
import { drawn, healthy } from '../../simulator/raft/setup.ts'
import { type Bench, type Row, row } from './bench.ts'

const SITES = 50
/** 10,000 seeds in a night of eight hours. */
const SEEDS_PER_HOUR_MUST = 1_250

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

export const simSpeed: Bench = ({ quick, say }) => {
  const rows: Row[] = []
  for (const voters of [5, 7]) {
    const { report } = runSetup(healthy(1, voters, SITES, quick ? 1_800 : 14_400), cpuMs)
    if (!report.ok) throw new Error(report.why)
    const value = report.atUs / 1_000 / report.cpuMs
    say(
      `${voters} voters: ${(report.atUs / 1e6).toFixed(0)} virtual s in ${(report.cpuMs / 1e3).toFixed(1)} s of CPU`,
    )
    rows.push(
      row({
        case: `healthy, ${voters} voters and ${SITES} sites`,
        metric: 'sim_over_real',
        value,
        unit: 'ratio',
        must: 1_000,
        aim: 5_000,
        better: 'higher',
      }),
    )
  }
  const seeds = quick ? 6 : 40
  let spentMs = 0
  let virtualS = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const { report } = runSetup(drawn(seed, 10), cpuMs)
    if (!report.ok) throw new Error(`seed ${seed}: ${report.why}`)
    spentMs += report.cpuMs
    virtualS += report.atUs / 1e6
  }
  say(`${seeds} seeds: ${virtualS.toFixed(0)} virtual s in ${(spentMs / 1e3).toFixed(1)} s of CPU`)
  const unit = 'seeds/h'
  const perHour = (3_600_000 * seeds * availableParallelism()) / spentMs
  rows.push(
    row({
      case: 'swarm, 10 virtual min',
      metric: 'seeds_per_hour',
      value: perHour,
      unit,
      must: SEEDS_PER_HOUR_MUST,
      better: 'higher',
    }),
    row({
      case: 'swarm, 10 virtual min',
      metric: 'sim_over_real',
      value: (1_000 * virtualS) / spentMs,
      unit: 'ratio',
      better: 'higher',
    }),
  )
  return Promise.resolve({ rows, note: `one thread, CPU time; ${seeds} swarm seeds, all checkers on` })
}

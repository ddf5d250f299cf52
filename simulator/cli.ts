/**
 * `npm run simulate -- SCENARIO --peers N --seed S [--seeds K]`: runs it and says what came of it. Without a scenario it
 * lists them. Ends with 0 when all held, 1 when a seed failed, 2 on usage.
 */
import { parseArgs } from 'node:util'
import { type Batch, type BatchReport, runBatch, runHere } from './batch.ts'
import { planted } from './planted/cli.ts'
import { raft } from './raft/cli.ts'
import type { SeedReport } from './scenario.ts'
import { SCENARIOS, scenarioNamed } from './scenarios.ts'

const USAGE = `usage: npm run simulate -- SCENARIO [options]
       npm run simulate -- raft [options]   the Raft cores alone under a nemesis; raft --help
       npm run simulate -- planted [ID...]  whether the simulations find bugs that others had
  --peers N     how many peers
  --seed S      the (first) seed, 1 unless told
  --seeds K     how many seeds, from S on
  --seconds V   virtual seconds, instead of the scenario's own
  --threads T   at once, as many as cores unless told
  --twice       run each seed twice and compare the event hashes
  --json        one line of JSON per seed, and one for the batch

scenarios:
${SCENARIOS.map(({ name, summary, peers, virtualMs }) => `  ${name.padEnd(12)}${summary} (${peers} peers, ${virtualMs / 1_000} s)`).join('\n')}
`

const options = {
  peers: { type: 'string' },
  seed: { type: 'string' },
  seeds: { type: 'string' },
  seconds: { type: 'string' },
  threads: { type: 'string' },
  twice: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

const [command = '', ...rest] = process.argv.slice(2)
process.exitCode =
  command === 'raft' ? await raft(rest) : command === 'planted' ? await planted(rest) : await main()

async function main(): Promise<number> {
  let parsed
  try {
    parsed = parseArgs({ options, allowPositionals: true })
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
  const { values, positionals } = parsed
  const [name] = positionals
  if (values.help || name === undefined) {
    process.stdout.write(USAGE)
    return values.help ? 0 : 2
  }
  const scenario = scenarioNamed(name)
  if (scenario === undefined || positionals.length > 1) return usage(`no scenario ${positionals.join(' ')}`)
  const numbers = ['peers', 'seed', 'seeds', 'seconds', 'threads'] as const
  for (const option of numbers) {
    const value = values[option]
    if (value !== undefined && !/^[1-9][0-9]{0,8}$/.test(value))
      return usage(`--${option} takes a number, not ${value}`)
  }
  const number = (option: (typeof numbers)[number], otherwise: number): number =>
    Number(values[option] ?? otherwise)
  const batch: Batch = {
    scenario: name,
    peers: number('peers', scenario.peers),
    firstSeed: number('seed', 1),
    seeds: number('seeds', 1),
    virtualMs: number('seconds', scenario.virtualMs / 1_000) * 1_000,
    ...(values.threads !== undefined && { threads: Number(values.threads) }),
  }
  const print = values.json ? printJson : printText
  if (values.twice) return twice(batch, print)
  const report = await runBatch(batch, print)
  if (values.json) printJson(report)
  else process.stdout.write(batchText(report))
  return report.ok ? 0 : 1
}

/** The same seed gives the same hash, or something of this world leaked into that one. */
function twice(batch: Batch, print: (report: SeedReport) => void): number {
  for (let seed = batch.firstSeed; seed < batch.firstSeed + batch.seeds; seed++) {
    const [first, second] = [runHere(batch, seed), runHere(batch, seed)]
    print(first)
    if (first.hash !== second.hash) {
      process.stderr.write(`seed ${seed} is not deterministic: ${first.hash}, then ${second.hash}\n`)
      return 1
    }
    if (!first.ok) return 1
  }
  return 0
}

function printJson(report: SeedReport | BatchReport): void {
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

function printText(report: SeedReport): void {
  const { seed, ok, atMs, cpuMs, events, hash, moments, counts } = report
  const ratio = (atMs / Math.max(1, cpuMs)).toFixed(1)
  const reached = Object.entries(moments).map(([name, times]) => `${name} ${times}`)
  const figures = Object.entries(counts).map(([name, value]) => `${name} ${value}`)
  process.stdout.write(
    `seed ${seed} ${ok ? 'held' : 'FAILED'}  ${(atMs / 1_000).toFixed(1)} virtual s in ${(cpuMs / 1_000).toFixed(2)} s of CPU ` +
      `(${ratio} x), ${events} events, hash ${hash.slice(0, 16)}\n` +
      `  moments: ${reached.join(', ')}\n${figures.length > 0 ? `  counts: ${figures.join(', ')}\n` : ''}`,
  )
  if (ok) return
  process.stdout.write(
    `${report.trace.map((line) => `  ${line}\n`).join('')}  ${report.why}\n` +
      `  again: npm run simulate -- ${report.scenario} --peers ${report.peers} --seed ${seed}\n`,
  )
}

function batchText({ ok, seeds, failed, missing, virtualMs, cpuMs, wallMs }: BatchReport): string {
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

function usage(why: string): number {
  process.stderr.write(`${why}\n${USAGE}`)
  return 2
}

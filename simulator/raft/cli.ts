/**
 * `npm run simulate -- raft [--seeds K] [--seed S] [--minutes M] …`: tier A, the Raft cores under a nemesis. Ends with 0 when
 * all held, 1 when a seed failed, 2 on usage. A seed that fails is made smaller and printed with how to run it again.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type RaftBatch, type RaftBatchReport, runBatch, runHere } from './batch.ts'
import { type RaftReport, runSetup, runTraced } from './run.ts'
import { SCENARIOS, setupOf } from './scenarios.ts'
import type { Setup } from './setup.ts'
import { shrink } from './shrink.ts'

const USAGE = `usage: npm run simulate -- raft [options]
  --seeds K          how many seeds, 1 unless told
  --seed S           the first, 1 unless told
  --minutes M        virtual minutes of faults, 2 unless told
  --scenario NAME    one of those below instead of a swarm of faults
  --threads T        at once, as many as cores unless told
  --json             one line of JSON per seed, and one for the batch
  --twice            run each seed twice and compare the event hashes
  --history FILE     of one seed: what clients asked and were told, as JSON lines
  --raft-trace FILE  of one seed: the mesh group's steps, as etcd's trace validation reads them
  --setup FILE       run what a failing seed was shrunk to
  --no-shrink        print a failing seed as it is

scenarios:
${SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(34)}${summary}`).join('\n')}
`

const options = {
  seeds: { type: 'string' },
  seed: { type: 'string' },
  minutes: { type: 'string' },
  scenario: { type: 'string' },
  threads: { type: 'string' },
  json: { type: 'boolean' },
  twice: { type: 'boolean' },
  history: { type: 'string' },
  'raft-trace': { type: 'string' },
  setup: { type: 'string' },
  'no-shrink': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** Lines of a failing seed that are printed, and seeds that are made smaller: each costs many runs. */
const LINES = 40
const SHRUNK_MAX = 3

type Values = ReturnType<typeof parse>

const parse = (args: readonly string[]) => parseArgs({ args: [...args], options }).values

export async function raft(args: readonly string[]): Promise<number> {
  let values: Values
  try {
    values = parse(args)
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
  if (values.help) {
    process.stdout.write(USAGE)
    return 0
  }
  for (const name of ['seeds', 'seed', 'threads'] as const) {
    if (values[name] !== undefined && !/^[1-9][0-9]{0,8}$/.test(values[name]))
      return usage(`--${name} takes a number`)
  }
  if (values.minutes !== undefined && !(Number(values.minutes) > 0 && Number(values.minutes) <= 1e6)) {
    return usage('--minutes takes a number')
  }
  if (values.scenario !== undefined && !SCENARIOS.some(({ name }) => name === values.scenario)) {
    return usage(`no scenario ${values.scenario}`)
  }
  const batch: RaftBatch = {
    firstSeed: Number(values.seed ?? 1),
    seeds: Number(values.seeds ?? 1),
    ...(values.scenario !== undefined && { scenario: values.scenario }),
    ...(values.minutes !== undefined && { minutes: Number(values.minutes) }),
    ...(values.threads !== undefined && { threads: Number(values.threads) }),
  }
  if (values.setup !== undefined) return again(JSON.parse(readFileSync(values.setup, 'utf8')) as Setup)
  if (values.history !== undefined || values['raft-trace'] !== undefined) return written(batch, values)
  if (values.twice) return twice(batch, values)
  return many(batch, values)
}

async function many(batch: RaftBatch, values: Values): Promise<number> {
  const failed: RaftReport[] = []
  const report = await runBatch(batch, (each) => {
    process.stdout.write(values.json ? `${JSON.stringify(each)}\n` : seedText(each))
    if (!each.ok) failed.push(each)
  })
  for (const each of failed.slice(0, SHRUNK_MAX)) explain(batch, each, values)
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : batchText(report))
  return report.ok ? 0 : 1
}

/** The same seed gives the same hash, or something of this world leaked into that one. */
function twice(batch: RaftBatch, values: Values): number {
  for (let seed = batch.firstSeed; seed < batch.firstSeed + batch.seeds; seed++) {
    const [first, second] = [runHere(batch, seed), runHere(batch, seed)]
    process.stdout.write(values.json ? `${JSON.stringify(first)}\n` : seedText(first))
    if (first.hash !== second.hash) {
      process.stderr.write(`seed ${seed} is not deterministic: ${first.hash}, then ${second.hash}\n`)
      return 1
    }
    if (!first.ok) return 1
  }
  return 0
}

/** One seed, whose history or steps go to a file. */
function written(batch: RaftBatch, values: Values): number {
  const { simulation, trace, why } = runTraced(setupOf(batch.scenario, batch.firstSeed, batch.minutes))
  if (values.history !== undefined) writeFileSync(values.history, lines(simulation.history.lines()))
  if (values['raft-trace'] !== undefined) writeFileSync(values['raft-trace'], lines(trace.lines))
  process.stdout.write(`seed ${batch.firstSeed} ${why === '' ? 'held' : `FAILED: ${why}`}\n`)
  return why === '' ? 0 : 1
}

const lines = (each: Iterable<string>): string => [...each].map((line) => `${line}\n`).join('')

function again(setup: Setup): number {
  const { report, simulation } = runSetup(setup, () => 0)
  process.stdout.write(seedText(report))
  if (!report.ok) process.stdout.write(lines([...simulation.lines(LINES), ...simulation.states()]))
  return report.ok ? 0 : 1
}

/** What a reader needs of a failure: the smallest world in which it happens, its newest events, and how to see it again. */
function explain(batch: RaftBatch, { seed, why }: RaftReport, values: Values): void {
  const setup = setupOf(batch.scenario, seed, batch.minutes)
  const shrunk = values['no-shrink'] ? { setup, why, tries: 0 } : shrink(setup, why)
  const { simulation } = runSetup(shrunk.setup, () => 0)
  const which = batch.scenario === undefined ? '' : ` --scenario ${batch.scenario}`
  const length = batch.minutes === undefined ? '' : ` --minutes ${batch.minutes}`
  process.stderr.write(
    lines([
      '',
      `seed ${seed}: ${shrunk.why}`,
      `again: npm run simulate -- raft --seed ${seed}${which}${length}`,
      `shrunk in ${shrunk.tries} runs to ${shrunk.setup.hosts} hosts and ${shrunk.setup.faults.length} faults; --setup takes this:`,
      JSON.stringify(shrunk.setup),
      'its last events:',
      ...simulation.lines(LINES),
      'its members:',
      ...simulation.states(),
    ]),
  )
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

function batchText({
  ok,
  seeds,
  failed,
  virtualSeconds,
  cpuSeconds,
  wallSeconds,
  figures,
}: RaftBatchReport): string {
  const measured = Object.entries(figures).map(
    ([name, { mean, p50, p99, p999 }]) => `${name}: mean ${mean}, p50 ${p50}, p99 ${p99}, p99.9 ${p999}\n`,
  )
  const speed = Math.round(virtualSeconds / Math.max(0.1, cpuSeconds))
  return (
    `${ok ? 'held' : 'FAILED'}: ${seeds - failed.length} of ${seeds} seeds, ${virtualSeconds} virtual s in ${cpuSeconds} s of CPU ` +
    `and ${wallSeconds} s (${speed} virtual s per CPU-s)${ok ? '' : `; failed: ${failed.join(' ')}`}\n${measured.join('')}`
  )
}

function usage(why: string): number {
  process.stderr.write(`${why}\n${USAGE}`)
  return 2
}

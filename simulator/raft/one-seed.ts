/**
 * What is done with one seed of tier A beside running it: writing down what its clients and members did, running again what a
 * failing seed was made smaller to, and making one smaller.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { CORES, type CoresJob } from './cores.ts'
import { runSetup, runTraced, wholeHistory, type RaftReport } from './run.ts'
import { setupOf } from './scenarios.ts'
import type { Setup } from './setup.ts'
import { shrink } from './shrink.ts'

/** Lines of a failing seed that are printed: each costs a reader. */
const LINES = 40

type Files = { readonly history?: string; readonly raftTrace?: string }

/** One seed, whose history or steps go to a file. */
export function writeDown(job: CoresJob, { history, raftTrace }: Files): number {
  const setup = setupOf(job.scenario, job.firstSeed, job.minutes)
  const { simulation, trace, why } = runTraced(setup)
  if (history !== undefined) {
    // A checker ends a run before clients hear the answer that was wrong.
    const whole = why === '' ? simulation.history : wholeHistory(setup)
    writeFileSync(history, lines(whole.lines()))
  }
  if (raftTrace !== undefined) writeFileSync(raftTrace, lines(trace.lines))
  process.stdout.write(`seed ${job.firstSeed} ${why === '' ? 'held' : `FAILED: ${why}`}\n`)
  return why === '' ? 0 : 1
}

const lines = (each: Iterable<string>): string => [...each].map((line) => `${line}\n`).join('')

/** Runs the setup in that file. */
export function runFile(file: string): number {
  const setup = JSON.parse(readFileSync(file, 'utf8')) as Setup
  const { report, simulation } = runSetup(setup, () => 0)
  process.stdout.write(CORES.seedText(report))
  if (!report.ok) process.stdout.write(lines([...simulation.lines(LINES), ...simulation.states()]))
  return report.ok ? 0 : 1
}

/** What a reader needs of a failure: the smallest world in which it happens, its newest events, and how to see it again. */
export function explain(job: CoresJob, { seed, why }: RaftReport, isShrunk: boolean): void {
  const setup = setupOf(job.scenario, seed, job.minutes)
  const shrunk = isShrunk ? shrink(setup, why) : { setup, why, tries: 0 }
  const { simulation } = runSetup(shrunk.setup, () => 0)
  const which = job.scenario === undefined ? '' : ` --scenario ${job.scenario}`
  const length = job.minutes === undefined ? '' : ` --minutes ${job.minutes}`
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

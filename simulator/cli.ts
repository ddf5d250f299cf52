/**
 * `npm run simulate -- SCENARIO|raft|planted|swarm [options]`: runs it and says what came of it; `--help` lists what there is. Ends
 * with 0 when all held, 1 when a seed failed, 2 on usage.
 */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { runBatch, runHere } from './batch.ts'
import type { Kind, Range, Report } from './kind.ts'
import { PEERS } from './peers.ts'
import { planted } from './planted/cli.ts'
import { PLANTED } from './planted/planted.ts'
import { CORES, type CoresJob } from './raft/cores.ts'
import { explain, runFile, writeDown } from './raft/one-seed.ts'
import type { RaftReport } from './raft/run.ts'
import { SCENARIOS as RAFT_SCENARIOS, scenarioNamed as raftScenarioNamed } from './raft/scenarios.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'
import { type Options as SwarmOptions, reportOf } from './swarm/report.ts'

/** Failing seeds that are made smaller: each costs many runs. */
const SHRUNK_MAX = 3

type Seeds = { seed?: number; seeds?: number; threads?: number; twice?: true; json?: true }
type PeersOptions = Seeds & { peers?: number; seconds?: number }
type RaftOptions = Seeds & {
  minutes?: number
  scenario?: string
  history?: string
  raftTrace?: string
  setup?: string
  shrink: boolean
}

async function main(args: readonly string[]): Promise<number> {
  let exit = 2
  const program = new Command('npm run simulate --')
    .usage('SCENARIO|raft|planted|swarm [options]')
    .helpCommand(false)
    .configureHelp({ subcommandTerm: (command) => command.name(), helpWidth: 140 })
    .exitOverride()
    .showHelpAfterError('(--help lists what there is)')
  const end = async (ends: number | Promise<number>): Promise<void> => void (exit = await ends)

  program.commandsGroup('scenarios:')
  for (const scenario of SCENARIOS) {
    const { name, summary, virtualMs } = scenario
    addSeeds(program.command(name).summary(`${summary} (${scenario.peers} peers, ${virtualMs / 1_000} s)`))
      .addOption(new Option('--peers <N>', 'how many peers').argParser(count))
      .addOption(
        new Option('--seconds <V>', "virtual seconds, instead of the scenario's own").argParser(count),
      )
      .action((options: PeersOptions) => end(peers(scenario, options)))
  }

  program.commandsGroup('others:')
  addSeeds(program.command('raft').summary('the Raft cores alone under a nemesis; raft --help'))
    .addOption(new Option('--minutes <M>', 'virtual minutes of faults, 2 unless told').argParser(minutes))
    .addOption(
      new Option('--scenario <NAME>', 'one of those below instead of a swarm of faults').argParser(
        raftScenario,
      ),
    )
    .option('--history <FILE>', 'of one seed: what clients asked and were told, as JSON lines')
    .option(
      '--raft-trace <FILE>',
      "of one seed: the mesh group's steps, as etcd's trace validation reads them",
    )
    .option('--setup <FILE>', 'run what a failing seed was shrunk to')
    .option('--no-shrink', 'print a failing seed as it is')
    .addHelpText('after', `\nscenarios:\n${raftScenarios()}`)
    .action((options: RaftOptions) => end(raft(options)))
  program
    .command('planted')
    .summary('whether the simulations find bugs that others had')
    .addArgument(new Argument('[ID...]', 'which, all unless told').choices(PLANTED.map(({ id }) => id)))
    .addOption(new Option('--seeds <N>', 'give a bug up after so many, 1000 unless told').argParser(count))
    .option('--json', 'one line of JSON per bug')
    .action((ids: string[], options: { seeds?: number; json?: true }) => end(planted(ids, options)))
  program
    .command('swarm')
    .summary('a thousand peers fetch one image at once: time over the bound, what the source sent')
    .addOption(new Option('--peers <N>', 'how many, 1000 unless told').argParser(count))
    .addOption(new Option('--chunks <N>', 'of 256 KiB, 512 unless told').argParser(count))
    .addOption(new Option('--up <MBIT>', "each peer's uplink, 50 Mbit/s unless told").argParser(count))
    .addOption(new Option('--down <MBIT>', "each peer's downlink, 50 Mbit/s unless told").argParser(count))
    .addOption(new Option('--source <MBIT>', "the source's uplink, 50 Mbit/s unless told").argParser(count))
    .addOption(new Option('--rtt <MS>', 'round trip between any two, 40 ms unless told').argParser(count))
    .option(
      '--shared',
      'chunks share a line by parts, and queues are half full, as between a dozen real peers',
    )
    .addOption(new Option('--seed <S>', '1 unless told').argParser(count))
    .option('--json', 'one line of JSON')
    .action((options: SwarmOptions & { json?: true }) => end(swarm(options)))

  try {
    await program.parseAsync([...args], { from: 'user' })
    return exit
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : 2
  }
}

const addSeeds = (command: Command): Command =>
  command
    .addOption(new Option('--seed <S>', 'the (first) seed, 1 unless told').argParser(count))
    .addOption(new Option('--seeds <K>', 'how many seeds, from S on').argParser(count))
    .addOption(new Option('--threads <T>', 'at once, as many as cores unless told').argParser(count))
    .option('--twice', 'run each seed twice and compare the event hashes')
    .option('--json', 'one line of JSON per seed, and one for the batch')

function count(typed: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(typed)) throw new InvalidArgumentError('It takes a number from 1 on.')
  return Number(typed)
}

function minutes(typed: string): number {
  const number = Number(typed)
  if (!(number > 0 && number <= 1e6)) throw new InvalidArgumentError('It takes a number above 0.')
  return number
}

function raftScenario(typed: string): string {
  if (raftScenarioNamed(typed) === undefined) throw new InvalidArgumentError('raft --help lists them.')
  return typed
}

function raftScenarios(): string {
  const width = Math.max(...RAFT_SCENARIOS.map(({ name }) => name.length)) + 2
  return RAFT_SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}\n`).join('')
}

const rangeOf = ({ seed = 1, seeds = 1, threads }: Seeds): Range => ({
  firstSeed: seed,
  seeds,
  ...(threads !== undefined && { threads }),
})

function peers(scenario: Scenario, options: PeersOptions): Promise<number> {
  const { peers: count = scenario.peers, seconds } = options
  const virtualMs = seconds === undefined ? scenario.virtualMs : seconds * 1_000
  return many(PEERS, { ...rangeOf(options), scenario: scenario.name, peers: count, virtualMs }, options)
}

/** 0 when all peers have the image. */
function swarm(options: SwarmOptions & { json?: true }): number {
  const report = reportOf(options)
  const { user } = process.cpuUsage()
  const figures = { ...report, cpu_s: user / 1e6, rss_mib: process.memoryUsage.rss() / 2 ** 20 }
  const lines = Object.entries(figures).map(
    ([name, value]) => `${name.padEnd(18)} ${Number(value.toFixed(3))}\n`,
  )
  process.stdout.write(options.json === true ? `${JSON.stringify(figures)}\n` : lines.join(''))
  return Number.isFinite(report['last_over_tstar']) ? 0 : 1
}

async function raft(options: RaftOptions): Promise<number> {
  const { history, minutes, raftTrace, scenario, setup } = options
  const job: CoresJob = {
    ...rangeOf(options),
    ...(scenario !== undefined && { scenario }),
    ...(minutes !== undefined && { minutes }),
  }
  if (setup !== undefined) return runFile(setup)
  if (history !== undefined || raftTrace !== undefined) {
    return writeDown(job, {
      ...(history !== undefined && { history }),
      ...(raftTrace !== undefined && { raftTrace }),
    })
  }
  return many(CORES, job, options, (failed: readonly RaftReport[]) => {
    for (const each of failed.slice(0, SHRUNK_MAX)) explain(job, each, options.shrink)
  })
}

async function many<Job extends Range, Seed extends Report, Total extends { readonly ok: boolean }>(
  kind: Kind<Job, Seed, Total>,
  job: Job,
  options: Seeds,
  explainFailed: (failed: readonly Seed[]) => void = () => {},
): Promise<number> {
  const isJson = options.json === true
  const print = (report: Seed): void =>
    void process.stdout.write(isJson ? `${JSON.stringify(report)}\n` : kind.seedText(report))
  if (options.twice === true) return twice(kind, job, print)
  const failed: Seed[] = []
  const total = await runBatch(kind, job, (report) => {
    print(report)
    if (!report.ok) failed.push(report)
  })
  explainFailed(failed)
  process.stdout.write(isJson ? `${JSON.stringify(total)}\n` : kind.totalText(total))
  return total.ok ? 0 : 1
}

/** The same seed gives the same hash, or something of this world leaked into that one. */
function twice<Job extends Range, Seed extends Report, Total>(
  kind: Kind<Job, Seed, Total>,
  job: Job,
  print: (report: Seed) => void,
): number {
  for (let seed = job.firstSeed; seed < job.firstSeed + job.seeds; seed++) {
    const [first, second] = [runHere(kind, job, seed), runHere(kind, job, seed)]
    print(first)
    if (first.hash !== second.hash) {
      process.stderr.write(`seed ${seed} is not deterministic: ${first.hash}, then ${second.hash}\n`)
      return 1
    }
    if (!first.ok) return 1
  }
  return 0
}

process.exitCode = await main(process.argv.slice(2))

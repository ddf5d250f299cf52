/**
 * `npm run bench -- NAME [--json] [--quick] [--case BEGINNING]`, `npm run bench -- list`. Progress goes to standard error; with `--json` the
 * last line of standard output is one object. Exit 0: the figures are there; 2: usage; 3: the run could not be made.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { type Bench, table } from './bench.ts'

/** Loaded one at a time: a benchmark of memory is not to carry the others'. */
const BENCHES: Readonly<Record<string, { readonly what: string; load(): Promise<Bench> }>> = {
  failover: {
    what: 'time without a leader when it is killed, at 40, 80 and 150 ms',
    load: async () => (await import('./failover.ts')).failover,
  },
  footprint: {
    what: 'an idle peer: time to ready, resident memory, CPU',
    load: async () => (await import('./footprint.ts')).footprint,
  },
  ingest: {
    what: 'import of real file-system data, raw and qcow2: speed and memory',
    load: async () => (await import('./ingest.ts')).ingest,
  },
  raft: {
    what: 'proposals through a Raft group of 3 and 5 voters, beside etcd',
    load: async () => (await import('./raft.ts')).raft,
  },
  'sim-speed': {
    what: 'the simulator of Raft groups: virtual time per CPU time, seeds per hour',
    load: async () => (await import('./sim-speed.ts')).simSpeed,
  },
  lossy: {
    what: 'one image over 50 Mbit/s and 100 ms that lose 0, 0.1 and 1 %, with BBR and with CUBIC, in namespaces',
    load: async () => (await import('./lossy.ts')).lossy,
  },
  partial: {
    what: 'a swarm with slow uplinks and 0 to 4 peers that hold a part, over slow links in namespaces',
    load: async () => (await import('./swarm.ts')).partial,
  },
  swarm: {
    what: 'one source to 8 and 16 peers over slow links in namespaces: time over the fluid bound',
    load: async () => (await import('./swarm.ts')).swarm,
  },
  'swarm-dead': {
    what: 'what it costs that one of two sources stops without a word',
    load: async () => (await import('./swarm-dead.ts')).swarmDead,
  },
  'swarm-sites': {
    what: 'the same with 3 sites of 4 peers: what crosses the uplink of each site',
    load: async () => (await import('./swarm.ts')).swarmSites,
  },
  'store-encryption': {
    what: 'frames written to the chunk store and read again, as they are and encrypted',
    load: async () => (await import('./store-encryption.ts')).storeEncryption,
  },
  'store-scale': {
    what: 'the chunk store with 4 million chunks indexed: bytes of index, time to open, look-ups',
    load: async () => (await import('./store-scale.ts')).storeScale,
  },
  'transfer-bytes': {
    what: 'wire bytes of an image beside what is held, for pairs of images; beside casync, rsync, fixed chunks',
    load: async () => (await import('./transfer-bytes.ts')).transferBytes,
  },
  'transfer-loopback': {
    what: 'one seeder process to one leecher process, beside webtorrent and bare TLS',
    load: async () => (await import('./transfer-loopback.ts')).transferLoopback,
  },
}

const started = performance.now()

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      case: { type: 'string' },
    },
  })
  const [name = ''] = positionals
  if (name === 'list') {
    for (const [each, { what }] of Object.entries(BENCHES))
      process.stdout.write(`${each.padEnd(20)} ${what}\n`)
    return 0
  }
  const found = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined
  if (found === undefined || positionals.length !== 1) {
    process.stderr.write(
      `usage: bench NAME [--json] [--quick] [--case BEGINNING], or bench list; NAME is ${Object.keys(BENCHES).join(' | ')}\n`,
    )
    return 2
  }
  const say = (line: string): void =>
    void process.stderr.write(`${seconds().toFixed(1).padStart(6)} s  ${line}\n`)
  const bench = await found.load()
  const run = await bench({ quick: values.quick, only: values.case, say })
  const note = values.quick ? `quick run, not to be quoted; ${run.note}` : run.note
  if (values.json) {
    const { rows } = run
    const node = process.version.slice(1)
    const head = {
      bench: name,
      commit: commit(),
      node,
      cpus: availableParallelism(),
      seconds: seconds(),
      note,
    }
    process.stdout.write(`${JSON.stringify({ ...head, rows })}\n`)
  } else process.stdout.write(`${table(run.rows)}\n${note}\n`)
  return run.impossible === true ? 3 : 0
}

const seconds = (): number => Math.round((performance.now() - started) / 100) / 10

/** The commit measured; `+` when the tree has changes that it does not name. */
function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno') === '' ? '' : '+')
  } catch {
    return 'unknown'
  }
}

process.exitCode = await main()

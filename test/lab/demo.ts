/**
 * `npm run demo`: the main job, end to end, with real processes: three peers in two sites, a real guest, moved across a
 * slow link and back. Everything it starts is gone at its end, unless `--keep`. `--json` ends with one line for machines.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { globSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildGuestImage } from '../guest/guest.ts'
import type { JobView, StatusView, VmView } from '../../node/views.ts'
import { type Lab, openLab } from './lab.ts'

const MIB = 1024 ** 2
const FORWARD = join(import.meta.dirname, 'forward.ts')
const LAUNCHER = join(import.meta.dirname, '../../node/godwit.js')
const LINK = { rateMbit: 50, rttMs: 40 }
/** Nothing in the demo takes longer; what does is a failure with its name. */
const STEP_MS = 60_000

type Peer = {
  name: string
  site: string
  folder: string
  config: string
  process: ChildProcess | undefined
  address: string
}
type Move = {
  vm: string
  from: string
  to: string
  mode: string
  logicalBytes: number
  dedupBytes: number
  wireBytes: number
  seconds: number
  standstillMs: number
}

const { values: options } = parseArgs({ options: { json: { type: 'boolean' }, keep: { type: 'boolean' } } })

const started = performance.now()
const say = (text: string): void => {
  const line = `${((performance.now() - started) / 1_000).toFixed(1).padStart(5)} s  ${text}\n`
  ;(options.json ? process.stderr : process.stdout).write(line)
}

class Demo {
  readonly folder = mkdtempSync(join(tmpdir(), 'godwit-demo-'))
  readonly peers: Peer[] = []
  lab: Lab | undefined
  readonly #forwards: (() => void)[] = []

  /** Starts a peer of a data folder that init or join has made. */
  async up(peer: Peer): Promise<void> {
    const log = openSync(join(peer.folder, 'peer.log'), 'a')
    const [command, ...args] = [...this.#in(peer), process.execPath, LAUNCHER, '--config', peer.config, 'up']
    peer.process = spawn(command, args, { stdio: ['ignore', log, log] })
    await until(`${peer.site}/${peer.name} to be ready`, async () => {
      if (peer.process?.exitCode !== null)
        throw new Error(`${peer.name} ended; see ${join(peer.folder, 'peer.log')}`)
      return (await this.status(peer).catch(() => undefined))?.ready === true
    })
  }

  /** One CLI command as an operator of that peer would type it; its standard output. */
  async godwit(peer: Peer, args: readonly string[], input?: string): Promise<string> {
    const [command, ...rest] = [
      ...this.#in(peer),
      process.execPath,
      LAUNCHER,
      '--config',
      peer.config,
      ...args,
    ]
    return run(command as string, rest, input)
  }

  async items<T>(peer: Peer, args: readonly string[]): Promise<T[]> {
    return (JSON.parse(await this.godwit(peer, [...args, '-o', 'json'])) as { items: T[] }).items
  }

  async item<T>(peer: Peer, args: readonly string[]): Promise<T> {
    return (JSON.parse(await this.godwit(peer, [...args, '-o', 'json'])) as { item: T }).item
  }

  status(peer: Peer): Promise<StatusView> {
    return this.item<StatusView>(peer, ['status'])
  }

  /** The newest count that the guest printed on the host where it is. */
  async count(peer: Peer): Promise<number> {
    const lines = (await this.godwit(peer, ['vm', 'logs', 'counter', '--lines', '20'])).split('\n')
    const counts = lines.flatMap((line) => /count=(\d+)/.exec(line)?.[1] ?? []).map(Number)
    return counts.at(-1) ?? -1
  }

  async close(): Promise<void> {
    for (const peer of this.peers) {
      if (peer.process === undefined) continue
      await this.godwit(peer, ['vm', 'stop', 'counter', '--kill', '--timeout', '10s']).catch(() => {})
    }
    for (const peer of this.peers) await ended(peer.process)
    for (const forward of this.#forwards) forward()
    this.#endStrays()
    await this.lab?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** The peer's status endpoint on an address of this host: a page is for a browser, which is in no namespace. */
  async page(peer: Peer): Promise<string> {
    const { http } = await this.status(peer)
    const prefix = this.#in(peer)
    if (prefix.length === 0) return http
    const socket = join(this.folder, 'page.sock')
    const [command, ...args] = [...prefix, process.execPath, FORWARD, socket, new URL(http).port]
    const inside = spawn(command, args, { stdio: 'ignore' })
    const server: Server = createServer((near) => {
      const far = connect(socket)
      near.pipe(far).pipe(near)
      for (const each of [near, far]) each.on('error', () => [near, far].forEach((end) => end.destroy()))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#forwards.push(() => {
      server.close()
      inside.kill('SIGKILL')
    })
    return `http://127.0.0.1:${(server.address() as { port: number }).port}/`
  }

  /** Guests whose peer could not be asked to end them: they were started here, under this folder. */
  #endStrays(): void {
    for (const path of globSync('/proc/[0-9]*/cmdline')) {
      try {
        if (readFileSync(path, 'utf8').includes(this.folder))
          process.kill(Number(path.split('/')[2]), 'SIGKILL')
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }

  #in(peer: Peer): string[] {
    return this.lab === undefined ? [] : this.lab.exec(peer.site, peer.name)
  }
}

async function main(demo: Demo): Promise<object> {
  const lab = await openLab({
    sites: [
      { name: 'harbour', peers: ['quay', 'mole'] },
      { name: 'hill', peers: ['mast'] },
    ],
    ...LINK,
  })
  demo.lab = lab
  say(`two sites, harbour (quay, mole) and hill (mast); link: ${describeLink(lab)}`)
  for (const [index, [site, name]] of [
    ['harbour', 'quay'],
    ['harbour', 'mole'],
    ['hill', 'mast'],
  ].entries()) {
    demo.peers.push(makePeer(demo, site as string, name as string, index))
  }
  const [quay, mole, mast] = demo.peers as [Peer, Peer, Peer]

  await demo.godwit(quay, ['init', '--site', 'harbour'])
  await demo.up(quay)
  for (const peer of [mole, mast]) {
    const { token } = await demo.item<{ token: string }>(quay, ['token', 'create', '--expiry', '10m'])
    await demo.godwit(peer, ['join', '--site', peer.site], token)
    await demo.up(peer)
    say(`${peer.site}/${peer.name} joined with a single-use token`)
  }
  await until('all peers to see each other', async () => {
    const seen = await Promise.all(demo.peers.map((peer) => demo.status(peer)))
    return seen.every(({ peersAlive }) => peersAlive === 3)
  })
  say('one mesh of three peers: everyone sees everyone')
  print(await demo.godwit(mast, ['peer', 'list']))

  const image = join(demo.folder, 'counter.raw')
  await buildGuestImage(image, { bytes: 256 * MIB, randomBytes: 32 * MIB, seed: 7 })
  await demo.godwit(quay, ['image', 'import', 'counter', image])
  say('imported a 256 MiB disk that holds 32 MiB of data')
  await demo.godwit(quay, ['vm', 'create', 'counter', '--image', 'counter', '--memory', '64MiB'])
  const vm = await running(demo, quay, 'harbour')
  const { driver } = await demo.status(quay)
  say(`VM counter runs on harbour/${vm.host} (${driver})`)
  await until('the guest to count', async () => (await demo.count(quay)) > 3)

  const counterBefore = await demo.count(quay)
  const there = await move(demo, quay, 'hill')
  await running(demo, mast, 'hill')
  const counterThere = await counted(demo, mast, counterBefore)
  say(`the guest went on from its disk: ${counterBefore} there, ${counterThere} here`)

  // To the host it came from: its neighbour would be a good place too, and would fetch all of it over the LAN.
  const back = await move(demo, mast, `harbour/${vm.host}`)
  await running(demo, quay, 'harbour')
  const counterAfter = await counted(demo, quay, counterThere)
  say(`and back: ${counterThere} there, ${counterAfter} here`)
  say(`the way back cost ${((100 * back.wireBytes) / there.wireBytes).toFixed(2)} % of the way there`)

  const prefix = lab.exec('harbour', 'quay').join(' ')
  say(`status page of harbour/quay: ${await demo.page(quay)}`)
  const godwit = `${prefix === '' ? '' : `${prefix} `}node/godwit.js --config ${quay.config}`
  print(
    [
      '',
      'Five commands to try (after npm run demo -- --keep):',
      '  status',
      '  peer list -o wide',
      '  vm list',
      '  vm logs counter --lines 5',
      '  vm move counter --to hill',
    ]
      .map((line) => (line.startsWith('  ') ? `  ${godwit} ${line.trim()}` : line))
      .join('\n'),
  )
  const ok =
    counterThere >= counterBefore && counterAfter >= counterThere && back.wireBytes <= 0.05 * there.wireBytes
  return { ok, driver, link: lab.link, moves: [there, back], counterBefore, counterAfter }
}

function makePeer(demo: Demo, site: string, name: string, index: number): Peer {
  const folder = join(demo.folder, name)
  const address = demo.lab?.address(site, name) ?? '127.0.0.1'
  const own = demo.lab !== undefined && demo.lab.link !== 'loopback'
  const port = own ? 4710 : 4710 + 10 * (index + 1)
  const config = join(demo.folder, `${name}.yaml`)
  writeFileSync(
    config,
    [
      `dataDir: ${folder}`,
      `markDir: ${join(demo.folder, 'marks')}`,
      `name: ${name}`,
      `listen: [/ip4/${address}/tcp/${port}]`,
      `http: { listen: '127.0.0.1:${own ? 4780 : 4780 + index + 1}' }`,
      'capacity: { cpus: 2, memoryMiB: 512, diskGiB: 8 }',
      '',
    ].join('\n'),
  )
  return { name, site, folder, config, process: undefined, address }
}

/** `vm move --mode cold`, as an operator would: its progress goes by, its figures stay. */
async function move(demo: Demo, from: Peer, to: string): Promise<Move> {
  const begun = performance.now()
  const [command, ...args] = [
    ...(demo.lab?.exec(from.site, from.name) ?? []),
    process.execPath,
    LAUNCHER,
    '--config',
    from.config,
  ]
  const text = await run(
    command,
    [...args, 'vm', 'move', 'counter', '--to', to, '--mode', 'cold', '-o', 'json'],
    undefined,
    (line) => say(`  ${line}`),
  )
  const job = (JSON.parse(text) as { item: JobView }).item
  const seconds = Math.round(performance.now() - begun) / 1_000
  const mib = (bytes: number): string =>
    bytes < MIB / 10 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / MIB).toFixed(2)} MiB`
  say(
    `moved to ${to} in ${seconds.toFixed(1)} s: ${mib(job.logicalBytes)} of disk, ${mib(job.dedupBytes)} after dedup, ` +
      `${mib(job.compressedBytes)} compressed, ${mib(job.wireBytes)} on the wire; stood still for ${job.standstillMs} ms`,
  )
  const { logicalBytes, dedupBytes, wireBytes } = job
  return {
    vm: 'counter',
    from: from.site,
    to,
    mode: 'cold',
    logicalBytes,
    dedupBytes,
    wireBytes,
    seconds,
    standstillMs: job.standstillMs ?? -1,
  }
}

async function running(demo: Demo, peer: Peer, site: string): Promise<VmView> {
  let found: VmView | undefined
  await until(`the VM to run at ${site}`, async () => {
    found = (await demo.items<VmView>(peer, ['vm', 'list'])).find(
      (vm) => vm.name === 'counter' && vm.site === site,
    )
    if (found?.state === 'failed') throw new Error(`the VM failed: ${found.why}`)
    return found?.state === 'running'
  })
  return found as VmView
}

/** The first count past `before` that the guest prints here. */
async function counted(demo: Demo, peer: Peer, before: number): Promise<number> {
  let count = -1
  await until('the guest to count on', async () => {
    count = await demo.count(peer)
    return count > before
  })
  return count
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + STEP_MS
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${STEP_MS / 1_000} s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Runs one command to its end; its standard output, or an error with what it said. */
function run(
  command: string,
  args: readonly string[],
  input?: string,
  onError?: (line: string) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
      for (const line of text.split('\n')) if (line.trim() !== '') onError?.(line.trim())
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0
        ? resolve(out)
        : reject(new Error(`${args.slice(1).join(' ')}: exit ${code}: ${err.trim()}`)),
    )
    child.stdin.end(input ?? '')
  })
}

/** Ends a peer that this demo started, in order; by force when it does not. */
function ended(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    const force = setTimeout(() => child.kill('SIGKILL'), 10_000)
    child.once('close', () => {
      clearTimeout(force)
      resolve()
    })
    child.kill('SIGTERM')
  })
}

const describeLink = ({ link }: Lab): string =>
  link === 'loopback'
    ? 'loopback (not root: no namespaces)'
    : `${LINK.rateMbit} Mbit/s, ${LINK.rttMs} ms round trip (${link})`

const print = (text: string): void =>
  void (options.json ? process.stderr : process.stdout).write(`${text.trimEnd()}\n`)

const demo = new Demo()
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupted) return
    interrupted = true
    void demo.close().finally(() => process.exit(130))
  })
}

try {
  const result = await main(demo)
  say(`done in ${((performance.now() - started) / 1_000).toFixed(1)} s`)
  if (options.keep) {
    say(`kept running until Ctrl-C; data in ${demo.folder}`)
    await new Promise(() => setInterval(() => {}, 60_000))
  }
  await demo.close()
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exitCode = (result as { ok: boolean }).ok ? 0 : 1
} catch (error) {
  if (!interrupted) {
    process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
    await demo.close()
  }
}

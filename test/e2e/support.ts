/**
 * A mesh of real processes for the tests of this folder: peers on loopback with ports and folders of their own, commands
 * as an operator types them, and waits with deadlines. Whatever a mesh started is gone when it is closed: peers, the
 * keepers and guests that outlive them, and the folder.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectControl } from '../../node/control/client.ts'
import type { ErrorEnvelope } from '../../node/control/envelope.ts'
import type { Method } from '../../node/operations.ts'
import { dropGroup } from '../../node/qemu/control-group.ts'
import { machineFolder, type Processes, readProcesses, readRecord } from '../../node/qemu/machine-folder.ts'
import { isAlive } from '../../node/qemu/process.ts'
import { VERSION } from '../../node/version.ts'
import type { StatusView } from '../../node/views.ts'
import { failed, type Outcome } from '../../protocols/outcome.ts'

const LAUNCHER = join(import.meta.dirname, '../../node/godwit.js')
/** What waits for a step of a mesh: many times what it takes on an idle machine. */
const STEP_MS = 30_000
/** A command that takes longer hangs. */
const COMMAND_MS = 60_000
const POLL_MS = 40
/** Below the ports that Linux gives to outgoing connections. */
const PORTS = { first: 20_000, last: 32_000 }

export type Peer = {
  readonly name: string
  readonly site: string
  readonly folder: string
  readonly config: string
  /** Of peers, of newcomers, of the status endpoint. */
  readonly ports: { readonly listen: number; readonly join: number; readonly http: number }
  /** What goes before each of its commands: its namespace. */
  readonly prefix: readonly string[]
  process: ChildProcess | undefined
}

export type PeerOptions = {
  readonly cpus?: number
  readonly memoryMiB?: number
  readonly driver?: 'tcg' | 'none'
  readonly folder?: string
  readonly address?: string
  readonly prefix?: readonly string[]
}

export type Ran = {
  readonly code: number
  readonly out: string
  readonly err: string
  /** What -o json wrote on stderr. */
  readonly error: ErrorEnvelope | undefined
}

export type RunOptions = {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  readonly onStart?: (child: ChildProcess) => void
}

export class Mesh {
  readonly folder = mkdtempSync(join(tmpdir(), 'godwit-e2e-'))
  readonly peers: Peer[] = []
  readonly #children = new Set<ChildProcess>()

  /** A peer that has a configuration and nothing else yet. */
  async peer(name: string, site: string, options: PeerOptions = {}): Promise<Peer> {
    const { address = '127.0.0.1', cpus = 8, driver = 'none', memoryMiB = 512, prefix = [] } = options
    const folder = options.folder ?? join(this.folder, name)
    const config = join(this.folder, `${name}.yaml`)
    const [listen, door, http] = await freePorts(3)
    const ports = { listen: listen ?? 0, join: door ?? 0, http: http ?? 0 }
    writeFileSync(
      config,
      [
        `dataDir: ${folder}`,
        `markDir: ${join(this.folder, 'marks')}`,
        `name: ${name}`,
        `listen: [/ip4/${address}/tcp/${ports.listen}]`,
        `joinListen: [/ip4/${address}/tcp/${ports.join}]`,
        `http: { listen: '127.0.0.1:${ports.http}' }`,
        // Two ports higher may be another's.
        `bulkListen: [/ip4/${address}/tcp/0]`,
        'mdns: false',
        `driver: ${driver}`,
        `capacity: { cpus: ${cpus}, memoryMiB: ${memoryMiB}, diskGiB: 64 }`,
        '',
      ].join('\n'),
    )
    const peer: Peer = { name, site, folder, config, ports, prefix, process: undefined }
    this.peers.push(peer)
    return peer
  }

  /** The first peer founds the mesh, the others join it; all are up and see each other. */
  async form(...peers: Peer[]): Promise<void> {
    const [first, ...others] = peers as [Peer, ...Peer[]]
    must(await this.godwit(first, ['init', '--site', first.site]))
    await this.up(first)
    for (const peer of others) {
      const { token } = await this.ask<{ token: string }>(first, 'token.create', { expiryMs: 600_000 })
      must(await this.godwit(peer, ['join', '--site', peer.site], { input: token }))
    }
    await Promise.all(others.map((peer) => this.up(peer)))
    await until('all peers to see each other', async () => {
      const seen = await Promise.all(peers.map((peer) => this.ask<StatusView>(peer, 'status')))
      return seen.every(({ peersAlive }) => peersAlive === peers.length)
    })
  }

  /** Runs a peer whose folder was prepared, until it is ready. */
  up(peer: Peer): Promise<void> {
    return this.#start(peer, ({ ready }) => ready)
  }

  /** The same, until it answers: one whose folder is refused does no more. */
  open(peer: Peer): Promise<void> {
    return this.#start(peer, () => true)
  }

  async #start(peer: Peer, isUp: (status: StatusView) => boolean): Promise<void> {
    const log = openSync(logOf(peer), 'a')
    peer.process = this.#spawn([...command(peer), 'up'], ['ignore', log, log])
    closeSync(log)
    await until(`${peer.name} to be up`, async () => {
      const { process } = peer
      if (process === undefined || hasEnded(process))
        throw new Error(
          `${peer.name} ended with ${process?.exitCode}: ${readFileSync(logOf(peer), 'utf8').slice(-2_000)}`,
        )
      const status = await this.try<StatusView>(peer, 'status')
      return status.ok && isUp(status.value)
    })
  }

  /** `kill -9`, and what it leaves. */
  kill(peer: Peer): Promise<void> {
    return this.end(peer, 'SIGKILL')
  }

  /** Sends the signal and waits until the peer is gone. */
  async end(peer: Peer, signal: NodeJS.Signals): Promise<void> {
    const { process } = peer
    if (process === undefined) return
    await stopped(process, signal)
    peer.process = undefined
  }

  /** One command as an operator of that peer types it. */
  async godwit(peer: Peer, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const { env, input, onStart } = options
    const child = this.#spawn([...command(peer), ...args], 'pipe', { ...process.env, ...env })
    let [out, err] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.stdin?.on('error', () => {}).end(input ?? '')
    onStart?.(child)
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_MS)
    const code = await new Promise<number>((resolve) =>
      child.once('close', (exit, signal) => resolve(exit ?? (signal === 'SIGKILL' ? 137 : 128))),
    )
    clearTimeout(timer)
    const last = err.trim().split('\n').at(-1) ?? ''
    const error = last.startsWith('{') ? (JSON.parse(last) as ErrorEnvelope) : undefined
    return { code, out, err, error }
  }

  /** A question to a peer over its control socket, as a command would ask it. */
  async try<T>(peer: Peer, method: Method, params: object = {}, timeoutMs = COMMAND_MS): Promise<Outcome<T>> {
    const client = await connectControl(join(peer.folder, 'control.sock'), VERSION)
    if (!client.ok) return failed(client.failure)
    try {
      const outcome = await client.value.ask(method, params, timeoutMs)
      return outcome.ok ? { ok: true, value: outcome.value.value as T } : outcome
    } finally {
      client.value.close()
    }
  }

  async ask<T>(peer: Peer, method: Method, params: object = {}): Promise<T> {
    const outcome = await this.try<T>(peer, method, params)
    if (!outcome.ok) throw new Error(`${peer.name} ${method}: ${JSON.stringify(outcome.failure)}`)
    return outcome.value
  }

  /** Ends what this mesh started; `before` the folder goes. */
  async close(before: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    await Promise.all([...this.#children].map((child) => stopped(child, 'SIGKILL')))
    for (const { folder } of this.peers) {
      for (const { keeper, guest } of await machinesIn(folder))
        for (const each of [guest, keeper]) if (await isAlive(each)) process.kill(each.pid, 'SIGKILL')
    }
    await until('guests to be gone', async () => {
      const left = (await Promise.all(this.peers.map(({ folder }) => machinesIn(folder)))).flat()
      return !(
        await Promise.all(left.flatMap(({ keeper, guest }) => [isAlive(keeper), isAlive(guest)]))
      ).includes(true)
    })
    // A keeper that was killed leaves its control group, and a peer that was cannot remove it.
    await Promise.all(
      this.peers.flatMap(({ folder }) => groupsIn(folder)).map((group) => group.then(dropGroup)),
    )
    await before()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #spawn(
    [program = '', ...args]: readonly string[],
    stdio: 'pipe' | ['ignore', number, number],
    env: NodeJS.ProcessEnv = process.env,
  ): ChildProcess {
    const child = spawn(program, args, { stdio, env })
    this.#children.add(child)
    child.once('close', () => this.#children.delete(child))
    return child
  }
}

const command = ({ prefix, config }: Peer): string[] => [
  ...prefix,
  process.execPath,
  LAUNCHER,
  '--config',
  config,
]

const logOf = ({ config }: Peer): string => config.replace(/yaml$/, 'log')

/** The keepers and guests that a data folder names, dead or alive. */
export async function machinesIn(folder: string): Promise<Processes[]> {
  const root = join(folder, 'machines')
  const found = await Promise.all(names(root).map((vm) => readProcesses(machineFolder(root, vm))))
  return found.filter((each) => each !== undefined)
}

/** The control groups of guests that a data folder names; empty text for none. */
function groupsIn(folder: string): Promise<string>[] {
  const root = join(folder, 'machines')
  return names(root).map(async (vm) => (await readRecord(machineFolder(root, vm)))?.cgroup ?? '')
}

export function names(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** @throws Error with what the command said, unless it exited with 0. */
export function must(ran: Ran): Ran {
  if (ran.code !== 0) throw new Error(`exit ${ran.code}: ${ran.err}`)
  return ran
}

export const itemOf = <T>({ out }: Ran): T => (JSON.parse(out) as { item: T }).item

export async function until(
  what: string,
  holds: () => Promise<boolean> | boolean,
  ms = STEP_MS,
): Promise<void> {
  const end = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${ms / 1_000} s for ${what}`)
    await sleep(POLL_MS)
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

function stopped(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (hasEnded(child)) return Promise.resolve()
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.kill(signal)
  })
}

/** Ports that nobody has now, and no other test until this process ends. */
async function freePorts(count: number): Promise<number[]> {
  const found: number[] = []
  while (found.length < count) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first))
    if ((await isReserved(port)) && (await isFree(port))) found.push(port)
  }
  return found
}

/** A peer may open a port long after it was found free: a name that one process at a time can have keeps others off it. */
function isReserved(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(`\0godwit-test-port-${port}`, () => resolve(true))
    server.unref()
  })
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

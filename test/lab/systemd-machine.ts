/**
 * A machine whose PID 1 is a real systemd, for what no other test can see: how the peer's unit behaves. It lives in
 * namespaces and a control group of its own, on a root of tmpfs and read-only mounts (systemd-root.sh says what keeps it
 * from the host's files), and is gone with this process, whatever ends it; only SIGKILL leaves an empty control group
 * and an empty folder behind.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ENV, failureOf } from './namespaces.ts'

const SYSTEMD = '/usr/lib/systemd/systemd'
const PROJECT = join(import.meta.dirname, '../..')
const ROOT_SCRIPT = join(import.meta.dirname, 'systemd-root.sh')
/** It boots in a tenth of a second, on a busy machine in a few. */
const BOOT_MS = 20_000
/** A command inside is one of systemctl or godwit, which have deadlines of their own. */
const COMMAND_MS = 60_000
const POLL_MS = 20
/** Killed processes leave their control group within milliseconds. */
const SWEEPS = 100

type Ran = { readonly code: number; readonly out: string; readonly err: string }

export type SystemdMachine = {
  /** Where the machine's root is seen from here, read-only by custom. */
  readonly root: string
  /** Runs a command inside, as root would. */
  run(command: readonly string[]): Promise<Ran>
  close(): Promise<void>
}

/** What this host lacks for such a machine, each with what brings it; empty when nothing. */
export function missingForSystemd(): string[] {
  if (process.platform !== 'linux') return ['Linux']
  const missing: string[] = []
  if (process.getuid?.() !== 0) missing.push('root')
  if (!existsSync(SYSTEMD)) missing.push(`${SYSTEMD} (Debian: apt-get install systemd)`)
  for (const [tool, from] of [
    ['unshare', 'util-linux'],
    ['nsenter', 'util-linux'],
    ['setpriv', 'util-linux'],
    ['pivot_root', 'util-linux'],
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['qemu-img', 'qemu-utils'],
  ] as const) {
    if (failureOf('sh', '-c', `command -v ${tool}`) !== undefined)
      missing.push(`${tool} (Debian: apt-get install ${from})`)
  }
  if (!existsSync(join(PROJECT, 'node_modules/.bin/node'))) missing.push('Node beside Godwit (npm ci)')
  if (missing.length > 0) return missing
  if (groupsFolder() === undefined)
    missing.push('a mounted control group file system of version 2 that may be written')
  const none = failureOf(
    'unshare',
    '--mount',
    '--pid',
    '--fork',
    '--uts',
    '--ipc',
    '--net',
    '--cgroup',
    'true',
  )
  if (none !== undefined) missing.push(`namespaces: ${none}`)
  return missing
}

/** Boots it; whoever waits for it has seen multi-user.target reached. */
export async function openSystemdMachine(): Promise<SystemdMachine> {
  const above = groupsFolder()
  if (above === undefined) throw new Error('lab: no control groups of version 2')
  const root = mkdtempSync(join(tmpdir(), 'godwit-systemd-'))
  const group = join(above, `godwit-lab-${process.pid}`)
  mkdirSync(group)
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--uts', '--ipc', '--net']
  const script = ['sh', ROOT_SCRIPT, root, PROJECT, group]
  // Killed with this process: its first child is PID 1, and with that everything in there ends.
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', ...namespaces, '--propagation', 'private', ...script],
    { env: ENV, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4_000)))
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const sweep = (): void => {
    child.kill('SIGKILL')
    removeGroups(group)
    rmdirSync(root)
  }
  process.once('exit', sweep)
  const close = async (): Promise<void> => {
    process.off('exit', sweep)
    child.kill('SIGKILL')
    await gone
    sweep()
  }
  try {
    const init = await booted(child, () => said)
    return {
      root: `/proc/${init}/root`,
      run: (command) => runInside(init, command),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The id, here, of the machine's PID 1 once it has started everything. */
async function booted(child: ChildProcess, said: () => string): Promise<number> {
  const end = performance.now() + BOOT_MS
  let state = ''
  while (performance.now() < end) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`lab: systemd did not start: ${said()}`)
    const init = Number(readQuietly(`/proc/${child.pid}/task/${child.pid}/children`).trim())
    if (init > 0 && readQuietly(`/proc/${init}/comm`).trim() === 'systemd') {
      const ran = await runInside(init, ['systemctl', 'is-system-running'])
      state = `${ran.out}${ran.err}`.trim()
      if (state === 'running') return init
    }
    await sleep(POLL_MS)
  }
  throw new Error(`lab: systemd is not up after ${BOOT_MS / 1_000} s: ${state} ${said()}`)
}

function runInside(init: number, command: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const env = {
      PATH: '/opt/godwit/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/root',
      LC_ALL: 'C.UTF-8',
      SYSTEMD_UNIT_PATH: '/etc/systemd/system',
      SYSTEMD_PAGER: '',
    }
    const child = spawn('/usr/bin/nsenter', ['--target', String(init), '--all', ...command], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: COMMAND_MS,
    })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? 128, out, err }))
  })
}

/** The mount point of version 2's groups, where this process may make some. */
function groupsFolder(): string | undefined {
  const mount = readQuietly('/proc/self/mounts')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, , type]) => type === 'cgroup2')
  const folder = mount?.[1]
  if (folder === undefined) return undefined
  try {
    accessSync(folder, constants.W_OK)
    return folder
  } catch {
    return undefined
  }
}

/** Synchronous, so that it also works in the last moments of a process. */
function removeGroups(folder: string): void {
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    if (removed(folder)) return
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MS)
  }
}

function removed(folder: string): boolean {
  try {
    for (const each of readdirSync(folder, { withFileTypes: true }))
      if (each.isDirectory()) removed(join(folder, each.name))
    rmdirSync(folder)
    return true
  } catch {
    return !existsSync(folder)
  }
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // It has just ended.
  }
}

/**
 * What the lab does to the machine: commands, and the end of namespaces with everything in them. The end is synchronous,
 * so that it also works in the last moments of a process.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Where iproute2 keeps the names. */
const FOLDER = '/var/run/netns'
/** tc lives in sbin, which not every root has in its PATH. */
export const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
/** No command of the lab waits for anything but the kernel. */
const COMMAND_MS = 10_000
/** A killed process is gone within milliseconds; one that forks while it is killed takes another round. */
const ROUNDS = 100
const ROUND_MS = 10

/** Runs shell lines up to the first that fails; what they print, or an error with what that one said. */
export function run(lines: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-e'], { env: ENV, stdio: ['pipe', 'pipe', 'pipe'], timeout: COMMAND_MS })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(out)
      reject(new Error(`lab: ${err.trim() || `ended with ${code ?? signal}`}`))
    })
    child.stdin.on('error', () => {}) // It ended before the last line: 'close' says why.
    child.stdin.end(`${lines.join('\n')}\n`)
  })
}

/** The same for one command, now; what it said when it failed, or undefined. */
export function failureOf(command: string, ...args: string[]): string | undefined {
  const { status, error, stderr } = spawnSync(command, args, {
    env: ENV,
    encoding: 'utf8',
    timeout: COMMAND_MS,
  })
  return status === 0 ? undefined : (error?.message ?? stderr.trim().split('\n').at(-1)) || `exit ${status}`
}

/** Kills every process in these namespaces, then removes them, and with them their devices. Those that are not there are no fault. */
export function remove(namespaces: readonly string[]): void {
  for (let round = 0; round < ROUNDS; round++) {
    const pids = processesIn(namespaces)
    if (pids.length === 0) break
    for (const pid of pids) kill(pid)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ROUND_MS)
  }
  const there = namespaces.filter((name) => inode(name) !== undefined)
  if (there.length === 0) return
  const input = there.map((name) => `netns del ${name}\n`).join('')
  spawnSync('ip', ['-force', '-batch', '-'], { env: ENV, input, timeout: COMMAND_MS })
}

/** Ids of the processes in these namespaces, whoever started them. */
function processesIn(namespaces: readonly string[]): number[] {
  const links = new Set(namespaces.flatMap((name) => inode(name) ?? []).map((number) => `net:[${number}]`))
  // A name that failed to become a namespace of its own must not stand for ours.
  links.delete(readlinkSync('/proc/self/ns/net'))
  if (links.size === 0) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && links.has(networkOf(name) ?? ''))
    .map(Number)
}

function networkOf(pid: string): string | undefined {
  try {
    return readlinkSync(join('/proc', pid, 'ns/net'))
  } catch {
    return undefined // It has just ended.
  }
}

function inode(namespace: string): number | undefined {
  return statSync(join(FOLDER, namespace), { throwIfNoEntry: false })?.ino
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}

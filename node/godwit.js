#!/usr/bin/env node
/**
 * The launcher. Godwit is TypeScript that Node runs by stripping types, from 24.12 on; `npm ci` brings such a Node
 * (node-linux-*), and this file hands over to it when the one that was typed is older. Plain JavaScript for Node 20,
 * without packages.
 *
 * `sim` belongs to the simulator, which nothing in node/ may import: that is why it is told apart here.
 */
import { spawn } from 'node:child_process'
import module from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const args = process.argv.slice(2)

/**
 * An idle peer takes 118 MiB with this and 159 without: Node lets the space for young objects grow to 128 MiB.
 * `--optimize-for-size` would save 7 more; a start takes a third more CPU with it, and a transfer nearly twice as much.
 */
const LEAN = ['--max-semi-space-size=2']
const wanted = args.includes('up') ? LEAN : []

if (!recent(process.versions.node)) {
  handOver(bundledNode())
} else if (wanted.some((flag) => !process.execArgv.includes(flag))) {
  const argv = [process.execPath, ...process.execArgv, ...wanted, fileURLToPath(import.meta.url), ...args]
  process.execve(process.execPath, argv, process.env)
} else {
  keepCompiled()
  const simulated = args[0] === 'sim'
  if (simulated) process.argv.splice(2, 1)
  await (simulated ? import('../simulator/cli.ts') : import('./main.ts'))
}

/** 24.12 is the first that strips types without a warning; odd lines end early. */
function recent(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major === 24 ? minor >= 12 : major >= 26
}

/**
 * Without what it has compiled before, a command takes 0.2 s of CPU instead of 0.06, and a peer 17 MiB more, for what
 * strips types. Kept beside the packages, or by the user who may not write there; never in a folder that all users of
 * the machine share, because code is read back from it.
 */
function keepCompiled() {
  const { FAILED } = module.constants.compileCacheStatus
  const { status } = module.enableCompileCache(join(here, '..', 'node_modules', '.cache', 'godwit'))
  if (status !== FAILED) return
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  module.enableCompileCache(join(cache, 'godwit'))
}

function bundledNode() {
  try {
    const about = module.createRequire(import.meta.url).resolve(`node-linux-${process.arch}/package.json`)
    const found = join(dirname(about), 'bin', 'node')
    if (found !== process.execPath) return found
  } catch {
    // Said below.
  }
  process.stderr.write(
    `godwit: Node ${process.versions.node} is too old, and no newer one is beside it: npm ci\n`,
  )
  return process.exit(2)
}

/** Runs the same command under `node` and ends as it ends. */
function handOver(node) {
  const child = spawn(node, [...wanted, fileURLToPath(import.meta.url), ...args], { stdio: 'inherit' })
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT']) {
    // A terminal's Ctrl-C reaches the whole process group: passing it on would make two of one, which means more.
    process.on(signal, () => void (signal === 'SIGINT' && process.stdin.isTTY ? 0 : child.kill(signal)))
  }
  child.on('error', (error) => {
    process.stderr.write(`godwit: ${node}: ${error.message}\n`)
    process.exit(2)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

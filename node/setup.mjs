/**
 * What `npm run demo`, `npm test` and `npm run check` do first: the packages of package-lock.json through `npm ci`, and
 * QEMU and iproute2 through apt when they are missing. Plain JavaScript for Node 20 without packages, because on a
 * fresh clone there is nothing else yet. Costs under 100 ms when nothing is to do.
 *
 * With `--packages` it leaves the system alone: type checks and simulations run without QEMU.
 *
 * Ends with 0, or with 2 and one line on stderr that says what to install.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const root = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..')
const lockFile = join(root, 'package-lock.json')
/** Holds the hash of the lock that node_modules was made from. */
const marker = join(root, 'node_modules', '.godwit-lock')
/** npm's own record of what it put into node_modules. */
const hiddenLock = join(root, 'node_modules', '.package-lock.json')

/** Programs that Godwit, its demo and its tests start, with the Debian packages they come in. */
const TOOLS = [
  [process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64', emulatorPackage()],
  ['qemu-img', 'qemu-utils'],
  ['ip', 'iproute2'],
  ['tc', 'iproute2'],
]
/** Another apt may hold the lock: unattended upgrades do, for minutes, on a machine that has just booted. */
const APT_LOCK_SECONDS = 300

installPackages()
if (!process.argv.includes('--packages')) installTools()

function installPackages() {
  const wanted = createHash('sha256').update(readFileSync(lockFile)).digest('hex')
  if (read(marker) === wanted) return
  if (!installedAlready()) {
    say('installing packages (npm ci)')
    // dev and optional are named because NODE_ENV=production would leave out AVA, and omit=optional Node 24 itself.
    const npm = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
    const status = run('npm', npm)
    if (status !== 0) fail(`npm ci failed (${status}); it needs the npm registry or a filled cache`)
  }
  writeFileSync(marker, wanted)
}

/** Whether node_modules, made by somebody's own `npm ci` or `npm install`, is what the lock asks for. */
function installedAlready() {
  const found = read(hiddenLock)
  if (found === undefined) return false
  const locked = JSON.parse(readFileSync(lockFile, 'utf8')).packages
  const present = JSON.parse(found).packages
  const same = (path) =>
    present[path]?.version === locked[path]?.version && present[path]?.integrity === locked[path]?.integrity
  const wanted = Object.keys(locked).filter((path) => path !== '' && !locked[path].optional)
  return (
    [...wanted, ...Object.keys(present)].every(same) && existsSync(join(root, 'node_modules', '.bin', 'ava'))
  )
}

function installTools() {
  const missing = TOOLS.filter(([tool]) => !inPath(tool))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map(([, debian]) => debian))].join(' ')
  const tools = missing.map(([tool]) => tool).join(', ')
  if (!inPath('apt-get')) fail(`${tools} missing: install QEMU and iproute2 (Debian: ${packages})`)
  if (process.getuid?.() !== 0) fail(`${tools} missing: sudo apt-get install ${packages}`)

  say(`installing ${packages} (apt-get)`)
  const install = (show) => apt(show, 'install', '--no-install-recommends', ...packages.split(' '))
  // The lists of a fresh machine are empty or old: both show as a failed install, which need not alarm anybody.
  if (install(false) !== 0 && (apt(true, 'update') !== 0 || install(true) !== 0))
    fail(`apt-get install ${packages} failed`)
  const still = TOOLS.filter(([tool]) => !inPath(tool)).map(([tool]) => tool)
  if (still.length > 0) fail(`${still.join(', ')} still missing after apt-get install ${packages}`)
}

function emulatorPackage() {
  return process.arch === 'arm64' ? 'qemu-system-arm' : 'qemu-system-x86'
}

function apt(show, verb, ...rest) {
  const env = {
    DEBIAN_FRONTEND: 'noninteractive',
    APT_LISTCHANGES_FRONTEND: 'none',
    NEEDRESTART_MODE: 'a',
  }
  const lock = `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`
  return run('apt-get', [verb, '-y', '-qq', '-o', lock, ...rest], env, show)
}

/** Runs quietly: what the program printed shows only when it fails, and is to show then. */
function run(program, args, env = {}, show = true) {
  const options = {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  }
  const { status, error, stdout, stderr } = spawnSync(program, args, {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (status !== 0 && show)
    process.stderr.write(`${stdout ?? ''}${stderr ?? ''}${error ? `${error.message}\n` : ''}`)
  return status ?? 1
}

function inPath(program) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function read(file) {
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`)
}

function fail(line) {
  say(line)
  process.exit(2)
}

/**
 * What holds the cut of docs/ARCHITECTURE.md: folders in a line, a package only in its adapter, and no clock, dice,
 * promise, file or socket in a core. Sizes are shown with `ava test/architecture.test.ts --verbose`, not enforced.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'

/** Imports point left, or stay. */
const FOLDERS = ['protocols', 'storage', 'migration', 'node', 'simulator', 'test']

/** Who may import which package. A package that is not here may not be imported at all. */
const OWNERS: readonly [name: string, files: RegExp][] = [
  ['msgpackr', /^protocols\/codec\.ts$/],
  ['libp2p', /^(protocols|simulator|test\/.*)\/libp2p\//],
  ['@libp2p/', /^(protocols|simulator|test\/.*)\/libp2p\//],
  ['@multiformats/', /^(protocols|simulator|test\/.*)\/libp2p\//],
  ['level', /^storage\/level\//],
  ['hypercore', /^storage\/hypercore\//],
  ['webtorrent', /^(migration\/webtorrent|test\/bench)\//],
  ['commander', /^(node\/cli\/|simulator\/cli\.ts$)/],
  ['cli-table3', /^node\/cli\//],
  ['@bomb.sh/tab', /^node\/cli\//],
  ['hono', /^node\/status\//],
  ['@hono/', /^node\/status\//],
  ['prom-client', /^node\/(metrics\.ts$|status\/)/],
  ['pino', /^node\/log\.ts$/],
  ['yaml', /^node\/(yaml\.ts$|config\.ts$|vm\/|cli\/)/],
  ['zod', /^(test\/)?node\//],
  ['ava', /^test\//],
  ['@fast-check/ava', /^test\//],
]

/** Folders named after what they speak to: a package, a file system, a program, a person, a browser. */
const ADAPTERS =
  /^(protocols\/libp2p|storage\/(level|hypercore|files)|migration\/(gateway|webtorrent)|node\/(qemu|cli|status|control|proc))\//

/** Files outside those folders that touch the machine or wait, each with its reason. All others are cores and ports. */
const SHELLS: Readonly<Record<string, string>> = {
  'storage/images/asked.ts': 'lets an adapter await a port',
  'storage/images/chunk-content.ts': 'zstd runs in the thread pool, for adapters',
  'storage/images/image-reader.ts': 'a port between two adapters, which both wait',
  'storage/nbd/client.ts': 'a socket, and deadlines',
  'node/binding/outside.ts': 'reads and writes the mark, and what the data folder lies on',
  'node/binding/replace-offline.ts': 'reads and writes a data folder on which no peer runs',
  'node/config.ts': 'reads the configuration file',
  'node/data-folder.ts': 'opens and locks the data folder',
  'node/image-file-port.ts': 'awaits the files of storage/files',
  'node/init.ts': 'makes a data folder, joins a mesh',
  'node/log.ts': 'writes the log',
  'node/main.ts': 'entry point',
  'node/dice.ts': 'throws the dice of a real peer',
  'node/offline-note.ts': 'writes the journal of a peer that does not run',
  'node/offline.ts': 'reads and writes a data folder on which no peer runs',
  'node/peer.ts': 'runs a peer in the foreground, and drains it',
  'node/ports.ts': 'opens the real ports',
  'node/snapshot-files.ts': 'writes files that an operator asked for',
  'node/start.ts': 'opens, composes and starts a peer',
  'node/telemetry/proc.ts': 'reads /proc',
  'simulator/cli.ts': 'entry point',
  'simulator/batch.ts': 'spreads seeds over threads',
  'simulator/raft/one-seed.ts': 'writes files that were asked for',
  'simulator/planted/cli.ts': 'entry point of planted bugs',
  'simulator/raft/script/main.ts': 'entry point',
}

/** What a core may take from Node: functions of their arguments. */
const PURE_BUILTINS = new Set(['node:assert/strict', 'node:crypto', 'node:path', 'node:util', 'node:zlib'])

/** What no core may say. Dates are for print only: `new Date(ms)` is a function of its argument. */
const WORDS: readonly [what: string, pattern: RegExp][] = [
  ['a clock', /\bDate\.now\b|\bnew Date\(\)|\bDate\(\)|\bperformance\.|\bprocess\.hrtime\b/],
  ['dice', /\bMath\.random\b|\brandom(Bytes|UUID|Int|Fill|FillSync)\b|\bgetRandomValues\b/],
  ['a timer', /\b(set|clear)(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/],
  ['a promise', /\basync\b|\bawait\b|\bPromise\b/],
  ['the process', /\bprocess\.|\bglobalThis\b/],
]

const root = join(import.meta.dirname, '..')
const files = globSync(`{${FOLDERS.join(',')}}/**/*.{ts,js,mjs}`, { cwd: root }).sort()
const sources = files.filter((file) => file.endsWith('.ts'))
const rank = (path: string): number => FOLDERS.indexOf(path.split('/')[0] ?? '')
const isCore = (file: string): boolean =>
  !file.startsWith('test/') && !ADAPTERS.test(file) && SHELLS[file] === undefined

/** `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`. */
function importsOf(text: string): string[] {
  const still =
    /^(?:import\s+(?:[^'"`;=]+?\sfrom\s+)?|export\s+(?:type\s+)?[{*][^'"`;=]*?\sfrom\s+)['"]([^'"\n]+)['"]/gm
  const dynamic = /^[^/*\n]*\bimport\(\s*['"]([^'"\n]+)['"]/gm
  return [...text.matchAll(still), ...text.matchAll(dynamic)].map(([, from]) => from ?? '')
}

/** The text without comments and without what is between quotes. */
const bare = (text: string): string =>
  text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g, "''")

function faultsOf(file: string, text: string): string[] {
  const faults: string[] = []
  for (const from of importsOf(text)) {
    if (from.startsWith('.')) {
      if (rank(join(dirname(file), from)) > rank(file)) faults.push(`${from} is to the right`)
      if (!/\.(ts|json)$/.test(from)) faults.push(`${from} does not end in .ts`)
    } else if (from.startsWith('node:')) {
      if (isCore(file) && !PURE_BUILTINS.has(from)) faults.push(`a core may not import ${from}`)
    } else if (!OWNERS.some(([name, owner]) => owns(name, from) && owner.test(file))) {
      faults.push(`may not import ${from}`)
    }
  }
  const code = bare(text)
  if (isCore(file)) {
    for (const [what, pattern] of WORDS) {
      const found = pattern.exec(code)?.[0]
      if (found !== undefined) faults.push(`a core may not use ${what}: ${found}`)
    }
  }
  if (/^export default\b/m.test(code)) faults.push('has a default export')
  if (/(^|\/)index\.ts$/.test(file)) faults.push('is an index.ts')
  if (!/^(.*\/)?[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?\.ts$/.test(file))
    faults.push('is not named in kebab-case')
  return faults
}

const owns = (name: string, from: string): boolean =>
  from === name || from.startsWith(name.endsWith('/') ? name : `${name}/`)

for (const file of sources) {
  test(file, (t) => t.deepEqual(faultsOf(file, readFileSync(join(root, file), 'utf8')), []))
}

test('the rules find what they forbid', (t) => {
  const cases: [file: string, text: string, fault: RegExp][] = [
    ['protocols/a.ts', "import { b } from '../storage/b.ts'", /to the right/],
    ['protocols/a.ts', "import type {\n  b,\n} from '../storage/b.ts'", /to the right/],
    ['node/a.ts', "const b = import('../simulator/b.ts')", /to the right/],
    ['node/a.ts', "import { b } from './b.js'", /does not end in .ts/],
    ['node/a.ts', "import { Level } from 'level'", /may not import level/],
    ['storage/level/a.ts', "import { x } from 'levelish'", /may not import levelish/],
    ['node/a.ts', "import { readFileSync } from 'node:fs'", /may not import node:fs/],
    ['node/a.ts', 'const at = Date.now()', /a clock/],
    ['node/a.ts', 'const at = new Date()', /a clock/],
    ['storage/a.ts', 'const x = Math.random()', /dice/],
    ['migration/a.ts', 'setTimeout(run, 5)', /a timer/],
    ['simulator/a.ts', 'async function run() {}', /a promise/],
    ['node/a.ts', 'const home = process.env', /the process/],
    ['node/a.ts', 'export default 1', /default export/],
    ['node/index.ts', '', /index\.ts/],
    ['node/someThing.ts', '', /kebab-case/],
  ]
  for (const [file, text, fault] of cases) t.regex(faultsOf(file, text).join('\n'), fault, text)
  const clean = "// Date.now()\nconst said = 'await Math.random()' /* process. */\nnew Date(5).toISOString()"
  t.deepEqual(faultsOf('node/a.ts', clean), [])
})

test('every shell in the list is there, and does what no core may', (t) => {
  for (const [file, why] of Object.entries(SHELLS)) {
    t.true(sources.includes(file), `${file} is gone: ${why}`)
    const text = readFileSync(join(root, file), 'utf8')
    const impure = importsOf(text).some((from) => from.startsWith('node:') && !PURE_BUILTINS.has(from))
    const says = WORDS.some(([, pattern]) => pattern.test(bare(text)))
    t.true(impure || says || reachesAdapter(file, text), `${file} is a core: take it off the list`)
  }
})

/** Whether it imports an adapter, as composition roots do. */
const reachesAdapter = (file: string, text: string): boolean =>
  importsOf(text).some((from) => from.startsWith('.') && ADAPTERS.test(join(dirname(file), from)))

test('sizes', (t) => {
  const sizes = sources.map((file): [number, string] => [
    readFileSync(join(root, file), 'utf8').split('\n').length - 1,
    file,
  ])
  sizes.sort(([a], [b]) => b - a)
  for (const [lines, file] of sizes.slice(0, 8)) t.log(`${String(lines).padStart(5)} ${file}`)
  t.true(sizes.length > 0)
})

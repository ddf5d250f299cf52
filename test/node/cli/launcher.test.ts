/** The program as a shell starts it: the launcher, what it finds, and how long that takes. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { namesFile } from '../../../node/control/names-file.ts'
import { served } from './support.ts'

const LAUNCHER = join(import.meta.dirname, '../../../node/godwit.js')
const folder = mkdtempSync(join(tmpdir(), 'godwit-launcher-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

type Ended = { code: number | null; out: string; err: string; ms: number }

function run(
  argv: readonly string[],
  options: { node?: string; env?: object; stdin?: string } = {},
): Promise<Ended> {
  const { env = {}, node = process.execPath, stdin = '' } = options
  const begun = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(node, [LAUNCHER, ...argv], {
      env: { PATH: process.env['PATH'], HOME: folder, GODWIT_DATA_DIR: folder, ...env },
    })
    const said = { out: '', err: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ ...said, code, ms: performance.now() - begun }))
    child.stdin.end(stdin)
  })
}

test('version, and help for every command', async (t) => {
  const about = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')) as {
    version: string
  }
  t.like(await run(['version']), {
    code: 0,
    out: `godwit ${about.version} (Node ${process.versions.node})\n`,
    err: '',
  })
  const { out } = await run(['help', '--json'])
  const tree = JSON.parse(out) as { commands: { name: string; examples: object[]; synopsis: string }[] }
  t.true(tree.commands.length > 30)
  for (const { examples, name, synopsis } of tree.commands) {
    t.true(examples.length > 0, name)
    t.true(synopsis.startsWith(`godwit ${name}`))
  }
  const help = await run(['vm', 'move', '--help'])
  t.is(help.code, 0)
  t.regex(
    help.out,
    /Usage: godwit vm move\|mv \[options\] <vm>[\s\S]*Examples:\n {2}godwit vm move web --to hill/,
  )
  t.regex((await run(['--help'])).out, /Exit status:\n {4}0 {2}done[\s\S]*130 {2}interrupted/)
})

test('an older Node hands over, with standard input, output and status', async (t) => {
  const old = '/usr/bin/node'
  if (!existsSync(old)) return t.pass('no system Node here')
  const ended = await run(['version'], { node: old })
  t.is(ended.code, 0)
  t.regex(ended.out, /Node (24\.(1[2-9]|[2-9]\d)|2[6-9])/)
  t.is((await run(['status'], { node: old })).code, 6)
  return t.is((await run(['join', '--site', 'hill'], { node: old, stdin: '\n' })).code, 2)
})

test('a token comes by standard input, file or environment', async (t) => {
  const file = join(folder, 'token')
  writeFileSync(file, 'not-a-token\n')
  const ways: [argv: string[], options: object][] = [
    [[], { stdin: 'not-a-token\n' }],
    [['--token-file', file], {}],
    [[], { env: { GODWIT_TOKEN: 'not-a-token' } }],
  ]
  for (const [argv, options] of ways) {
    const ended = await run(['join', '--site', 'hill', ...argv], options)
    t.is(ended.code, 3, ended.err)
    t.regex(ended.err, /the join token was refused: malformed/)
    t.notRegex(ended.err, /not-a-token/)
  }
})

test('a configuration that cannot be used keeps a peer from starting, with 2', async (t) => {
  const config = join(folder, 'bad.yaml')
  writeFileSync(config, 'name: crane\nlistn: []\n')
  const ended = await run(['up', '--config', config])
  t.is(ended.code, 2)
  t.is(ended.err, `godwit: ${config}:2:1: listn: unknown key; did you mean listen?\n`)
  t.like(await run(['up', '--http', '80']), {
    code: 2,
    err: 'godwit: --http: must be address:port, or off\n',
  })
})

test('completion knows commands and live names, and is silent when there are none', async (t) => {
  const complete = async (...words: string[]): Promise<string[]> => {
    const { out } = await run(['complete', '--', ...words])
    return out
      .split('\n')
      .flatMap((line) => (line.startsWith(':') || line === '' ? [] : [line.split('\t')[0] ?? '']))
  }
  t.deepEqual(await complete('vm', 'mo'), ['move'])
  t.deepEqual(await complete('vm', 'show', ''), [])
  writeFileSync(
    namesFile(folder),
    JSON.stringify({ vm: ['web', 'hill/db'], site: ['hill'], peer: ['crane'], job: 1 }),
  )
  t.deepEqual(await complete('vm', 'show', ''), ['web', 'hill/db'])
  t.deepEqual(await complete('vm', 'move', 'web', '--to', ''), ['hill', 'crane', 'auto'])
  t.deepEqual(await complete('vm', 'move', 'web', '--mode', ''), ['auto', 'cold'])
  t.true((await complete('vm', 'list', '--s')).includes('--sort-by'))
  t.deepEqual(await complete('vm', 'create', '-f', `${folder}/na`), [namesFile(folder)])
  const times = [
    await run(['complete', '--', 'vm', 'show', '']),
    await run(['complete', '--', 'vm', 'show', '']),
  ]
  // The contract says 300 ms; a machine that runs tests side by side gets four times as long.
  t.true(Math.min(...times.map(({ ms }) => ms)) < 1_200)
  for (const shell of ['bash', 'zsh', 'fish'])
    t.regex((await run(['completion', shell])).out, /godwit complete --/)
})

test('output that nobody reads on is no failure', async (t) => {
  const peer = await served()
  const child = spawn(process.execPath, [LAUNCHER, 'help', '--json'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let err = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  child.stdout.destroy()
  const code = await new Promise((resolve) => child.on('close', resolve))
  t.is(code, 0)
  t.is(err, '')
  await peer.end()
})

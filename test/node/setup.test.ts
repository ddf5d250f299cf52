import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'

const setup = join(import.meta.dirname, '../../node/setup.mjs')
const emulator = process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64'

/** Runs set-up with a PATH of one folder, which holds the given apt-get; returns how it ended and what apt-get was told. */
function run(aptGet: string | undefined): { status: number | null; stderr: string; apt: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'godwit-setup-'))
  const log = join(folder, 'log')
  const program = (name: string, body: string): void => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  program('ip', '')
  program('tc', '')
  if (aptGet !== undefined) program('apt-get', `echo "$@" >> ${log}\ncd ${folder}\n${aptGet}`)
  try {
    const { status, stderr } = spawnSync(process.execPath, [setup], {
      env: { PATH: folder },
      encoding: 'utf8',
    })
    const told = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
    return { status, stderr, apt: told.map((line) => line.split(' ')[0] ?? '') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const tools = `for tool in ${emulator} qemu-img; do printf '#!/bin/sh\\n' > $tool; /bin/chmod +x $tool; done`
const asRoot = process.getuid?.() === 0 ? test : test.skip

asRoot('what is missing comes through apt', (t) => {
  const { status, apt } = run(tools)
  t.deepEqual({ status, apt }, { status: 0, apt: ['install'] })
})

asRoot('empty package lists are fetched once', (t) => {
  const { status, stderr, apt } = run(
    `[ "$1" = update ] && >updated; [ -e updated ] || { echo "E: none"; exit 100; }\n${tools}`,
  )
  t.deepEqual({ status, apt }, { status: 0, apt: ['install', 'update', 'install'] })
  t.notRegex(stderr, /E: none/)
})

asRoot('an apt that fails is named, with what it said', (t) => {
  const { status, stderr } = run('echo "E: no network"; exit 100')
  t.is(status, 2)
  t.regex(stderr, /E: no network\n(.*\n)*setup: apt-get install qemu-system-\w+ qemu-utils failed\n$/)
})

test('without apt, one line says what to install', (t) => {
  const { status, stderr } = run(undefined)
  t.is(status, 2)
  t.regex(stderr, /^setup: qemu-system-\w+, qemu-img missing: .*qemu-utils\)?\n$/)
})

test('no script starts node as its shell remembers it from before set-up, which may have brought another', (t) => {
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  const afterSetup = Object.values(manifest.scripts).flatMap((script) => script.split('setup.mjs').slice(1))
  t.true(afterSetup.length > 0)
  for (const rest of afterSetup) t.notRegex(rest, /&& node /)
})

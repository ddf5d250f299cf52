/** When set-up brings a C compiler for the lab's link. Runs node/setup.mjs with a PATH of stand-ins. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'

const SETUP = join(import.meta.dirname, '../../node/setup.mjs')
const PRESENT = ['qemu-system-x86_64', 'qemu-system-aarch64', 'qemu-img', 'ip', 'tc', 'apt-get']
const INSTALL = 'install --no-install-recommends gcc libc6-dev'
const LOOPBACK = /failed: no slow link, the lab takes loopback\n$/

type Case = [what: string, script: string, programs: Record<string, string>, apt: string[], stderr: RegExp]
const CASES: Case[] = [
  [
    'no netem, no compiler',
    'test',
    { tc: 'exit 2' },
    [INSTALL],
    /installing gcc libc6-dev .*: this kernel has no netem\n$/,
  ],
  ['an apt without network', 'demo', { tc: 'exit 2', 'apt-get': 'exit 100' }, [INSTALL, 'update'], LOOPBACK],
  ['netem', 'test', {}, [], /^$/],
  ['no namespaces', 'test', { ip: 'exit 1', tc: 'exit 2' }, [], /^$/],
  ['a compiler', 'test', { tc: 'exit 2', gcc: '' }, [], /^$/],
  ['a script that needs no link', 'check', { tc: 'exit 2' }, [], /^$/],
]

const able = process.getuid?.() === 0 && existsSync('/dev/net/tun')
for (const [what, script, programs, apt, stderr] of CASES) {
  ;(able ? test : test.skip)(`set-up meets ${what}`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'godwit-setup-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const log = join(folder, 'log')
    for (const name of new Set([...PRESENT, ...Object.keys(programs)])) {
      const told = name === 'apt-get' ? `echo "$@" >>${log}\n` : ''
      writeFileSync(join(folder, name), `#!/bin/sh\n${told}${programs[name] ?? ''}\n`)
      chmodSync(join(folder, name), 0o755)
    }
    const env = { PATH: folder, npm_lifecycle_event: script }
    const ended = spawnSync(process.execPath, [SETUP], { env, encoding: 'utf8' })
    t.is(ended.status, 0)
    t.regex(ended.stderr, stderr)
    const lines = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
    // Without the options of every call.
    t.deepEqual(
      lines.map((line) => line.replace(/ -y -qq -o \S+/, '')),
      apt,
    )
  })
}

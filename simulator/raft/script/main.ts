/**
 * `npm run --silent raft:script -- FILE...`: runs scripts in the format of etcd raft's tests and prints each again with
 * what its commands printed now, so that the output of a script which holds is the script.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Step } from './data-driven.ts'
import { runRaftScript } from './run.ts'

const HELP = `Usage: npm run --silent raft:script -- [--rewrite | --print] FILE...

Runs scripts in the format of github.com/cockroachdb/datadriven with the commands of etcd raft's tests: interaction
(add-nodes, campaign, stabilize, ...), quorum (committed, vote) and confchange (simple, enter-joint, leave-joint).

By default each script is printed to standard output, with what its commands printed now in place of what is written
in it; differences go to standard error.

  --rewrite   write that into the file instead
  --print     only print, and compare nothing

Exit status: 0 every command printed what is written in its script, 1 some did not, 2 a script cannot be read.
`

const { values, positionals } = parseArgs({
  options: {
    rewrite: { type: 'boolean', default: false },
    print: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
  allowPositionals: true,
})

if (values.help || positionals.length === 0) {
  process.stdout.write(HELP)
  process.exitCode = values.help ? 0 : 2
} else {
  process.exitCode = Math.max(...positionals.map(run))
}

function run(file: string): number {
  try {
    // npm runs this in the project's folder, and says where it was called.
    const path = resolve(process.env['INIT_CWD'] ?? '.', file)
    const { steps, text } = runRaftScript(readFileSync(path, 'utf8'))
    if (values.rewrite) writeFileSync(path, text)
    else process.stdout.write(text)
    if (values.rewrite || values.print) return 0
    const wrong = steps.filter(({ expected, actual }) => expected !== actual)
    process.stderr.write(wrong.map((step) => difference(file, step)).join(''))
    process.stderr.write(`${file}: ${steps.length - wrong.length} of ${steps.length} commands as written\n`)
    return wrong.length === 0 ? 0 : 1
  } catch (error) {
    process.stderr.write(`${file}: ${error instanceof Error ? error.message : String(error)}\n`)
    return 2
  }
}

/** Line by line; a line that is in both stands once. */
function difference(file: string, { command, expected, actual }: Step): string {
  const [was, is] = [expected.split('\n'), actual.split('\n')]
  const lines: string[] = []
  let at = 0
  for (const line of was) {
    const found = is.indexOf(line, at)
    if (found === -1) {
      lines.push(`- ${line}`)
      continue
    }
    for (; at < found; at++) lines.push(`+ ${is[at]}`)
    lines.push(`  ${line}`)
    at++
  }
  for (; at < is.length; at++) lines.push(`+ ${is[at]}`)
  return `${file}:${command.line}: ${command.name}\n${lines.map((line) => `    ${line}\n`).join('')}`
}

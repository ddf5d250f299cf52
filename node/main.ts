/** The entry point: the process's own streams, signals and clock for the CLI, and its exit status. */
import { homedir } from 'node:os'
import { createInterface } from 'node:readline/promises'
import type { Io } from './cli/command.ts'
import { runCli } from './cli/program.ts'

const io: Io = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  readAll,
  readLine,
  stdinTty: process.stdin.isTTY,
  stdoutTty: process.stdout.isTTY,
  stderrTty: process.stderr.isTTY,
  columns: process.stderr.columns ?? 80,
  env: { ...process.env, HOME: homedir() },
  cwd: process.cwd(),
  nowMs: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  onInterrupt(run) {
    process.on('SIGINT', run)
    return () => process.off('SIGINT', run)
  },
  stopped: () =>
    new Promise((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, resolve)
    }),
}

// `godwit vm list | head` has read enough: that is no failure of ours.
process.stdout.on('error', () => process.exit(0))

// Not process.exitCode: a library that keeps a handle open must not keep a command from ending.
process.exit(await runCli(process.argv.slice(2), io))

async function readAll(bytesMax: number): Promise<string | undefined> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of process.stdin) {
    length += (part as Buffer).length
    if (length > bytesMax) return undefined
    parts.push(part as Buffer)
  }
  return Buffer.concat(parts).toString('utf8')
}

async function readLine(): Promise<string> {
  const lines = createInterface({ input: process.stdin })
  for await (const line of lines) {
    lines.close()
    return line
  }
  return ''
}

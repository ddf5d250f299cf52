/** Runs the programs that the driver stands on, each with a deadline and a bound on what it may say. */
import { execFile } from 'node:child_process'
import { GodwitError } from '../../protocols/errors.ts'

/** What is called, and the Debian package that brings it. */
const PACKAGES = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  setpriv: 'util-linux',
  flock: 'util-linux',
} as const

export type Tool = keyof typeof PACKAGES

export const missing = (tool: Tool): GodwitError =>
  new GodwitError({ code: 'TOOL_MISSING', tool, package: PACKAGES[tool] })

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** 64 MiB: `qemu-img map` says about 150 bytes an extent, so half a million extents. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

/**
 * Runs a tool to its end; `code` is its exit status, or 128 when a signal ended it.
 *
 * @throws GodwitError TOOL_MISSING; TIMEOUT past `timeoutMs`, the tool being killed then; DATA_CORRUPT when it says more
 * than OUTPUT_BYTES_MAX.
 */
export function run(tool: Tool, args: readonly string[], timeoutMs: number): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: timeoutMs,
      killSignal: 'SIGKILL' as const,
      maxBuffer: OUTPUT_BYTES_MAX,
      env: { ...process.env, LC_ALL: 'C' },
    }
    const child = execFile(tool, [...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve({ code: 0, stdout, stderr })
      if (error.code === 'ENOENT') return reject(missing(tool))
      if (error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
        return reject(
          new GodwitError({ code: 'DATA_CORRUPT', what: `what ${tool} said`, why: 'it has no end' }),
        )
      if (child.killed)
        return reject(new GodwitError({ code: 'TIMEOUT', what: `${tool} ${args[0]}`, afterMs: timeoutMs }))
      resolve({ code: typeof error.code === 'number' ? error.code : 128, stdout, stderr })
    })
  })
}

/** The last line of what a tool complained of, without its name, bounded: what people are told. */
export function complaint(tool: Tool, { stderr, code }: Ran): string {
  const line = stderr.trim().split('\n').at(-1) ?? ''
  return (line.replace(`${tool}: `, '') || `${tool} ended with ${code}`).slice(0, 300)
}

/** A process of a benchmark that says one JSON object a line, and is told to end by the end of its input. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export type Said = Readonly<Record<string, unknown>>

export class Child {
  readonly process: ChildProcess
  readonly #lines: Said[] = []
  #wake: () => void = () => {}
  #stderr = ''
  #over = false

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
    this.process = child
    createInterface(child.stdout).on('line', (line) => {
      if (line.startsWith('{')) this.#lines.push(JSON.parse(line) as Said)
      this.#wake()
    })
    child.stderr.on('data', (data: Buffer) => (this.#stderr = (this.#stderr + data.toString()).slice(-2_000)))
    child.on('close', () => {
      this.#over = true
      this.#wake()
    })
    child.on('error', (error) => (this.#stderr += String(error)))
    child.stdin.on('error', () => {})
  }

  /** The next thing it says, within `ms`. */
  async next(ms: number): Promise<Said> {
    const deadline = performance.now() + ms
    for (;;) {
      const line = this.#lines.shift()
      if (line !== undefined) return line
      const left = deadline - performance.now()
      if (this.#over || left <= 0)
        throw new Error(
          `${this.process.spawnargs.join(' ')}: ${this.#over ? 'ended' : 'said nothing'}\n${this.#stderr}`,
        )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Asks it to end, takes what it says last, and sees to it that it is gone. */
  async end(ms = 20_000): Promise<Said> {
    this.process.stdin?.end()
    try {
      return await this.next(ms)
    } finally {
      this.kill()
    }
  }

  kill(): void {
    if (this.process.exitCode === null) this.process.kill('SIGKILL')
  }
}

/** In a child: says one line, waits for the end of input. */
export const say = (said: Said): void => void process.stdout.write(`${JSON.stringify(said)}\n`)
export const untilTold = (): Promise<void> =>
  new Promise((resolve) => {
    process.stdin.on('end', resolve)
    process.stdin.resume()
  })

/** CPU seconds of this process since the call, user and system. */
export function cpuMeter(): () => number {
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }
}
